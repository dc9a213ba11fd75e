//! TLS servers on the loopback interface for tests of whatever calls out.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Outbound, Peer, Place, Trust};
use crate::{
    apiserver::{
        nodes::Dialer,
        reader::{Reader, fake::FakeReader},
    },
    base::task::Supervisor,
    http::{any_server, tunnel::Tunnels},
    pki::{
        authority::{Authority, Profile, Usage},
        tls,
    },
};

/// An authority, the servers it vouches for, and what calls them.
pub struct Peers {
    /// What calls.
    pub outbound: Outbound,
    /// How many connections the servers have taken.
    pub connections: Arc<AtomicUsize>,
    authority: Authority,
    supervisor: Supervisor,
}

impl Peers {
    /// Calls services that `reader` knows.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        let supervisor = Supervisor::new();
        let dialer =
            Dialer::new(reader.clone(), Tunnels::new(supervisor.clone()), any_server::client().expect("a client"));
        let outbound = Outbound::new(reader, Arc::new(dialer), supervisor.clone());
        Self { outbound, connections: Arc::default(), authority: authority(), supervisor }
    }

    /// The authority of the servers, PEM.
    pub fn authority(&self) -> &str {
        self.authority.pem()
    }

    /// An authority that vouches for nobody here, PEM.
    pub fn stranger() -> Bytes {
        authority().pem().to_owned().into()
    }

    /// Believes the authority of the servers.
    pub fn trust(&self) -> Trust {
        Trust { authorities: self.authority().to_owned().into(), ..Trust::default() }
    }

    /// The peer behind a service.
    pub fn service(&self, namespace: &str, name: &str, port: u16) -> Peer {
        let place = Place::Service { namespace: namespace.to_owned(), name: name.to_owned(), port };
        Peer { place, trust: self.trust() }
    }

    /// A service whose port is at `address`.
    pub fn expose(&self, reader: &FakeReader, namespace: &str, name: &str, port: u16, address: SocketAddr) {
        let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"port": port}]}});
        reader.put("", "services", service);
        let slice = json!({
            "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": address.port()}], "endpoints": [{"addresses": [address.ip()]}],
        });
        reader.put("discovery.k8s.io", "endpointslices", slice);
    }

    /// Starts a server that is called any of `names`, and answers each request with a code and a body.
    pub async fn serve<S, F>(&self, names: &[&str], answer: S) -> SocketAddr
    where
        S: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = (u16, String)> + Send + 'static,
    {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let profile = Profile { common_name: "peer", organization: None, names: &names, usage: Usage::Server };
        let certified = tls::certified(&self.authority.issue(profile).unwrap()).unwrap();
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (supervisor, connections) = (self.supervisor.clone(), self.connections.clone());
        self.supervisor.spawn("peer", async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                supervisor.spawn("peer connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request| reply(request, answer.clone()));
                    let served = hyper::server::conn::http1::Builder::new();
                    // Callers that give up are part of the tests.
                    _ = served.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        address
    }
}

async fn reply<S, F>(request: Request<Incoming>, answer: S) -> Result<Response<Full<Bytes>>, hyper::Error>
where
    S: Fn(Request<Bytes>) -> F,
    F: Future<Output = (u16, String)>,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let (code, text) = answer(Request::from_parts(parts, body)).await;
    Ok(Response::builder().status(code).body(Full::new(text.into())).expect("the code is one"))
}

fn authority() -> Authority {
    let directory = tempfile::tempdir().expect("a directory");
    Authority::open(directory.path(), "peers").expect("an authority")
}
