//! Requests for the subresources that the registry itself serves.

use crate::{
    api::{Status, encode::encode, kind::Subresource, kinds::scale, meta, patch::PatchType},
    apiserver::{
        attributes::Attributes,
        negotiate::{self, Accept},
        payload,
        registry::{Call, update::Endpoint},
        respond,
        routes::{Exchange, body_object, body_value, patch},
    },
    http::body::Body,
};
use http::{Request, Response, StatusCode};

/// Serves a request with a subresource.
pub(super) async fn route(exchange: &Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let call = &exchange.call;
    let wanted = call.attributes.subresource.as_str();
    let known = call.kind.subresources.iter().find(|subresource| subresource.name() == wanted);
    match known.ok_or_else(respond::no_such_path)? {
        Subresource::Status => part(exchange, Endpoint::Status, request).await,
        Subresource::Part(name) => part(exchange, Endpoint::Part(name), request).await,
        Subresource::Scale => scale(exchange, request).await,
        Subresource::Custom(name) => match (*name, call.attributes.verb.as_str()) {
            ("binding", "create") => {
                let headers = request.headers().clone();
                let binding = body_value(request).await?.unwrap_or_default();
                exchange.server.registry.bind(call, &binding).await?;
                negotiate::success(&headers, StatusCode::CREATED)
            }
            ("eviction", "create") => {
                let headers = request.headers().clone();
                let eviction = body_value(request).await?.unwrap_or_default();
                exchange.server.registry.evict(call, &eviction, exchange.query).await?;
                negotiate::success(&headers, StatusCode::CREATED)
            }
            ("finalize", "update") => {
                let accepted = Accept::of(request.headers()).objects(call.kind, exchange.query)?;
                let namespace = body_object(exchange, request).await?;
                let stored = exchange.server.registry.finalize(call, &namespace).await?;
                negotiate::object(StatusCode::OK, stored, call.kind, accepted)
            }
            ("binding" | "eviction" | "finalize", _) => Err(respond::no_such_method()),
            _ => Err(respond::no_such_path()),
        },
    }
}

/// `POST …/bindings`: the pod is named in the body.
pub(super) async fn bind_by_name(exchange: &Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Exchange { server, call, .. } = exchange;
    let headers = request.headers().clone();
    let binding = body_value(request).await?.unwrap_or_default();
    let kind = server.kinds.resource("", "pods").ok_or_else(respond::no_such_path)?;
    let attributes = Attributes { name: meta::name(&binding).to_owned(), ..call.attributes.clone() };
    server.registry.bind(&Call { attributes: &attributes, kind: &kind, ..*call }, &binding).await?;
    negotiate::success(&headers, StatusCode::CREATED)
}

async fn part(exchange: &Exchange<'_>, endpoint: Endpoint, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let accepted = Accept::of(request.headers()).objects(call.kind, query)?;
    let stored = match call.attributes.verb.as_str() {
        "get" => server.registry.get(call).await?,
        "update" => {
            let object = body_object(exchange, request).await?;
            server.registry.update(call, endpoint, object).await?
        }
        "patch" => patch::apply(exchange, endpoint, request).await?.1,
        _ => return Err(respond::no_such_method()),
    };
    negotiate::object(StatusCode::OK, stored, call.kind, accepted)
}

async fn scale(exchange: &Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let registry = &server.registry;
    let shape = &*scale::DESCRIPTOR;
    let accepted = Accept::of(request.headers()).objects(shape, query)?;
    let scale = match call.attributes.verb.as_str() {
        "get" => registry.get_scale(call).await?,
        "update" => {
            let scale = body_object(&as_scale(exchange), request).await?;
            registry.set_scale(call, |_| Ok(scale.clone())).await?
        }
        "patch" => {
            let kind = patch::kind(exchange, &request)?;
            let patch = payload::read(request.into_body()).await?;
            if kind == PatchType::Apply {
                registry.apply_scale(call, &patch::configuration(exchange, &patch)?).await?
            } else {
                let scaled = |scale: &_| registry.decoder().patched(&as_scale(exchange).call, scale, kind, &patch);
                registry.set_scale(call, scaled).await?
            }
        }
        _ => return Err(respond::no_such_method()),
    };
    negotiate::object(StatusCode::OK, encode(&scale), shape, accepted)
}

/// The exchange as one about a Scale, whatever is scaled.
fn as_scale<'a>(exchange: &Exchange<'a>) -> Exchange<'a> {
    Exchange { call: Call { kind: &scale::DESCRIPTOR, ..exchange.call }, ..*exchange }
}
