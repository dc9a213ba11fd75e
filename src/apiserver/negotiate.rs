//! Content negotiation: what a client accepts decides whether it gets objects as they are, as a
//! table or as bare metadata, in JSON or YAML. Protobuf is not offered: clients that prefer it
//! accept JSON too.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{Status, kind::Descriptor, status::Reason},
    apiserver::{
        cache::object::{Change, Object},
        query::Query,
        registry::{
            list::Listing,
            watch::{self, Render, Watch},
        },
        respond::{self, JSON},
        table::{self, Form, IncludeObject, ListMeta},
    },
    base::lane::Lane,
    http::body::{Body, BoxError},
};

const YAML: &str = "application/yaml";
/// Bytes of a list that are sent as one piece.
const CHUNK_BYTES: usize = 64 << 10;
/// Objects up to which a list is rendered where it is; longer ones would hold up other requests.
const INLINE_OBJECTS: usize = 50;

/// What a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Objects, tables or metadata.
    pub form: Form,
    /// YAML instead of JSON.
    pub yaml: bool,
    /// What rows of a table carry.
    pub include: IncludeObject,
}

impl Accepted {
    /// Reads `Accept` and `includeObject`; 406 if nothing that is acceptable can be served.
    pub fn read(headers: &HeaderMap, query: &Query) -> Result<Self, Status> {
        let include = IncludeObject::parse(query.get("includeObject").unwrap_or_default())?;
        let values: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accept = values.join(",");
        if accept.trim().is_empty() {
            return Ok(Self { form: Form::Object, yaml: false, include });
        }
        let mut wanted: Vec<(f32, &str)> = accept.split(',').map(|media| (quality(media), media.trim())).collect();
        // Stable: among equals the client's order counts.
        wanted.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let acceptable = wanted.iter().filter(|(quality, _)| *quality > 0.0);
        let chosen = acceptable.into_iter().find_map(|(_, media)| form(media));
        chosen.map(|(form, yaml)| Self { form, yaml, include }).ok_or_else(not_acceptable)
    }
}

/// An object in the form that was asked for.
pub fn object(code: StatusCode, json: Bytes, kind: &Descriptor, accepted: Accepted) -> Response<Body> {
    let json = match accepted.form {
        Form::Object => json,
        Form::Metadata => table::metadata(&json),
        Form::Table => {
            let list = ListMeta { resource_version: version_of(&json), ..ListMeta::default() };
            table::table(kind, [&*json], &list, accepted.include, Timestamp::now(), true)
        }
    };
    document(code, json, accepted)
}

/// A document that is no object of a kind, in JSON or YAML.
pub fn document(code: StatusCode, json: Bytes, accepted: Accepted) -> Response<Body> {
    if !accepted.yaml {
        return respond::whole(code, JSON, json);
    }
    let value: Value = serde_json::from_slice(&json).unwrap_or_default();
    let yaml = serde_yaml::to_string(&value).map_err(Status::internal);
    match yaml {
        Ok(yaml) => respond::whole(code, YAML, yaml),
        Err(status) => respond::failure(&status),
    }
}

/// A list in the form that was asked for.
pub async fn list(listing: Listing, kind: &Descriptor, accepted: Accepted, lane: &Lane) -> Response<Body> {
    let meta = ListMeta {
        resource_version: listing.revision.to_string(),
        continue_token: listing.continue_token,
        remaining_item_count: listing.remaining.map(|count| count as u64),
    };
    if accepted.form == Form::Object && !accepted.yaml {
        let body = list_body(kind, &meta, listing.objects.into_iter().map(|object| object.json()).collect());
        return respond::streamed(StatusCode::OK, JSON, body);
    }
    let kind = kind.clone();
    let inline = listing.objects.len() <= INLINE_OBJECTS;
    let render = move || rendered_list(&kind, &meta, &listing.objects, accepted);
    let json = if inline { render() } else { lane.run(render).await };
    document(StatusCode::OK, json, accepted)
}

/// Encoded objects as a list, without parsing them.
pub fn list_body(kind: &Descriptor, meta: &ListMeta, objects: Vec<Bytes>) -> Body {
    let head = list_head(kind, meta);
    // Items of built-in lists do not repeat what the list says about their type.
    let skip = format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", kind.api_version(), kind.kind);
    let pieces = Pieces { objects: objects.into_iter(), skip, waiting: BytesMut::from(head.as_str()), first: true };
    let frames = stream::iter(pieces).map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    StreamBody::new(frames).boxed_unsync()
}

