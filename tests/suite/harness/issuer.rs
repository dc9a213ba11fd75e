//! An OpenID Connect provider on a host's loopback: HTTPS, a discovery document, and the public keys of what it
//! signs.

use std::{collections::BTreeMap, future::ready, net, path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use nauplius::{
    base::task::Supervisor,
    http::{body, server},
    pki::{self, authority::seconds_now, signing::SigningKey},
    sys::namespace,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use super::Host;

/// The provider. It ends when it goes out of scope.
pub struct Issuer {
    /// Its name, and where it describes itself.
    pub url: String,
    /// Its authority, PEM.
    pub authority: String,
    key: SigningKey,
    _runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Issuer {
    /// A provider that processes of `host` can reach.
    pub fn new(host: &Host) -> Self {
        let directory = tempfile::Builder::new().prefix("nauplius-test-").tempdir().unwrap();
        let pki = pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap();
        let key = SigningKey::open(&directory.path().join("issuer.key")).unwrap();
        let network = format!("/run/netns/{}", host.name());
        let bind = || net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = namespace::within_network(Path::new(&network), bind).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let documents = Arc::new(BTreeMap::from([
            ("/.well-known/openid-configuration", json!({"issuer": url, "jwks_uri": format!("{url}/keys")})),
            ("/keys", json!({"keys": [key.public_jwk()]})),
        ]));
        let service = move |request: Request<body::Body>| {
            let document = documents.get(request.uri().path()).map(Value::to_string).unwrap_or_default();
            ready(Response::new(body::full(Bytes::from(document))))
        };
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let (listener, limits) = (TcpListener::from_std(listener).unwrap(), server::Limits::default());
        let (tls, verifier) = (pki.api_tls().unwrap(), pki.client_verifier().unwrap());
        server::serve(listener, tls, verifier, service, &Supervisor::new(), limits);
        drop(entered);
        let authority = pki.server_authority().to_owned();
        Self { url, authority, key, _runtime: runtime, _directory: directory }
    }

    /// A token for the audience `nauplius` with these claims, which is good for some minutes unless they say otherwise.
    pub fn token(&self, claims: Value) -> String {
        let mut all = json!({"iss": self.url, "aud": "nauplius", "exp": seconds_now() + 600});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.key.sign(&all).unwrap()
    }
}
