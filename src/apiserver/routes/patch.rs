//! PATCH requests, of an object or of its status or scale.

use bytes::Bytes;
use http::{Request, header};

use crate::{
    api::{
        Status,
        patch::{CONTENT_TYPES, PatchType},
        status::Reason,
    },
    apiserver::{payload, registry::update::Endpoint, routes::Exchange},
    http::body::Body,
};

/// Applies the patch in `request` and returns the stored object.
pub(super) async fn apply(
    exchange: &Exchange<'_>,
    endpoint: Endpoint,
    request: Request<Body>,
) -> Result<Bytes, Status> {
    let kind = kind(&request)?;
    let patch = payload::read(request.into_body()).await?;
    let Exchange { server, call, .. } = exchange;
    let registry = &server.registry;
    registry.modify(call, endpoint, |object| registry.decoder().patched(call, object, kind, &patch)).await
}

/// The type of patch, or 415.
pub(super) fn kind(request: &Request<Body>) -> Result<PatchType, Status> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match PatchType::from_content_type(given) {
        // Merging by field ownership is not offered, and is not in the list of what is.
        None | Some(PatchType::Apply) => {
            let accepted = CONTENT_TYPES[..3].join(", ");
            let message =
                format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
            Err(Status::new(Reason::UnsupportedMediaType, message))
        }
        Some(kind) => Ok(kind),
    }
}