/// How events of a watch are shown to this client.
pub fn events(kind: &Descriptor, accepted: Accepted) -> Render {
    if accepted.form == Form::Object {
        return watch::plain();
    }
    let kind = kind.clone();
    let first = std::sync::atomic::AtomicBool::new(true);
    Arc::new(move |change: Change, object: &Object| {
        let json = object.json();
        let shown = match accepted.form {
            Form::Table => {
                let columns = first.swap(false, std::sync::atomic::Ordering::Relaxed);
                let list = ListMeta { resource_version: object.revision.to_string(), ..ListMeta::default() };
                table::table(&kind, [&*json], &list, accepted.include, Timestamp::now(), columns)
            }
            Form::Metadata | Form::Object => table::metadata(&json),
        };
        let mut line = BytesMut::with_capacity(shown.len() + 32);
        line.extend_from_slice(format!("{{\"type\":\"{}\",\"object\":", change.name()).as_bytes());
        line.extend_from_slice(&shown);
        line.extend_from_slice(b"}\n");
        line.freeze()
    })
}

/// A watch as an answer.
pub fn watch_response(watch: Watch) -> Response<Body> {
    let frames = watch.into_stream().map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    respond::streamed(StatusCode::OK, JSON, StreamBody::new(frames).boxed_unsync())
}

/// Joins objects to pieces of a list as they are sent, so that a list never exists as a whole.
struct Pieces {
    objects: std::vec::IntoIter<Bytes>,
    skip: String,
    waiting: BytesMut,
    first: bool,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(object) = self.objects.next() else {
                if self.waiting.is_empty() {
                    return None;
                }
                self.waiting.extend_from_slice(b"]}");
                return Some(std::mem::take(&mut self.waiting).freeze());
            };
            if !std::mem::take(&mut self.first) {
                self.waiting.extend_from_slice(b",");
            }
            match object.strip_prefix(self.skip.as_bytes()) {
                Some(rest) => {
                    self.waiting.extend_from_slice(b"{");
                    self.waiting.extend_from_slice(rest);
                }
                None => self.waiting.extend_from_slice(&object),
            }
            if self.waiting.len() >= CHUNK_BYTES && self.objects.len() > 0 {
                return Some(std::mem::replace(&mut self.waiting, BytesMut::with_capacity(CHUNK_BYTES)).freeze());
            }
        }
    }
}

fn rendered_list(kind: &Descriptor, meta: &ListMeta, objects: &[Arc<Object>], accepted: Accepted) -> Bytes {
    let encoded: Vec<Bytes> = objects.iter().map(|object| object.json()).collect();
    let slices = encoded.iter().map(|json| &**json);
    match accepted.form {
        Form::Table => table::table(kind, slices, meta, accepted.include, Timestamp::now(), true),
        Form::Metadata => table::metadata_list(slices, meta),
        Form::Object => {
            let items: Vec<String> = slices.map(|json| String::from_utf8_lossy(json).into_owned()).collect();
            format!("{}{}]}}", list_head(kind, meta), items.join(",")).into()
        }
    }
}

fn list_head(kind: &Descriptor, meta: &ListMeta) -> String {
    let mut metadata = serde_json::json!({"resourceVersion": meta.resource_version});
    if !meta.continue_token.is_empty() {
        metadata["continue"] = meta.continue_token.as_str().into();
    }
    if let Some(count) = meta.remaining_item_count {
        metadata["remainingItemCount"] = count.into();
    }
    format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        kind.kind,
        kind.api_version()
    )
}

fn form(media: &str) -> Option<(Form, bool)> {
    let name = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "application/json" if !media.contains("as=") => Some((Form::Object, false)),
        "application/json" => match Form::from_accept(media) {
            // A form that is not known here: the client names another one after it.
            Form::Object => None,
            form => Some((form, false)),
        },
        "application/yaml" if !media.contains("as=") => Some((Form::Object, true)),
        "application/*" | "*/*" => Some((Form::Object, false)),
        _ => None,
    }
}

fn quality(media: &str) -> f32 {
    let quality = media.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
    quality.and_then(|quality| quality.parse().ok()).unwrap_or(1.0)
}

fn version_of(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    crate::api::meta::resource_version(&value).to_owned()
}

fn not_acceptable() -> Status {
    Status::new(
        Reason::NotAcceptable,
        "only the following media types are accepted: application/json, application/yaml",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Result<Accepted, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        Accepted::read(&headers, &Query::default())
    }

    #[test]
    fn kubectl_gets_tables_and_client_go_json() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                       application/json";
        assert_eq!(accept(kubectl).unwrap().form, Form::Table);
        let go = accept("application/vnd.kubernetes.protobuf,application/json").unwrap();
        assert_eq!((go.form, go.yaml), (Form::Object, false));
        assert!(accept("application/yaml").unwrap().yaml);
        assert_eq!(accept("text/html,*/*;q=0.8").unwrap().form, Form::Object);
    }

    #[test]
    fn what_cannot_be_served_is_not_acceptable() {
        assert_eq!(accept("application/vnd.kubernetes.protobuf").unwrap_err().code(), 406);
        assert_eq!(accept("application/json;q=0").unwrap_err().code(), 406);
    }
}
