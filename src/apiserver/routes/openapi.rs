//! OpenAPI documents over HTTP. They take a while to build when they are first asked for, and are
//! kept compressed: both ways of handing them out are work for a lane.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    api::Status,
    apiserver::{
        discovery::Document,
        negotiate,
        openapi::{self, OpenApi, protobuf},
        respond,
        routes::discovery::{tagged, text},
    },
    base::lane::Lane,
    http::body::Body,
};

/// Serves what is below `/openapi/`; `None` if there is no such document.
pub(super) async fn serve(
    openapi: &Arc<OpenApi>,
    path: &str,
    headers: &HeaderMap,
    lane: &Lane,
) -> Option<Result<Response<Body>, Status>> {
    if !matches!(path, "v2" | "v3") && !path.starts_with("v3/") {
        return None;
    }
    let accept = text(headers, header::ACCEPT);
    let as_protobuf = path == "v2" && protobuf::is_preferred(&accept);
    if !accept.is_empty() && !as_protobuf && !openapi::is_acceptable(&accept) {
        return Some(Err(negotiate::not_acceptable()));
    }
    if path == "v3" {
        return Some(Ok(tagged(&openapi.index(), respond::JSON, headers)));
    }
    let zipped = text(headers, header::ACCEPT_ENCODING).split(',').any(|coding| coding.trim().starts_with("gzip"));
    let (openapi, path) = (openapi.clone(), path.to_owned());
    let document = lane.run(move || build(&openapi, &path, as_protobuf, zipped)).await?;
    let content_type = if as_protobuf { protobuf::MEDIA_TYPE } else { respond::JSON };
    let mut response = tagged(&document, content_type, headers);
    if zipped && response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(Ok(response))
}

fn build(openapi: &OpenApi, path: &str, as_protobuf: bool, zipped: bool) -> Option<Document> {
    let found = match path.strip_prefix("v3/") {
        Some(path) => openapi.v3(path)?,
        None if as_protobuf => openapi.v2_protobuf(),
        None => openapi.v2(),
    };
    let body = if zipped { found.gzip.clone() } else { found.plain() };
    Some(Document { body, etag: found.etag.clone() })
}
