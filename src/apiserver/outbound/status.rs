//! What a peer's refusal means: the message that Kubernetes clients make of an answer that is no
//! success (client-go's `transformResponse`).

use bytes::Bytes;
use http::Response;
use serde_json::Value;

/// Longest part of a body that is repeated in a message.
const SHOWN_LIMIT_BYTES: usize = 2048;

/// The body of a success, or what is wrong.
pub fn body(response: Response<Bytes>) -> Result<Bytes, String> {
    let (parts, body) = response.into_parts();
    if parts.status.is_success() { Ok(body) } else { Err(message(parts.status.as_u16(), &body)) }
}

fn message(code: u16, body: &[u8]) -> String {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    if status["kind"] == "Status"
        && let Some(message) = status["message"].as_str().filter(|message| !message.is_empty())
    {
        return message.to_owned();
    }
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_LIMIT_BYTES)]);
    let shown = if shown.trim().is_empty() { "unknown" } else { shown.trim() };
    match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 406 | 415 => shown.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the \
                request"
            .to_owned(),
        500.. => format!("an error on the server ({shown:?}) has prevented the request from succeeding"),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, body: &'static str) -> String {
        super::body(Response::builder().status(code).body(body.into()).unwrap()).unwrap_err()
    }

    #[test]
    fn refusals_are_told_in_the_words_of_clients() {
        assert_eq!(said(404, "<html>"), "the server could not find the requested resource");
        assert_eq!(said(500, "boom\n"), "an error on the server (\"boom\") has prevented the request from succeeding");
        assert_eq!(said(302, ""), "the server responded with the status code 302 but did not return more information");
        assert_eq!(said(400, r#"{"kind":"Status","message":"no"}"#), "no");
    }
}
