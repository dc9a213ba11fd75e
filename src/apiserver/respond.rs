//! Answers: the last step, in which results and `Status` become HTTP.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::{
    api::{
        Status,
        status::{Details, Reason},
    },
    http::body::{self, Body},
};

/// Longest warning that is sent, in bytes.
const WARNING_LIMIT_BYTES: usize = 1024;
/// Warnings that are sent at most.
const WARNINGS_LIMIT: usize = 32;
/// Media type of JSON answers.
pub const JSON: &str = "application/json";

/// An answer with a body that is known whole.
pub fn whole(code: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    streamed(code, content_type, body::full(bytes))
}

/// An answer with any body.
pub fn streamed(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A JSON answer.
pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    whole(code, JSON, value.to_string())
}

/// An answer in plain text, for people and probes.
pub fn text(code: StatusCode, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(content));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A failed request's answer, in JSON.
pub fn failure(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &status.to_json());
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds `Warning` headers (RFC 7234 section 5.5, code 299), as clients show them to people.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings.iter().take(WARNINGS_LIMIT) {
        let cut = &warning[..warning.floor_char_boundary(WARNING_LIMIT_BYTES)];
        let escaped: String = cut.chars().filter(|letter| !letter.is_control()).collect();
        let escaped = escaped.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{escaped}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// 404 for a path or resource that does not exist.
pub fn no_such_path() -> Status {
    let details = Details::default();
    let message = "the server could not find the requested resource".to_owned();
    Status { reason: Reason::NotFound, message, details: Some(Box::new(details)) }
}

/// 404 for a path outside the API, for people.
pub fn no_such_page() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// 405.
pub fn no_such_method() -> Status {
    let message = "the server does not allow this method on the requested resource".to_owned();
    Status { reason: Reason::MethodNotAllowed, message, details: Some(Box::default()) }
}

/// 429, to be tried again after so many seconds.
pub fn too_many(retry_after_seconds: u32) -> Status {
    let details = Details { retry_after_seconds, ..Details::default() };
    let message = "Too many requests, please try again later.".to_owned();
    Status { reason: Reason::TooManyRequests, message, details: Some(Box::new(details)) }
}

/// 504.
pub fn timed_out() -> Status {
    let message = "Timeout: request did not complete within the allotted timeout".to_owned();
    Status { reason: Reason::Timeout, message, details: Some(Box::default()) }
}
