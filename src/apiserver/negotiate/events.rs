//! Events of a watch in the form that was asked for: lines of JSON, or messages of protobuf that
//! follow their length. Events of objects as they are have been encoded once for all who watch.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Accepted, METADATA,
    accept::{Encoding, Form},
};
use crate::{
    api::{Status, kind::Descriptor, meta, protobuf},
    apiserver::{
        cache::object::{Change, Object},
        registry::watch::{INITIAL_EVENTS_END, Render, Watch},
        respond,
        table::{self, IncludeObject, ListMeta, MetaVersion},
    },
    base::log,
    http::body::{Body, BoxError},
};

/// Media type of a watch in protobuf. That of one in JSON says nothing of the stream.
const PROTOBUF_STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";
const ERROR: &str = "ERROR";
const BOOKMARK: &str = "BOOKMARK";

/// How one client is shown the events of its watch.
pub struct Events {
    kind: Descriptor,
    api_version: String,
    accepted: Accepted,
    /// Only the first table says which columns there are.
    columns: AtomicBool,
}

/// A watch as an answer.
pub fn response(watch: Watch, accepted: Accepted) -> Response<Body> {
    let media_type = match accepted.encoding {
        Encoding::Protobuf => PROTOBUF_STREAM,
        encoding => encoding.media_type(),
    };
    let frames = watch.into_stream().map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    respond::streamed(StatusCode::OK, media_type, StreamBody::new(frames).boxed_unsync())
}

impl Events {
    /// Events of `kind` as `accepted` says.
    pub fn new(kind: &Descriptor, accepted: Accepted) -> Self {
        Self { kind: kind.clone(), api_version: kind.api_version(), accepted, columns: AtomicBool::new(true) }
    }

    fn frame(&self, change: &str, json: &[u8], version: &str, include: IncludeObject) -> Bytes {
        match self.accepted.form {
            Form::Table(form) => line(change, &self.table(json, version, include, form)),
            Form::Metadata(form) if self.accepted.encoding == Encoding::Protobuf => {
                message(change, form.api_version(), METADATA, json)
            }
            Form::Metadata(form) => line(change, &table::metadata(json, form)),
            // One object is no list: upstream shows it as it is.
            Form::Object | Form::MetadataList(_) => self.plain(change, json),
        }
    }

    fn plain(&self, change: &str, json: &[u8]) -> Bytes {
        match self.accepted.encoding {
            Encoding::Protobuf => message(change, &self.api_version, &self.kind.kind, json),
            _ => line(change, json),
        }
    }

    fn table(&self, json: &[u8], version: &str, include: IncludeObject, form: MetaVersion) -> Bytes {
        let columns = self.columns.swap(false, Ordering::Relaxed);
        let list = ListMeta { resource_version: version.to_owned(), ..ListMeta::default() };
        let shown = table::Shown { version: form, include, now: Timestamp::now(), columns };
        table::table(&self.kind, [json], &list, shown)
    }
}

impl Render for Events {
    fn initial(&self, object: &Object) -> Bytes {
        match (self.accepted.form, self.accepted.encoding) {
            (Form::Object, Encoding::Protobuf) => self.plain(Change::Added.name(), &object.json()),
            _ => self.event(Change::Added, object),
        }
    }

    fn event(&self, change: Change, object: &Object) -> Bytes {
        match (self.accepted.form, self.accepted.encoding) {
            (Form::Object, Encoding::Protobuf) => object.other_frame(change, |json| self.plain(change.name(), json)),
            (Form::Object, _) => object.frame(change),
            _ => self.frame(change.name(), &object.json(), &object.revision.to_string(), self.accepted.include),
        }
    }

    fn bookmark(&self, object: &Value) -> Bytes {
        let ends = meta::annotation(object, INITIAL_EVENTS_END).is_some();
        let include = match self.accepted.include {
            // The annotation must reach the client.
            IncludeObject::None if ends => IncludeObject::Metadata,
            include => include,
        };
        self.frame(BOOKMARK, object.to_string().as_bytes(), meta::resource_version(object), include)
    }

    fn error(&self, status: &Status) -> Bytes {
        let json = status.to_json().to_string();
        match self.accepted.encoding {
            Encoding::Protobuf => message(ERROR, "v1", "Status", json.as_bytes()),
            _ => line(ERROR, json.as_bytes()),
        }
    }
}

fn line(change: &str, json: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(json.len() + 40);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(change.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(json);
    line.put_slice(b"}\n");
    line.freeze()
}

fn message(change: &str, api_version: &str, kind: &str, json: &[u8]) -> Bytes {
    let event = protobuf::watch_event(change, |out| protobuf::put_object(out, api_version, kind, json));
    event.unwrap_or_else(|error| {
        let status = Status::internal(log::chain(&error)).to_json().to_string();
        let put = |out: &mut Vec<u8>| protobuf::put_object(out, "v1", "Status", status.as_bytes());
        protobuf::watch_event(ERROR, put).unwrap_or_default()
    })
}
