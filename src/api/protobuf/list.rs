//! Lists and watch events in protobuf. Their envelopes have to say how long they are before what
//! they contain, so a list is encoded as a whole; its pieces are sent without being joined.

use bytes::Bytes;

use super::{
    Error, encode, envelope,
    facts::{self, Kind, Message, Shape},
    wire,
};

/// Bytes of a piece of a list, or a little more.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of the length before each event of a watch.
const LENGTH_BYTES: usize = 4;

/// Encodes items of a list, as pieces to be sent one after the other. `api_version` and `kind` are the list's.
/// The items of a long list can be encoded in several parts, side by side.
pub fn items<'a>(
    api_version: &str,
    kind: &str,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Bytes>, Error> {
    let message = encode::message(api_version, kind)?;
    let Some((number, Shape::List, inner)) = part(message, "items") else { return Ok(Vec::new()) };
    let (mut pieces, mut piece) = (Vec::new(), Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8));
    for item in items {
        wire::put_message(&mut piece, number, |out| encode::put_content(out, inner, item))?;
        if piece.len() >= PIECE_BYTES {
            let next = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
            pieces.push(Bytes::from(std::mem::replace(&mut piece, next)));
        }
    }
    pieces.push(piece.into());
    Ok(pieces)
}

/// The pieces of a list, of which `metadata` is the encoded part and `items` are what [`items`] has made.
pub fn list(api_version: &str, kind: &str, metadata: &[u8], items: Vec<Bytes>) -> Result<Vec<Bytes>, Error> {
    let message = encode::message(api_version, kind)?;
    let mut content = Vec::new();
    if let Some((number, _, inner)) = part(message, "metadata") {
        wire::put_message(&mut content, number, |out| encode::put_content(out, inner, metadata))?;
    }
    let length = content.len() + items.iter().map(Bytes::len).sum::<usize>();
    let mut head = envelope::head(api_version, kind, length);
    head.extend_from_slice(&content);
    let mut pieces = vec![Bytes::from(head)];
    pieces.extend(items);
    pieces.push(Bytes::from_static(envelope::END));
    Ok(pieces)
}

/// An event of a watch as it is sent: its length, and a `metav1.WatchEvent`, which has no envelope.
/// `object` writes the object in its own.
pub fn watch_event(change: &str, object: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<Bytes, Error> {
    let mut frame = vec![0; LENGTH_BYTES];
    wire::put_bytes(&mut frame, 1, change.as_bytes());
    wire::put_message(&mut frame, 2, |out| wire::put_message(out, 1, object))?;
    let length = u32::try_from(frame.len() - LENGTH_BYTES).map_err(|_| Error::Truncated)?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame.into())
}

fn part(message: &Message, name: &str) -> Option<(u32, Shape, &'static Message)> {
    let field = message.spot(name)?.field;
    match field.kind {
        Kind::Message(place) => Some((field.number, field.shape, facts::messages().at(place))),
        _ => None,
    }
}
