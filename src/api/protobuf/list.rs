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

/// Encodes a list, of which `metadata` and `items` are the encoded parts, as pieces to be sent one after
/// the other. `api_version` and `kind` are the list's.
pub fn list<'a>(
    api_version: &str,
    kind: &str,
    metadata: &[u8],
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Bytes>, Error> {
    let message = encode::message(api_version, kind)?;
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    if let Some((number, _, inner)) = part(message, "metadata") {
        wire::put_message(&mut piece, number, |out| encode::put_content(out, inner, metadata))?;
    }
    if let Some((number, Shape::List, inner)) = part(message, "items") {
        for item in items {
            wire::put_message(&mut piece, number, |out| encode::put_content(out, inner, item))?;
            if piece.len() >= PIECE_BYTES {
                let next = Vec::with_capacity(piece.len() + PIECE_BYTES / 8);
                pieces.push(Bytes::from(std::mem::replace(&mut piece, next)));
            }
        }
    }
    let length = pieces.iter().map(Bytes::len).sum::<usize>() + piece.len();
    piece.extend_from_slice(envelope::END);
    pieces.push(piece.into());
    pieces.insert(0, envelope::head(api_version, kind, length).into());
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
