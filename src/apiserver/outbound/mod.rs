//! Calling out: HTTPS to what others run beside the API, that is webhooks and aggregated APIs, which
//! are named by a service of the cluster or by a URL. Connections are kept for a while and used
//! again, answers are bounded in size and time, and redirects are not followed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::{client::legacy, rt::TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;

use crate::{
    apiserver::{nodes::Dialer, reader::Reader},
    base::{lane::Lane, log, recent::Recent, task::Supervisor},
    http::{body::BoxError, client::BoxStream},
};

pub mod connector;
pub mod peer;
pub mod resolver;
pub mod status;
mod tls;

pub use peer::{Identity, Peer, Place, Trust};

use connector::{Connector, Supervised};
use resolver::ServiceResolver;

/// Largest answer that is read.
pub const ANSWER_LIMIT_BYTES: usize = 3 << 20;
/// Peers whose connections and TLS configurations are kept.
const PEERS_LIMIT: usize = 128;
/// How long a connection is kept that nobody uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Unused connections to one peer that are kept.
const IDLE_LIMIT: usize = 4;

/// Why a call brought no answer, in words that go well after `Post "https://…": `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to the peer.
    #[error(transparent)]
    Connect(#[from] connector::Error),
    /// The exchange could not begin, or broke off.
    #[error("{}", explain(.0))]
    Exchange(#[source] legacy::Error),
    /// The answer's body broke off.
    #[error("read the response: {0}")]
    Body(BoxError),
    /// The answer is too long.
    #[error("the response is longer than {ANSWER_LIMIT_BYTES} bytes")]
    TooLong,
    /// The time is over.
    #[error("context deadline exceeded")]
    Deadline,
}

type Http = legacy::Client<Connector, Full<Bytes>>;

/// Calls peers. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
}

struct Inner {
    reach: Arc<connector::Reach>,
    supervisor: Supervisor,
    peers: Mutex<Recent<Peer, Known>>,
    /// Reads the machine's authorities.
    files: Lane,
}

/// What is kept of a peer.
#[derive(Clone)]
struct Known {
    tls: Arc<ClientConfig>,
    http: Http,
}

impl Outbound {
    /// Finds services in `reader` and reaches their endpoints through `dialer`. Connections run under
    /// `supervisor`.
    pub fn new(reader: Arc<dyn Reader>, dialer: Arc<Dialer>, supervisor: Supervisor) -> Self {
        let reach = Arc::new(connector::Reach { resolver: ServiceResolver::new(reader), dialer });
        let peers = Mutex::new(Recent::new(PEERS_LIMIT));
        Self { inner: Arc::new(Inner { reach, supervisor, peers, files: Lane::new(1) }) }
    }

    /// Finds the endpoints of services.
    pub fn resolver(&self) -> &ServiceResolver {
        &self.inner.reach.resolver
    }

    /// Sends a request to `peer` and reads the answer, all within `timeout`. The request's URL is a
    /// path, perhaps with a query; a 4xx or 5xx is an answer like any other.
    pub async fn call(
        &self,
        peer: &Peer,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, Error> {
        tokio::time::timeout(timeout, self.exchange(peer, request)).await.unwrap_or(Err(Error::Deadline))
    }

    /// A connection of its own, TLS done, for what is more than a request and an answer. It speaks
    /// HTTP/1.1; the caller limits the time.
    pub async fn connect(&self, peer: &Peer) -> Result<BoxStream, Error> {
        let tls = self.known(peer).await?.tls;
        Ok(self.inner.reach.secure(&peer.place, tls).await?)
    }

    async fn exchange(&self, peer: &Peer, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let http = self.known(peer).await?.http;
        let mut request = request.map(Full::new);
        *request.uri_mut() = peer.place.absolute(request.uri())?;
        let (parts, body) = http.request(request).await.map_err(Error::Exchange)?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT_BYTES).collect().await.map_err(broken)?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    async fn known(&self, peer: &Peer) -> Result<Known, Error> {
        if let Some(known) = self.inner.peers.lock().get(peer) {
            return Ok(known.clone());
        }
        let trust = peer.trust.clone();
        let tls = self.inner.files.run(move || tls::configuration(&trust)).await.map_err(connector::Error::Trust)?;
        let connector = Connector::new(self.inner.reach.clone(), peer.place.clone(), tls.clone());
        let http = legacy::Client::builder(Supervised(self.inner.supervisor.clone()))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_LIMIT)
            .build(connector);
        let known = Known { tls, http };
        self.inner.peers.lock().insert(peer.clone(), known.clone());
        Ok(known)
    }
}

fn broken(error: BoxError) -> Error {
    if error.is::<LengthLimitError>() { Error::TooLong } else { Error::Body(error) }
}

/// What kept a connection from being made says more than that it was not made.
fn explain(error: &legacy::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<connector::Error>() {
            return error.to_string();
        }
        cause = one.source();
    }
    log::chain(error)
}

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
