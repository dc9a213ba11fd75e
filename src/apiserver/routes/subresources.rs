//! Requests for the subresources that the registry itself serves.

use http::{Request, Response, StatusCode};
use serde_json::Value;

use crate::{
    api::{Status, encode::encode, kind::Subresource, kinds::scale, meta, patch as api_patch},
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
    let Exchange { server, call, .. } = exchange;
    let shape = &*scale::DESCRIPTOR;
    let accepted = Accept::of(request.headers()).objects(shape, exchange.query)?;
    let scale = match call.attributes.verb.as_str() {
        "get" => server.registry.get_scale(call).await?,
        "update" => {
            let scale = body_value(request).await?.unwrap_or_default();
            server.registry.set_scale(call, |_| Ok(scale.clone())).await?
        }
        "patch" => patch_scale(exchange, request).await?,
        _ => return Err(respond::no_such_method()),
    };
    negotiate::object(StatusCode::OK, encode(&scale), shape, accepted)
}

/// A Scale has no lists, so that a strategic merge of it is a plain one.
async fn patch_scale(exchange: &Exchange<'_>, request: Request<Body>) -> Result<Value, Status> {
    let kind = patch::kind(exchange, &request)?;
    let patch = payload::read(request.into_body()).await?;
    if kind == api_patch::PatchType::Apply {
        let configuration = patch::configuration(exchange, &patch)?;
        return exchange.server.registry.apply_scale(&exchange.call, &configuration).await;
    }
    let bad = |error: &dyn std::fmt::Display| Status::bad_request(format!("error decoding patch: {error}"));
    let apply = |scale: &Value| match kind {
        api_patch::PatchType::Json => {
            let operations = api_patch::json::parse(&patch).map_err(|error| bad(&error))?;
            api_patch::json::apply(scale.clone(), &operations).map_err(|error| bad(&error))
        }
        _ => {
            let patch: Value = serde_json::from_slice(&patch).map_err(|error| bad(&error))?;
            Ok(api_patch::merge::apply(scale.clone(), patch))
        }
    };
    exchange.server.registry.set_scale(&exchange.call, apply).await
}
