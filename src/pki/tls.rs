//! rustls configurations of the cluster: who shows what, and who believes whom.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{WantsClientCert, danger::HandshakeSignatureValid},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use crate::pki::{Error, authority::Issued};

/// Protocols of the API, most wanted first.
pub const API_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
/// HTTP/1.1 alone: for connections that are going to be upgraded.
pub const HTTP1_PROTOCOLS: &[&[u8]] = &[b"http/1.1"];

/// Verifies clients against one authority.
pub type ClientVerifier = Arc<dyn ClientCertVerifier>;

/// The cryptography everything uses. Never rely on a process-wide default: libraries install theirs.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of a PEM text.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| Error::Parse("PEM certificates"))
}

/// Trust in the authorities of a PEM text.
pub fn roots(authorities_pem: &str) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(authorities_pem)? {
        store.add(certificate)?;
    }
    Ok(Arc::new(store))
}

/// A certificate and its key in the form rustls shows them.
pub fn certified(issued: &Issued) -> Result<CertifiedKey, Error> {
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).map_err(|_| Error::Parse("private key"))?;
    Ok(CertifiedKey::from_der(certificates(&issued.certificate)?, key, &provider())?)
}

/// Verifies client certificates against the authorities of a PEM text.
pub fn client_verifier(authorities_pem: &str) -> Result<ClientVerifier, Error> {
    let roots = roots(authorities_pem)?;
    Ok(WebPkiClientVerifier::builder_with_provider(roots, provider()).allow_unauthenticated().build()?)
}

/// A server that shows what `resolver` holds and lets clients show any certificate: whether it is to
/// be believed is decided after the handshake, so that a client with a wrong one is told 401 instead
/// of having its connection cut.
pub fn server(
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: &ClientVerifier,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(Deferred { inner: verifier.clone() }))
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client that believes the authorities of a PEM text, and shows `identity` if it has one.
pub fn client(
    authorities_pem: &str,
    identity: Option<&Issued>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authorities_pem)?);
    client_of(builder, identity, protocols)
}

/// A client that knows already whom it believes, and shows `identity` if it has one.
pub fn client_of(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Issued>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).map_err(|_| Error::Parse("private key"))?;
            builder.with_client_auth_cert(certificates(&issued.certificate)?, key)?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client of servers outside the cluster: it believes the authorities of a PEM text, or without one
/// those that the machine trusts. A machine that has none installed trusts Mozilla's. Blocks on files.
pub fn outside_client(authorities_pem: Option<&str>, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let roots = match authorities_pem {
        Some(pem) => roots(pem)?,
        None => public_roots(),
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn public_roots() -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Arc::new(store)
}

/// Checks in the handshake only that the client holds the key of the certificate it shows.
#[derive(Debug)]
struct Deferred {
    inner: ClientVerifier,
}

impl ClientCertVerifier for Deferred {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
