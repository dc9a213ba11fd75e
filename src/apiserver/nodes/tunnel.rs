//! The endpoint at which agents open their tunnels.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response};

use crate::{
    api::{Status, status::Reason},
    apiserver::{attributes::Attributes, authz::node::node_name, handler::Handler},
    http::{
        body::Body,
        tunnel::{self, Tunnels},
    },
};

/// Serves [`tunnel::PATH`].
pub struct TunnelHandler {
    tunnels: Arc<Tunnels>,
}

impl TunnelHandler {
    /// Puts the tunnels it is asked for into `tunnels`.
    pub fn new(tunnels: Arc<Tunnels>) -> Self {
        Self { tunnels }
    }

    fn open(&self, attributes: &Attributes, request: Request<Body>) -> Result<Response<Body>, Status> {
        let Some(node) = node_name(&attributes.user) else {
            return Err(Status::new(Reason::Forbidden, "only nodes can open tunnels"));
        };
        if !tunnel::is_asked_for(&request) {
            return Err(Status::bad_request(format!("the request must ask to upgrade to {}", tunnel::PROTOCOL)));
        }
        Ok(self.tunnels.accept(node, request))
    }
}

impl Handler for TunnelHandler {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(std::future::ready(self.open(attributes, request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::task::Supervisor,
        http::{body, identity::User},
    };

    #[tokio::test]
    async fn only_kubelets_open_tunnels() {
        let handler = TunnelHandler::new(Tunnels::new(Supervisor::new()));
        let attempt = async |name: &str, group: &str, protocol: &str| {
            let user = User { name: name.into(), groups: vec![group.into()], ..User::default() };
            let attributes = Attributes { user, ..Attributes::default() };
            let request = Request::get(tunnel::PATH).header("upgrade", protocol).body(body::empty()).unwrap();
            handler.handle(&attributes, request).await.map(|response| response.status()).map_err(|status| status.code())
        };
        assert_eq!(attempt("jane", "system:masters", tunnel::PROTOCOL).await, Err(403));
        assert_eq!(attempt("system:node:a", "devs", tunnel::PROTOCOL).await, Err(403));
        assert_eq!(attempt("system:node:a", "system:nodes", "websocket").await, Err(400));
        assert_eq!(
            attempt("system:node:a", "system:nodes", tunnel::PROTOCOL).await,
            Ok(http::StatusCode::SWITCHING_PROTOCOLS)
        );
    }
}
