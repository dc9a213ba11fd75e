//! Requests for objects and collections themselves.

use http::{Request, Response, StatusCode};

use crate::{
    api::{Status, field, selector::FieldSelector},
    apiserver::{
        cache::selectable::Selector,
        negotiate::{
            self, Accept, Accepted,
            events::{self, Events},
        },
        registry::{
            Call,
            delete::{self, Answer, DeleteOptions},
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
    let accept = Accept::of(request.headers());
    if verb == "watch" {
        return watch(exchange, accept.events(call.kind, query)?).await;
    }
    let accepted = accept.objects(call.kind, query)?;
    let registry = &server.registry;
    let (code, stored) = match verb {
        "get" => (StatusCode::OK, registry.get(call).await?),
        "create" => {
            let object = body_object(exchange, request).await?;
            (StatusCode::CREATED, registry.create(call, object).await?)
        }
        "update" => {
            let object = body_object(exchange, request).await?;
            (StatusCode::OK, registry.update(call, Endpoint::Main, object).await?)
        }
        "patch" => patch::apply(exchange, Endpoint::Main, request).await?,
        "list" => return list(exchange, accepted).await,
        "delete" => return delete(exchange, request, accepted).await,
        "deletecollection" => return delete_collection(exchange, request, accepted).await,
        _ => return Err(respond::no_such_method()),
    };
    negotiate::object(code, stored, call.kind, accepted)
}

async fn list(exchange: &Exchange<'_>, accepted: Accepted) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let listing = server.registry.list(call, &query.list_options(call.kind)?).await?;
    let meta = ListMeta {
        resource_version: listing.revision.to_string(),
        continue_token: listing.continue_token,
        remaining_item_count: listing.remaining.map(|count| count as u64),
    };
    let objects = listing.objects.iter().map(|object| object.json()).collect();
    negotiate::list::list(meta, objects, call.kind, accepted, &server.rendering).await
}

async fn watch(exchange: &Exchange<'_>, accepted: Accepted) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let mut options = query.list_options(call.kind)?;
    check_initial_events(&options, query)?;
    // The deprecated form names the object in the path instead of by selector.
    if !call.attributes.name.is_empty() && options.selector.fields.is_everything() {
        let text = format!("metadata.name={}", call.attributes.name);
        let fields = FieldSelector::parse(&text).map_err(|error| Status::bad_request(error.to_string()))?;
        options.selector = Selector { fields, ..options.selector };
    }
    let watch = server.registry.watch(call, options, Box::new(Events::new(call.kind, accepted))).await?;
    Ok(events::response(watch, accepted))
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
    match delete::answer(&call, deleted) {
        Answer::Object(object) => negotiate::object(StatusCode::OK, object, call.kind, accepted),
        Answer::Status(status) => negotiate::document(StatusCode::OK, status, accepted.encoding),
    }
}

async fn delete_collection(
    exchange: &Exchange<'_>,
    request: Request<Body>,
    accepted: Accepted,
) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let options = DeleteOptions::read(body_value(request).await?.as_ref(), query)?;
    let call = Call { dry_run: call.dry_run || options.dry_run, ..*call };
    let selector = query.selector(call.kind)?;
    let deleted = server.registry.delete_collection(&call, &options, &selector).await?;
    let meta = ListMeta { resource_version: server.registry.caches().revision().to_string(), ..ListMeta::default() };
    negotiate::list::list(meta, deleted, call.kind, accepted, &server.rendering).await
}
