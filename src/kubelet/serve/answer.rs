//! Answers in the form that upstream's kubelet gives: plain text with a status code.

use http::{HeaderValue, Response, StatusCode, header};

use super::backend::Error;
use crate::http::body::{self, Body};

/// Text with this status.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body::full(text.into()))
}

/// An encoded JSON document.
pub fn json(bytes: bytes::Bytes) -> Response<Body> {
    typed(StatusCode::OK, "application/json", body::full(bytes))
}

/// A body of this media type.
pub fn typed(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 400 with a sentence.
pub fn bad_request(problem: &str) -> Response<Body> {
    text(StatusCode::BAD_REQUEST, format!("{problem}\n"))
}

/// What the backend says.
pub fn error(error: &Error) -> Response<Body> {
    let status = match error {
        Error::PodNotFound | Error::ContainerNotFound { .. } => StatusCode::NOT_FOUND,
        Error::NotReady { .. } => StatusCode::BAD_REQUEST,
        Error::Runtime { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, format!("{error}\n"))
}
