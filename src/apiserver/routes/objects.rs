//! Requests for objects and collections themselves.

use http::{Request, Response, StatusCode};

use crate::{
    api::{Status, field, selector::FieldSelector},
    apiserver::{
        cache::selectable::Selector,
        negotiate::{self, Accepted},
        registry::{
            Call,
            delete::{self, DeleteOptions},
            update::Endpoint,
        },
        respond,
        routes::{Exchange, body_object, body_value, patch},
        table::ListMeta,
    },
    http::body::Body,
};

/// Serves a request without a subresource.
pub(super) async fn route(exchange: &Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let verb = call.attributes.verb.as_str();
    if call.kind.plural == "bindings" && call.kind.group.is_empty() && verb == "create" {
        return super::subresources::bind_by_name(exchange, request).await;
    }
    let named = !call.attributes.name.is_empty();
    let fits = match verb {
        "create" => !named,
        "update" | "patch" => named,
        _ => true,
    };
    if !fits || !call.kind.verbs.contains(&verb) {
        return Err(respond::no_such_method());
    }
    let accepted = Accepted::read(request.headers(), query)?;
    let registry = &server.registry;
    match verb {
        "get" => Ok(negotiate::object(StatusCode::OK, registry.get(call)?, call.kind, accepted)),
        "list" => {
            let listing = registry.list(call, &query.list_options(call.kind)?).await?;
            Ok(negotiate::list(listing, call.kind, accepted, &server.rendering).await)
        }
        "watch" => watch(exchange, accepted),
        "create" => {
            let object = body_object(exchange, request).await?;
            Ok(negotiate::object(StatusCode::CREATED, registry.create(call, object).await?, call.kind, accepted))
        }
        "update" => {
            let object = body_object(exchange, request).await?;
            let stored = registry.update(call, Endpoint::Main, object).await?;
            Ok(negotiate::object(StatusCode::OK, stored, call.kind, accepted))
        }
        "patch" => {
            let (code, stored) = patch::apply(exchange, Endpoint::Main, request).await?;
            Ok(negotiate::object(code, stored, call.kind, accepted))
        }
        "delete" => delete(exchange, request, accepted).await,
        "deletecollection" => delete_collection(exchange, request).await,
        _ => Err(respond::no_such_method()),
    }
}

fn watch(exchange: &Exchange<'_>, accepted: Accepted) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let mut options = query.list_options(call.kind)?;
    check_initial_events(&options, query)?;
    // The deprecated form names the object in the path instead of by selector.
    if !call.attributes.name.is_empty() && options.selector.fields.is_everything() {
        let text = format!("metadata.name={}", call.attributes.name);
        let fields = FieldSelector::parse(&text).map_err(|error| Status::bad_request(error.to_string()))?;
        options.selector = Selector { fields, ..options.selector };
    }
    let watch = server.registry.watch(call, options, negotiate::events(call.kind, accepted))?;
    Ok(negotiate::watch_response(watch))
}

/// Rules of KEP-3157 about `sendInitialEvents`.
fn check_initial_events(
    options: &crate::apiserver::query::ListOptions,
    query: &crate::apiserver::query::Query,
) -> Result<(), Status> {
    let matches = query.get("resourceVersionMatch");
    let path = field::Path::new("resourceVersionMatch");
    let cause = match (options.send_initial_events, matches) {
        (Some(_), Some("NotOlderThan")) | (None, None) => return Ok(()),
        (Some(_), None) => {
            field::forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        (Some(_), Some(other)) => field::unsupported(&path, other, &["NotOlderThan"]),
        (None, Some(_)) => {
            field::forbidden(&path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        }
    };
    Err(Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause]))
}

async fn delete(exchange: &Exchange<'_>, request: Request<Body>, accepted: Accepted) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let options = DeleteOptions::read(body_value(request).await?.as_ref(), query)?;
    let call = Call { dry_run: call.dry_run || options.dry_run, ..*call };
    let deleted = server.registry.delete(&call, &options).await?;
    Ok(negotiate::document(StatusCode::OK, delete::answer(&call, deleted), accepted))
}

async fn delete_collection(exchange: &Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let options = DeleteOptions::read(body_value(request).await?.as_ref(), query)?;
    let call = Call { dry_run: call.dry_run || options.dry_run, ..*call };
    let selector = query.selector(call.kind)?;
    let deleted = server.registry.delete_collection(&call, &options, &selector).await?;
    let meta = ListMeta { resource_version: server.registry.caches().revision().to_string(), ..ListMeta::default() };
    Ok(respond::streamed(StatusCode::OK, respond::JSON, negotiate::list_body(call.kind, &meta, deleted)))
}
