//! Lists in the form that was asked for. In JSON a list never exists as a whole; other forms are
//! rendered aside, so that long ones hold up no other request.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;

use super::{
    Accepted,
    accept::{Encoding, Form},
    encoded, refused,
};
use crate::{
    api::{Status, kind::Descriptor, protobuf},
    apiserver::{
        respond,
        table::{self, ListMeta},
    },
    base::{lane::Lane, log},
    http::body::{Body, BoxError},
};

/// Bytes of a list that are sent as one piece.
const CHUNK_BYTES: usize = 64 << 10;
/// Objects up to which a list is rendered where it is; longer ones would hold up other requests.
const INLINE_OBJECTS: usize = 50;
const METADATA_LIST: &str = "PartialObjectMetadataList";

/// The list of `objects`, which are encoded as JSON.
pub async fn list(
    meta: ListMeta,
    objects: Vec<Bytes>,
    kind: &Descriptor,
    accepted: Accepted,
    lane: &Lane,
) -> Result<Response<Body>, Status> {
    let media_type = accepted.encoding.media_type();
    match accepted.form {
        Form::Metadata(_) => return Err(refused("PartialObjectMetadata", "is a list", kind, "List")),
        Form::Object if accepted.encoding == Encoding::Json => {
            return Ok(respond::streamed(StatusCode::OK, media_type, streamed(joined(kind, &meta, objects))));
        }
        _ => {}
    }
    let kind = kind.clone();
    let inline = objects.len() <= INLINE_OBJECTS;
    let render = move || rendered(&kind, &meta, objects, accepted);
    let pieces = if inline { render() } else { lane.run(render).await };
    Ok(respond::streamed(StatusCode::OK, media_type, streamed(pieces?.into_iter())))
}

fn streamed(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(stream::iter(pieces).map(|piece| Ok::<_, BoxError>(Frame::data(piece)))).boxed_unsync()
}

fn rendered(kind: &Descriptor, meta: &ListMeta, objects: Vec<Bytes>, accepted: Accepted) -> Result<Vec<Bytes>, Status> {
    let slices = objects.iter().map(|json| &**json);
    let json = match (accepted.form, accepted.encoding) {
        (Form::Object | Form::Metadata(_), Encoding::Protobuf) => {
            return in_protobuf(&kind.api_version(), &format!("{}List", kind.kind), meta, slices);
        }
        (Form::MetadataList(version), Encoding::Protobuf) => {
            return in_protobuf(version.api_version(), METADATA_LIST, meta, slices);
        }
        (Form::MetadataList(version), _) => table::metadata_list(slices, meta, version),
        (Form::Table(version), _) => {
            let shown = table::Shown { version, include: accepted.include, now: Timestamp::now(), columns: true };
            table::table(kind, slices, meta, shown)
        }
        (Form::Object | Form::Metadata(_), _) => joined(kind, meta, objects).fold(BytesMut::new(), append).freeze(),
    };
    encoded(json, accepted.encoding).map(|bytes| vec![bytes])
}

fn append(mut whole: BytesMut, piece: Bytes) -> BytesMut {
    whole.extend_from_slice(&piece);
    whole
}

fn in_protobuf<'a>(
    api_version: &str,
    kind: &str,
    meta: &ListMeta,
    objects: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Bytes>, Status> {
    let metadata = meta.value().to_string();
    let pieces = protobuf::list(api_version, kind, metadata.as_bytes(), objects);
    pieces.map_err(|error| Status::internal(log::chain(&error)))
}

/// Encoded objects as a list, without parsing them.
fn joined(kind: &Descriptor, meta: &ListMeta, objects: Vec<Bytes>) -> Pieces {
    let (name, api_version) = (&*kind.kind, kind.api_version());
    let head =
        format!("{{\"kind\":\"{name}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{},\"items\":[", meta.value());
    // Items of built-in lists do not repeat what the list says about their type.
    let skip = match kind.strategy.custom() {
        Some(_) => "{".to_owned(),
        None => format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{name}\","),
    };
    Pieces { objects: objects.into_iter(), skip, waiting: BytesMut::from(head.as_str()), first: true }
}

/// Joins objects to pieces of a list as they are sent.
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
