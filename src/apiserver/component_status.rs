//! `componentstatuses`: an old list of the control plane's parts, made of the health checks whenever it
//! is asked for, and never stored.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use serde_json::json;

use crate::{
    api::{
        Status, encode,
        kind::{Descriptor, descriptor},
        kinds::component_status::ComponentStatusKind,
    },
    apiserver::{
        attributes::Attributes,
        handler::Handler,
        health::Health,
        negotiate::{self, Accept},
        query::Query,
        respond,
        table::ListMeta,
    },
    base::lane::Lane,
    http::body::Body,
};

/// Components, and the health checks that speak for them.
const COMPONENTS: [(&str, &str); 3] =
    [("controller-manager", "controller-manager"), ("etcd-0", "etcd"), ("scheduler", "scheduler")];

/// Serves `componentstatuses`.
pub struct ComponentStatuses {
    kind: Descriptor,
    health: Health,
    rendering: Lane,
}

impl ComponentStatuses {
    /// Asks `health`; renders on `rendering`.
    pub fn new(health: Health, rendering: Lane) -> Self {
        Self { kind: descriptor::<ComponentStatusKind>(), health, rendering }
    }

    async fn serve(&self, attributes: &Attributes, request: Request<Body>) -> Result<Response<Body>, Status> {
        if !attributes.subresource.is_empty() || !attributes.namespace.is_empty() {
            return Err(respond::no_such_path());
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let accepted = Accept::of(request.headers()).objects(&self.kind, &query)?;
        match attributes.verb.as_str() {
            "get" => {
                let known = COMPONENTS.iter().find(|(name, _)| *name == attributes.name);
                let (name, check) = known.ok_or_else(|| Status::not_found("", "componentstatus", &attributes.name))?;
                negotiate::object(StatusCode::OK, self.status(name, check), &self.kind, accepted)
            }
            "list" => {
                let selector = query.selector(&self.kind)?;
                // None has a label.
                let matches = |name: &str| {
                    selector.labels.matches(|_| None)
                        && selector.fields.matches(|field| (field == "metadata.name").then_some(name))
                };
                let chosen = COMPONENTS.iter().filter(|(name, _)| matches(name));
                let statuses = chosen.map(|(name, check)| self.status(name, check)).collect();
                negotiate::list::list(ListMeta::default(), statuses, &self.kind, accepted, &self.rendering).await
            }
            _ => Err(respond::no_such_method()),
        }
    }

    fn status(&self, name: &str, check: &str) -> Bytes {
        let condition = match self.health.check(check) {
            Some(Ok(())) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
            Some(Err(error)) => json!({"type": "Healthy", "status": "False", "message": error}),
            None => json!({"type": "Healthy", "status": "Unknown", "error": "the component has no health check"}),
        };
        encode::encode(&json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name},
                               "conditions": [condition]}))
    }
}

impl Handler for ComponentStatuses {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(self.serve(attributes, request))
    }
}
