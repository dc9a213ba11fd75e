//! From an authorized request to what serves it: a handler of its own, the registry, or one of the
//! server's documents.

use http::{Method, Request, Response, StatusCode, request::Parts};

use crate::{
    api::Status,
    apiserver::{
        aggregator,
        attributes::Attributes,
        fairness::dump,
        field_manager,
        negotiate::Accept,
        payload,
        query::Query,
        registry::{Call, Warnings},
        respond,
        server::Inner,
        version,
    },
    http::body::Body,
};

mod connect;
pub mod discovery;
mod endpoint;
mod objects;
mod patch;
mod subresources;

const VERSION_PATH: &str = "/version";
const METRICS_PATH: &str = "/metrics";
/// Where the groups of the API are listed.
const GROUPS_PATH: &str = "/apis";
/// Paths that are neither of the API nor about it.
const OTHER_PATHS: [&str; 6] =
    [VERSION_PATH, "/version/", METRICS_PATH, dump::LEVELS_PATH, dump::REQUESTS_PATH, dump::QUEUES_PATH];

/// Serves a request.
pub(super) async fn route(
    server: &Inner,
    attributes: &Attributes,
    query: &Query,
    request: Request<Body>,
    warnings: &Warnings,
) -> Result<Response<Body>, Status> {
    if let Some(target) = server.aggregator.target(attributes) {
        return Ok(aggregator::proxy::pass_on(server.aggregator.way(), &target, attributes, request).await);
    }
    let kind = server.kinds.of(attributes).filter(|_| attributes.is_resource());
    if let Some(kind) = &kind {
        endpoint::check(kind, attributes)?;
        warnings.of_request(kind.strategy.deprecation().map(Into::into));
    }
    if let Some(handler) = server.handlers.find(attributes) {
        let request = connect::admit(server, attributes, query, request, warnings).await?;
        return handler.handle(attributes, request).await;
    }
    if !attributes.is_resource() {
        let (parts, _) = request.into_parts();
        return path(server, attributes, query, &parts);
    }
    let kind = kind.ok_or_else(respond::no_such_path)?;
    if kind.strategy.custom().is_none() {
        Accept::of(request.headers()).check_route(&attributes.verb)?;
    }
    let dry_run = query.dry_run(&attributes.verb)?;
    let field_validation = query.field_validation(&attributes.verb)?;
    let manager = field_manager::of(query, request.headers(), &attributes.verb)?;
    let call = Call { attributes, kind: &kind, dry_run, field_validation, warnings, manager: &manager };
    let exchange = Exchange { server, call, query };
    if attributes.subresource.is_empty() {
        objects::route(&exchange, request).await
    } else {
        subresources::route(&exchange, request).await
    }
}

/// A request to the registry with what it needs beside its body.
struct Exchange<'a> {
    server: &'a Inner,
    call: Call<'a>,
    query: &'a Query,
}

fn path(server: &Inner, attributes: &Attributes, query: &Query, request: &Parts) -> Result<Response<Body>, Status> {
    let path = attributes.path.as_str();
    if let Some(response) = server.health.serve(path, query) {
        return Ok(response);
    }
    let documents = &server.kinds.snapshot().documents;
    if !OTHER_PATHS.contains(&path) && !documents.has(path) {
        return if documents.is_below_group(path) { Err(respond::no_such_path()) } else { Ok(respond::no_such_page()) };
    }
    // Upstream lists the groups whatever the method.
    if !matches!(request.method, Method::GET | Method::HEAD) && path != GROUPS_PATH {
        return Err(respond::no_such_method());
    }
    match path {
        VERSION_PATH | "/version/" => Ok(respond::json(StatusCode::OK, &version::document())),
        METRICS_PATH => {
            let text = server.metrics.render(server.registry.caches());
            Ok(respond::whole(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text))
        }
        dump::LEVELS_PATH => Ok(plain(dump::levels(&server.fairness))),
        dump::REQUESTS_PATH => Ok(plain(dump::requests(&server.fairness, query))),
        dump::QUEUES_PATH => Ok(plain(dump::queues(&server.fairness))),
        path => documents.serve(path, &request.headers),
    }
}

fn plain(text: String) -> Response<Body> {
    respond::whole(StatusCode::OK, "text/plain; charset=utf-8", text)
}

/// The object in a request's body, decoded by the schema of the endpoint's kind.
async fn body_object(exchange: &Exchange<'_>, request: Request<Body>) -> Result<serde_json::Value, Status> {
    let format = payload::format(request.headers())?;
    let bytes = payload::read(request.into_body()).await?;
    exchange.server.registry.decoder().object(&exchange.call, &bytes, format)
}

/// A body that is no object of the endpoint's kind; `None` if it is empty.
async fn body_value(request: Request<Body>) -> Result<Option<serde_json::Value>, Status> {
    let format = payload::format(request.headers());
    let bytes = payload::read(request.into_body()).await?;
    if bytes.is_empty() { Ok(None) } else { payload::parse(&bytes, format?).map(Some) }
}
