//! Content negotiation: what a client accepts decides whether it gets objects as they are, as a
//! table or as bare metadata, and whether in JSON, YAML or protobuf. Everything before this step
//! deals in JSON.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{Status, kind::Descriptor, meta, protobuf, status::Reason},
    apiserver::{
        respond,
        table::{self, ListMeta, MetaVersion},
    },
    base::log,
    http::body::{self, Body},
};

pub mod accept;
pub mod events;
pub mod list;

pub use accept::{Accept, Accepted};

use accept::{Encoding, Form};

const METADATA: &str = "PartialObjectMetadata";

/// An object in the form that was asked for.
pub fn object(code: StatusCode, json: Bytes, kind: &Descriptor, accepted: Accepted) -> Result<Response<Body>, Status> {
    match (accepted.form, accepted.encoding) {
        (Form::Object, encoding) => document(code, json, encoding),
        (Form::Metadata(version), Encoding::Protobuf) => {
            let bytes = to_protobuf(version.api_version(), METADATA, &json)?;
            Ok(respond::whole(code, protobuf::MEDIA_TYPE, bytes))
        }
        (Form::Metadata(version), encoding) => document(code, table::metadata(&json, version), encoding),
        (Form::MetadataList(_), _) => Err(refused("PartialObjectMetadataList", "is not a list", kind, "")),
        (Form::Table(version), encoding) => document(code, table_of_one(kind, &json, accepted, version), encoding),
    }
}

/// An object that has no other form.
pub fn document(code: StatusCode, json: Bytes, encoding: Encoding) -> Result<Response<Body>, Status> {
    Ok(respond::whole(code, encoding.media_type(), encoded(json, encoding)?))
}

/// As [`document`], for what the request with `headers` has made.
pub fn reply(headers: &HeaderMap, code: StatusCode, object: &Value) -> Result<Response<Body>, Status> {
    document(code, object.to_string().into(), Accept::of(headers).document()?)
}

/// `Status` of a success without an object to show.
pub fn success(headers: &HeaderMap, code: StatusCode) -> Result<Response<Body>, Status> {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code.as_u16()});
    reply(headers, code, &status)
}

/// A failed request's answer; JSON for clients that accept nothing that there is.
pub fn failure(accept: &Accept, status: &Status) -> Response<Body> {
    let mut response = respond::failure(status);
    let encoding = accept.document().unwrap_or(Encoding::Json);
    if encoding == Encoding::Json {
        return response;
    }
    if let Ok(bytes) = encoded(status.to_json().to_string().into(), encoding) {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
        *response.body_mut() = body::full(bytes);
    }
    response
}

fn encoded(json: Bytes, encoding: Encoding) -> Result<Bytes, Status> {
    match encoding {
        Encoding::Json => Ok(json),
        Encoding::Yaml => {
            let value: Value = serde_json::from_slice(&json).unwrap_or_default();
            serde_yaml::to_string(&value).map(Bytes::from).map_err(Status::internal)
        }
        Encoding::Protobuf => {
            let peek: Peek<'_> = serde_json::from_slice(&json).map_err(Status::internal)?;
            to_protobuf(&peek.api_version, &peek.kind, &json).map(Bytes::from)
        }
    }
}

/// What an object says of its type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peek<'a> {
    /// `APIVersions` is the one object that does not say it.
    #[serde(borrow, default = "core_version")]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

fn core_version<'a>() -> Cow<'a, str> {
    Cow::Borrowed("v1")
}

fn to_protobuf(api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>, Status> {
    let mut out = Vec::with_capacity(json.len());
    protobuf::put_object(&mut out, api_version, kind, json).map_err(|error| Status::internal(log::chain(&error)))?;
    Ok(out)
}

fn table_of_one(kind: &Descriptor, json: &[u8], accepted: Accepted, version: MetaVersion) -> Bytes {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let list = ListMeta { resource_version: meta::resource_version(&value).to_owned(), ..ListMeta::default() };
    let shown = table::Shown { version, include: accepted.include, now: Timestamp::now(), columns: true };
    table::table(kind, [json], &list, shown)
}

/// 406 for a form that objects or lists do not have. Upstream names the type of its Go value.
fn refused(wanted: &str, why: &str, kind: &Descriptor, suffix: &str) -> Status {
    let package = match &*kind.group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    let shown = if protobuf::is_known(&kind.api_version(), &kind.kind) {
        format!("{package}.{}{suffix}", kind.kind)
    } else {
        format!("unstructured.Unstructured{suffix}")
    };
    Status::new(Reason::NotAcceptable, format!("you requested {wanted}, but the requested object {why} (*{shown})"))
}
