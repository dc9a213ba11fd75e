//! Bodies of requests: bounded, and JSON, YAML or protobuf.

use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::Value;

use crate::{
    api::{Status, protobuf, schema::Format, status::Reason},
    base::log,
    http::body::{self, Body, ReadError},
};

/// Largest request body, as upstream's default.
pub const BODY_LIMIT_BYTES: usize = 3 << 20;
/// What bodies of objects may be.
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// The media type of a request, without parameters; empty if none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// How an object in the body is encoded, or 415.
pub fn format(headers: &HeaderMap) -> Result<Format, Status> {
    match media_type(headers).as_str() {
        "" | "application/json" | "*/*" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(Status::new(
            Reason::UnsupportedMediaType,
            format!("the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"),
        )),
    }
}

/// Reads a body to its end, or 413.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    match body::read(body, BODY_LIMIT_BYTES).await {
        Ok(bytes) => Ok(bytes),
        Err(ReadError::TooLong { limit_bytes }) => Err(too_large(limit_bytes)),
        Err(ReadError::Broken(error)) => {
            Err(Status::bad_request(format!("the body of the request could not be read: {error}")))
        }
    }
}

/// 413 in upstream's words.
pub fn too_large(limit_bytes: usize) -> Status {
    Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {limit_bytes}"))
}

/// A value without regard to any schema: options and small request objects.
pub fn parse(bytes: &[u8], format: Format) -> Result<Value, Status> {
    let parsed = match format {
        Format::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        Format::Yaml => serde_yaml::from_slice(bytes).map_err(|error| error.to_string()),
        Format::Protobuf => return parse_protobuf(bytes),
    };
    parsed.map_err(|error| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type Object): couldn't get version/kind; json parse \
             error: {error}"
        ))
    })
}

fn parse_protobuf(bytes: &[u8]) -> Result<Value, Status> {
    protobuf::decode(bytes).map(|object| object.value).map_err(|error| {
        let problem = log::chain(&error);
        Status::bad_request(format!("the object provided is unrecognized (must be of type Object): {problem}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body;

    #[tokio::test]
    async fn bodies_are_bounded() {
        assert_eq!(read(body::full("{}")).await.unwrap(), "{}");
        let status = read(body::full(vec![b' '; BODY_LIMIT_BYTES + 1])).await.unwrap_err();
        assert_eq!(status.code(), 413);
    }

    #[test]
    fn yaml_is_read_and_other_types_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/yaml; charset=utf-8".parse().unwrap());
        let value = parse(b"kind: Pod\n", format(&headers).unwrap()).unwrap();
        assert_eq!(value["kind"], "Pod");
        headers.insert(header::CONTENT_TYPE, "text/csv".parse().unwrap());
        assert_eq!(format(&headers).unwrap_err().code(), 415);
    }

    #[test]
    fn deep_nesting_and_alias_bombs_are_refused() {
        assert_eq!(parse("[".repeat(100_000).as_bytes(), Format::Json).unwrap_err().code(), 400);
        assert_eq!(parse("[".repeat(100_000).as_bytes(), Format::Yaml).unwrap_err().code(), 400);
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for n in 1..12 {
            let aliases = vec![format!("*a{}", n - 1); 9].join(",");
            bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
        }
        assert_eq!(parse(bomb.as_bytes(), Format::Yaml).unwrap_err().code(), 400);
    }
}
