//! Objects of a request in the version that a webhook has rules for, and back.

use serde_json::Value;

use crate::{
    api::{Status, kind::Descriptor, kinds::equivalent},
    apiserver::{admission::matching::Matched, conversion::Converter},
};

/// An object of `kind` as one of `to`, which is the same or an equivalent.
pub async fn shown(converter: &Converter, object: Value, kind: &Descriptor, to: &Matched) -> Result<Value, Status> {
    if let Some(custom) = kind.strategy.custom() {
        return converter.value(custom, object, &to.api_version()).await;
    }
    match other(kind, to) {
        Some(other) => equivalent::convert(object, kind, other),
        None => Ok(object),
    }
}

/// An object of `from` as one of `kind` again.
pub async fn restored(
    converter: &Converter,
    object: Value,
    from: &Matched,
    kind: &Descriptor,
) -> Result<Value, Status> {
    if let Some(custom) = kind.strategy.custom() {
        return converter.value(custom, object, &custom.api_version).await;
    }
    match other(kind, from) {
        Some(other) => equivalent::convert(object, other, kind),
        None => Ok(object),
    }
}

fn other(kind: &Descriptor, matched: &Matched) -> Option<&'static Descriptor> {
    let other = equivalent::find(&matched.group, &matched.version, &matched.resource);
    other.filter(|other| Matched::of(other) != Matched::of(kind))
}
