//! What a joined machine owns: its keys, the certificates a server signed for them, its node secret
//! and the cluster's settings. Enough to start without asking anybody.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, ServerConfig};

use crate::{
    base::file,
    pki::{
        Error,
        authority::{self, Issued},
        identity::Identity,
        join::{JoinRequest, JoinResponse},
        serving::{Presenting, Serving},
        tls, token,
    },
};

/// `<data-dir>/agent/tls`.
pub struct Store {
    directory: PathBuf,
    node_name: String,
    client_key: String,
    serving_key: String,
    node_secret: String,
}

/// A machine's place in a cluster: what [`Store::accept`] kept and [`Store::load`] finds again.
#[derive(Clone)]
pub struct Membership {
    /// The node's name.
    pub node_name: String,
    /// Certificates and settings.
    pub response: JoinResponse,
    client_key: String,
    serving_key: String,
}

impl Store {
    /// Opens the directory, drawing keys and node secret if they are not there. Blocks on files.
    pub fn open(directory: &Path, node_name: &str) -> Result<Self, Error> {
        file::create_directory(directory, 0o700)?;
        Ok(Self {
            client_key: key(&directory.join("client-kubelet.key"))?,
            serving_key: key(&directory.join("serving-kubelet.key"))?,
            node_secret: kept(&directory.join("node-secret"), || Ok(token::random_secret()))?,
            directory: directory.to_owned(),
            node_name: node_name.to_owned(),
        })
    }

    /// What to send to the server. `names` are this machine's addresses.
    pub fn request(&self, names: Vec<String>) -> Result<JoinRequest, Error> {
        Ok(JoinRequest {
            node_name: self.node_name.clone(),
            node_secret: self.node_secret.clone(),
            names,
            client_request: signing_request(&self.client_key)?,
            serving_request: signing_request(&self.serving_key)?,
        })
    }

    /// Keeps what the server answered. One file, so that it is never half there.
    pub fn accept(&self, response: JoinResponse) -> Result<Membership, Error> {
        let text = serde_json::to_vec(&response).expect("a struct of strings can be written as JSON");
        file::write_atomic(&self.membership_path(), &text, file::SECRET_MODE)?;
        Ok(self.membership(response))
    }

    /// What was kept last time, if it is for this node name and these keys.
    pub fn load(&self) -> Result<Option<Membership>, Error> {
        let path = self.membership_path();
        let Some(text) = file::read_optional(&path)? else { return Ok(None) };
        let corrupt = |_| Error::Corrupt { path, what: "cluster membership" };
        let membership = self.membership(serde_json::from_slice(&text).map_err(corrupt)?);
        let fits = membership
            .identity()
            .is_ok_and(|identity| identity.common_name == format!("system:node:{}", self.node_name));
        Ok((fits && Presenting::new(&membership.client()).is_ok()).then_some(membership))
    }

    fn membership(&self, response: JoinResponse) -> Membership {
        Membership {
            node_name: self.node_name.clone(),
            response,
            client_key: self.client_key.clone(),
            serving_key: self.serving_key.clone(),
        }
    }

    fn membership_path(&self) -> PathBuf {
        self.directory.join("membership.json")
    }
}

impl Membership {
    /// The client certificate with its key.
    pub fn client(&self) -> Issued {
        Issued { certificate: self.response.client_certificate.clone(), key: self.client_key.clone() }
    }

    /// TLS towards the server, as this node: connections show what `presenting` holds when they are
    /// made.
    pub fn client_tls(&self, protocols: &[&[u8]], presenting: Arc<Presenting>) -> Result<Arc<ClientConfig>, Error> {
        let mut config = (*tls::client(&self.response.server_authority, None, protocols)?).clone();
        config.client_auth_cert_resolver = presenting;
        Ok(Arc::new(config))
    }

    /// TLS of the kubelet's own port. Clients are believed if the client authority signed them.
    pub fn serving_tls(&self) -> Result<(Arc<ServerConfig>, tls::ClientVerifier), Error> {
        let issued = Issued { certificate: self.response.serving_certificate.clone(), key: self.serving_key.clone() };
        let verifier = tls::client_verifier(&self.response.client_authority)?;
        Ok((tls::server(Arc::new(Serving::new(&issued)?), &verifier, tls::HTTP1_PROTOCOLS)?, verifier))
    }

    /// Whether the certificates should be asked for again.
    pub fn is_due(&self) -> bool {
        self.identity().map_or(true, |identity| authority::is_due(identity.not_after))
    }

    fn identity(&self) -> Result<Identity, Error> {
        Identity::from_pem(self.response.client_certificate.as_bytes())
    }
}

fn signing_request(key_pem: &str) -> Result<String, Error> {
    let failed = |source| Error::Certificate { what: "signing request".into(), source };
    let key = KeyPair::from_pem(key_pem).map_err(failed)?;
    CertificateParams::default().serialize_request(&key).and_then(|request| request.pem()).map_err(failed)
}

fn key(path: &Path) -> Result<String, Error> {
    kept(path, || {
        let failed = |source| Error::Certificate { what: "key".into(), source };
        Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?.serialize_pem())
    })
}

fn kept(path: &Path, make: impl FnOnce() -> Result<String, Error>) -> Result<String, Error> {
    if let Some(bytes) = file::read_optional(path)? {
        return String::from_utf8(bytes).map_err(|_| Error::Corrupt { path: path.to_owned(), what: "key file" });
    }
    let text = make()?;
    file::write_atomic(path, text.as_bytes(), file::SECRET_MODE)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Server, join::ClusterSettings, server::Options};

    #[test]
    fn a_membership_is_found_again_but_not_under_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::open(directory.path(), &Options::default()).unwrap();
        let path = directory.path().join("agent");
        let store = Store::open(&path, "edge1").unwrap();
        assert!(store.load().unwrap().is_none());
        let settings = ClusterSettings { cluster_domain: "cluster.local".into(), ..ClusterSettings::default() };
        let response = server.sign_node(&store.request(Vec::new()).unwrap(), settings).unwrap();
        assert!(!store.accept(response).unwrap().is_due());
        let found = Store::open(&path, "edge1").unwrap().load().unwrap().unwrap();
        assert_eq!(found.response.settings.cluster_domain, "cluster.local");
        assert!(found.serving_tls().is_ok());
        assert!(Store::open(&path, "edge2").unwrap().load().unwrap().is_none());
    }
}
