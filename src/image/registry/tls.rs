//! TLS towards registries. The machine's own certificate authorities are trusted, and those that the
//! configuration names.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

use super::config::Tls;
use crate::http::{any_server, roots};

/// A client configuration for a host with these settings.
pub fn client_config(settings: &Tls) -> io::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if settings.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(any_server::verifier())
    } else {
        builder.with_root_certificates(trusted(settings.ca_file.as_deref())?)
    };
    let config = match (&settings.cert_file, &settings.key_file) {
        (Some(certificate), Some(key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(io::Error::other)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn trusted(extra: Option<&Path>) -> io::Result<RootCertStore> {
    let mut store = roots::of_machine();
    for certificate in extra.map(certificates).transpose()?.into_iter().flatten() {
        store.add(certificate).map_err(io::Error::other)?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let parsed: Result<_, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    parsed.map_err(|error| malformed(path, error))
}

fn private_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| malformed(path, error))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| named(path, error))
}

fn malformed(path: &Path, error: pem::Error) -> io::Error {
    named(path, io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
