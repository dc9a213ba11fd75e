//! Objects of a request as a webhook or policy is to see them, and back: in the version that it has rules
//! for, and as a Scale where the request is for one.

use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::Descriptor,
        kinds::{equivalent, scale as scales},
    },
    apiserver::{
        admission::{Request, matching::Matched},
        conversion::Converter,
        registry::scale,
    },
};

/// An object of a request as who matched it as `to` sees it.
pub async fn shown(converter: &Converter, request: &Request<'_>, to: &Matched, object: Value) -> Result<Value, Status> {
    let kind = request.kind;
    if is_for_scale(request) {
        return scale::scale_of(kind, &object);
    }
    if !request.shows_its_kind() {
        return Ok(object);
    }
    if let Some(custom) = kind.strategy.custom() {
        return converter.value(custom, object, &to.api_version()).await;
    }
    match other(kind, to) {
        Some(other) => equivalent::convert(object, kind, other),
        None => Ok(object),
    }
}

/// What a changed object, shown as `from`, makes of the `current` one.
pub async fn restored(
    converter: &Converter,
    request: &Request<'_>,
    from: &Matched,
    changed: Value,
    current: &Value,
) -> Result<Value, Status> {
    let kind = request.kind;
    if is_for_scale(request) {
        let mut scaled = current.clone();
        let replicas = scale::replicas(kind, &request.attributes.name, &changed)?;
        scale::set_replicas(kind, &mut scaled, replicas)?;
        return Ok(scaled);
    }
    if !request.shows_its_kind() {
        return Ok(changed);
    }
    let restored = match (kind.strategy.custom(), other(kind, from)) {
        (Some(custom), _) => converter.value(custom, changed, &custom.api_version).await?,
        (None, Some(other)) => equivalent::convert(changed, other, kind)?,
        (None, None) => changed,
    };
    // It must still be one of its kind, and gets the defaults of what was added.
    let decoded = kind.strategy.decode(restored).map_err(|error| Status::internal(error.message))?;
    Ok(decoded.into_value())
}

/// The kind of what [`shown`] shows; that of the request where another version has the same schema.
pub fn kind_shown<'r>(request: &Request<'r>, to: &Matched) -> &'r Descriptor {
    if is_for_scale(request) {
        return &scales::DESCRIPTOR;
    }
    other(request.kind, to).unwrap_or(request.kind)
}

/// Whether [`shown`] changes nothing.
pub fn are_as_made(request: &Request<'_>, to: &Matched) -> bool {
    *to == Matched::of(request.kind) && !is_for_scale(request)
}

fn is_for_scale(request: &Request<'_>) -> bool {
    request.attributes.subresource == "scale"
}

fn other(kind: &Descriptor, matched: &Matched) -> Option<&'static Descriptor> {
    let other = equivalent::find(&matched.group, &matched.version, &matched.resource);
    other.filter(|other| Matched::of(other) != Matched::of(kind))
}
