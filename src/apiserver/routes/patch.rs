//! PATCH requests, of an object or of its status or scale.

use bytes::Bytes;
use http::{Request, StatusCode, header};

use crate::{
    api::{
        Status,
        patch::{self, PatchType},
        schema::{self, FieldValidation, Format},
        status::Reason,
    },
    apiserver::{
        field_manager, payload,
        registry::{apply::Outcome, ownership::Configuration, update::Endpoint},
        routes::Exchange,
    },
    http::body::Body,
};

/// Applies the patch in `request` and returns the stored object, with 201 if it is new.
pub(super) async fn apply(
    exchange: &Exchange<'_>,
    endpoint: Endpoint,
    request: Request<Body>,
) -> Result<(StatusCode, Bytes), Status> {
    let kind = kind(exchange, &request)?;
    let patch = payload::read(request.into_body()).await?;
    let Exchange { server, call, .. } = exchange;
    let registry = &server.registry;
    if kind != PatchType::Apply {
        let patched = |object: &_| registry.decoder().patched(call, object, kind, &patch);
        return Ok((StatusCode::OK, registry.modify(call, endpoint, patched).await?));
    }
    let configuration = configuration(exchange, &patch)?;
    let may_create = || server.may_create(call.attributes);
    match registry.apply(call, endpoint, &configuration, may_create).await? {
        Outcome::Created(stored) => Ok((StatusCode::CREATED, stored)),
        Outcome::Changed(stored) => Ok((StatusCode::OK, stored)),
    }
}

/// The type of patch, its parameters being right for it; or 415 or 422.
pub(super) fn kind(exchange: &Exchange<'_>, request: &Request<Body>) -> Result<PatchType, Status> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let custom = exchange.call.kind.strategy.custom().is_some();
    let usable = |kind: &PatchType| !(custom && *kind == PatchType::Strategic);
    let Some(kind) = PatchType::from_content_type(given).filter(usable) else {
        return Err(if custom { unknown_format() } else { no_such_route() });
    };
    field_manager::check_patch(exchange.query, kind == PatchType::Apply)?;
    Ok(kind)
}

/// As upstream's handler of custom resources refuses a patch.
fn unknown_format() -> Status {
    let accepted = patch::content_types(true).join(", ");
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::new(Reason::UnsupportedMediaType, message)
}

/// As upstream's router refuses a patch, before any handler sees it.
fn no_such_route() -> Status {
    let message = "415: Unsupported Media Type".to_owned();
    Status { reason: Reason::UnsupportedMediaType, message, details: Some(Box::default()) }
}

/// The configuration in the body of an apply: YAML, of which JSON is a part.
pub(super) fn configuration(exchange: &Exchange<'_>, patch: &[u8]) -> Result<Configuration, Status> {
    let is_json = patch.trim_ascii_start().starts_with(b"{");
    let format = if is_json { Format::Json } else { Format::Yaml };
    let (object, repeated) =
        schema::tree(patch, format).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    if !object.is_object() {
        return Err(Status::bad_request("error decoding YAML: the configuration is not an object"));
    }
    match exchange.call.field_validation {
        FieldValidation::Strict if !repeated.is_empty() => {
            return Err(Status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
                repeated.join("\n  ")
            )));
        }
        FieldValidation::Warn => exchange.call.warnings.extend(repeated),
        _ => {}
    }
    Ok(Configuration { object, force: exchange.query.flag("force") })
}
