//! Lists in the form that was asked for. In JSON a list never exists as a whole, nor does a table; other
//! encodings are rendered aside, so that long ones hold up no other request.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::try_join_all, stream};
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
/// Parts of a long list that are encoded side by side.
const PARTS: usize = 4;
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
        _ if accepted.encoding == Encoding::Json => {
            return Ok(respond::streamed(
                StatusCode::OK,
                media_type,
                streamed(in_json(kind, &meta, objects, accepted)),
            ));
        }
        _ => {}
    }
    let pieces = match (accepted.form, accepted.encoding) {
        (Form::MetadataList(version), Encoding::Protobuf) => {
            in_protobuf(version.api_version().to_owned(), METADATA_LIST.to_owned(), &meta, objects, lane).await?
        }
        (_, Encoding::Protobuf) => {
            in_protobuf(kind.api_version(), format!("{}List", kind.kind), &meta, objects, lane).await?
        }
        (_, encoding) => {
            let pieces = in_json(kind, &meta, objects, accepted);
            let render = move || encoded(pieces.fold(BytesMut::new(), append).freeze(), encoding);
            vec![lane.run(render).await?]
        }
    };
    Ok(respond::streamed(StatusCode::OK, media_type, streamed(pieces.into_iter())))
}

fn streamed(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(stream::iter(pieces).map(|piece| Ok::<_, BoxError>(Frame::data(piece)))).boxed_unsync()
}

fn append(mut whole: BytesMut, piece: Bytes) -> BytesMut {
    whole.extend_from_slice(&piece);
    whole
}

/// A list of a kind that is called `kind` with its `List`. Its length stands before it, so all of it is
/// encoded before the first byte is sent: a long one in parts, side by side.
async fn in_protobuf(
    api_version: String,
    kind: String,
    meta: &ListMeta,
    objects: Vec<Bytes>,
    lane: &Lane,
) -> Result<Vec<Bytes>, Status> {
    let failed = |error: protobuf::Error| Status::internal(log::chain(&error));
    let encode = |api_version: &str, kind: &str, objects: &[Bytes]| {
        protobuf::items(api_version, kind, objects.iter().map(|json| &**json))
    };
    let items = if objects.len() <= INLINE_OBJECTS {
        encode(&api_version, &kind, &objects).map_err(failed)?
    } else {
        let size = objects.len().div_ceil(PARTS).max(INLINE_OBJECTS);
        let parts = objects.chunks(size).map(|part| {
            let (api_version, kind, part) = (api_version.clone(), kind.clone(), part.to_vec());
            lane.run(move || encode(&api_version, &kind, &part))
        });
        let parts = try_join_all(parts.map(|part| async move { part.await.map_err(failed) })).await?;
        parts.into_iter().flatten().collect()
    };
    let metadata = meta.value().to_string();
    protobuf::list(&api_version, &kind, metadata.as_bytes(), items).map_err(failed)
}

/// The pieces of a list in JSON.
fn in_json(kind: &Descriptor, meta: &ListMeta, objects: Vec<Bytes>, accepted: Accepted) -> Pieces {
    let (mut head, item): (BytesMut, Item) = match accepted.form {
        Form::Table(version) => {
            let shown = table::Shown { version, include: accepted.include, now: Timestamp::now(), columns: true };
            let (head, kind) = (table::table_head(kind, meta, shown), kind.clone());
            (head, Box::new(move |out, object| table::row(out, &kind, object, shown)))
        }
        Form::MetadataList(version) => {
            let head = table::metadata_list_head(meta, version);
            (head, Box::new(move |out, object| table::write_metadata(out, object, version)))
        }
        Form::Object | Form::Metadata(_) => (list_head(kind, meta), as_it_is(kind)),
    };
    let end = if objects.is_empty() && is_null(kind, accepted.form) { unlisted(&mut head) } else { "]}" };
    Pieces { objects: objects.into_iter(), item, waiting: head, first: true, end }
}

/// Whether a list of nothing is null: upstream makes lists of metadata, and tables without columns of the kind's
/// own, of what it finds.
fn is_null(kind: &Descriptor, form: Form) -> bool {
    match form {
        Form::MetadataList(_) => true,
        Form::Table(_) => table::is_plain(kind),
        Form::Object | Form::Metadata(_) => false,
    }
}

/// Takes the beginning of the list back, and gives its end.
fn unlisted(head: &mut BytesMut) -> &'static str {
    head.truncate(head.len() - 1);
    "null}"
}

fn list_head(kind: &Descriptor, meta: &ListMeta) -> BytesMut {
    let (name, api_version, meta) = (&*kind.kind, kind.api_version(), meta.value());
    let head = format!("{{\"kind\":\"{name}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":[");
    BytesMut::from(head.as_str())
}

/// Objects of which nothing is changed: they are not parsed.
fn as_it_is(kind: &Descriptor) -> Item {
    // Items of built-in lists do not repeat what the list says about their type.
    let skip = match kind.strategy.custom() {
        Some(_) => "{".to_owned(),
        None => format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", kind.api_version(), kind.kind),
    };
    Box::new(move |out, object| match object.strip_prefix(skip.as_bytes()) {
        Some(rest) => {
            out.extend_from_slice(b"{");
            out.extend_from_slice(rest);
        }
        None => out.extend_from_slice(object),
    })
}

/// Appends an encoded object in the form that was asked for.
type Item = Box<dyn FnMut(&mut BytesMut, &[u8]) + Send>;

/// Joins objects to pieces of a list as they are sent.
struct Pieces {
    objects: std::vec::IntoIter<Bytes>,
    item: Item,
    waiting: BytesMut,
    first: bool,
    end: &'static str,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(object) = self.objects.next() else {
                if self.waiting.is_empty() {
                    return None;
                }
                self.waiting.extend_from_slice(self.end.as_bytes());
                return Some(std::mem::take(&mut self.waiting).freeze());
            };
            if !std::mem::take(&mut self.first) {
                self.waiting.extend_from_slice(b",");
            }
            (self.item)(&mut self.waiting, &object);
            if self.waiting.len() >= CHUNK_BYTES && self.objects.len() > 0 {
                let next = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
                return Some(std::mem::replace(&mut self.waiting, next).freeze());
            }
        }
    }
}
