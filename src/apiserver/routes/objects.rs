//! Requests for objects and collections themselves.

use http::{Request, Response, StatusCode};

use crate::{
    api::{Status, selector::FieldSelector},
    apiserver::{
        fairness::Initialization,
        list_options::ListOptions,
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
    let accept = Accept::of(request.headers());
    if verb == "watch" {
        return watch(exchange, request, accept.events(call.kind, query)?).await;
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
    let mut options = ListOptions::read(query, call.kind)?;
    name_selector(exchange, &mut options)?;
    let listing = server.registry.list(call, &options).await?;
    let meta = ListMeta {
        resource_version: listing.revision.to_string(),
        continue_token: listing.continue_token,
        remaining_item_count: listing.remaining.map(|count| count as u64),
    };
    let objects = listing.objects.iter().map(|object| object.json()).collect();
    negotiate::list::list(meta, objects, call.kind, accepted, &server.rendering).await
}

async fn watch(exchange: &Exchange<'_>, request: Request<Body>, accepted: Accepted) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let mut options = ListOptions::read(query, call.kind)?;
    name_selector(exchange, &mut options)?;
    let watch = server.registry.watch(call, options, Box::new(Events::new(call.kind, accepted))).await?;
    let seats = request.extensions().get::<Initialization>().and_then(Initialization::take);
    Ok(events::response(watch.seated(seats), accepted))
}

/// The deprecated form of a watch names the object in the path instead of by selector.
fn name_selector(exchange: &Exchange<'_>, options: &mut ListOptions) -> Result<(), Status> {
    let name = exchange.call.attributes.name.as_str();
    if name.is_empty() {
        return Ok(());
    }
    if options.selector.fields.is_everything() {
        let fields = FieldSelector::parse(&format!("metadata.name={name}"));
        options.selector.fields = fields.map_err(|error| Status::bad_request(error.to_string()))?;
    }
    match options.selector.fields.exact("metadata.name") {
        Some(selected) if selected == name => Ok(()),
        _ => Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name")),
    }
}

async fn delete(exchange: &Exchange<'_>, request: Request<Body>, accepted: Accepted) -> Result<Response<Body>, Status> {
    let Exchange { server, call, query } = exchange;
    let options = DeleteOptions::read(body_value(request).await?.as_ref(), query)?;
    call.warnings.extend(delete::warnings(call, &options));
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
    call.warnings.extend(delete::warnings(call, &options));
    let call = Call { dry_run: call.dry_run || options.dry_run, ..*call };
    let selector = query.selector(call.kind)?;
    let deleted = server.registry.delete_collection(&call, &options, &selector).await?;
    let meta = ListMeta { resource_version: server.registry.caches().revision().to_string(), ..ListMeta::default() };
    negotiate::list::list(meta, deleted, call.kind, accepted, &server.rendering).await
}
