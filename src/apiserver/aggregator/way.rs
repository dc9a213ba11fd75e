//! The way to the servers behind this one: connections that show the proxy's certificate, and small
//! requests of the aggregator itself.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};

use super::target::Target;
use crate::{
    apiserver::outbound::{Outbound, Peer},
    base::task::Supervisor,
    http::{
        identity::{MASTERS, User},
        remote_user,
    },
    pki::authority::Issued,
};

/// In whose name the aggregator itself asks.
const OWN_USER: &str = "system:kube-aggregator";
/// Time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How servers behind this one are reached. Cheap to clone.
#[derive(Clone)]
pub struct Way {
    /// Makes connections.
    pub outbound: Outbound,
    /// The proxy's certificate as it is now.
    pub identity: Arc<dyn Fn() -> Arc<Issued> + Send + Sync>,
    /// Runs connections that were passed on.
    pub supervisor: Supervisor,
}

/// A document that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its forms.
    pub accept: &'a str,
    /// The tag of what is there already; empty for nothing.
    pub etag: &'a str,
}

impl Way {
    /// Whom to connect to.
    pub fn peer(&self, target: &Target) -> Peer {
        target.peer((self.identity)())
    }

    /// Asks for a document in the aggregator's own name, which may read everything.
    pub async fn get(&self, target: &Target, wanted: Wanted<'_>) -> Result<Response<Bytes>, String> {
        let mut request = Request::get(wanted.path).body(Bytes::new()).map_err(|error| error.to_string())?;
        let own = User { name: OWN_USER.into(), groups: vec![MASTERS.into()], ..User::default() };
        remote_user::write(request.headers_mut(), &own);
        set(request.headers_mut(), header::ACCEPT, wanted.accept);
        set(request.headers_mut(), header::IF_NONE_MATCH, wanted.etag);
        let answer = self.outbound.call(&self.peer(target), request, TIMEOUT).await;
        answer.map_err(|error| error.to_string())
    }
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let (false, Ok(value)) = (value.is_empty(), value.parse()) {
        headers.insert(name, value);
    }
}
