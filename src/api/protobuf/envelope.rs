//! What is around every protobuf object: four magic bytes and a `runtime.Unknown`, which says what
//! kind its content has.

use super::{
    Error, MEDIA_TYPE,
    wire::{self, Reader},
};

/// First bytes of every object.
pub(super) const MAGIC: [u8; 4] = *b"k8s\0";
/// Last bytes: the fields `contentEncoding` and `contentType`, which Go writes even if they are empty.
pub(super) const END: &[u8] = b"\x1a\x00\x22\x00";
/// Number of the field `typeMeta`.
const TYPE: u32 = 1;
/// Number of the field `raw`.
const RAW: u32 = 2;

/// A `runtime.Unknown`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// `apps/v1`
    pub(super) api_version: &'a str,
    /// `Deployment`
    pub(super) kind: &'a str,
    /// The object's own message.
    pub(super) raw: &'a [u8],
}

/// Reads an envelope.
pub(super) fn open(bytes: &[u8]) -> Result<Envelope<'_>, Error> {
    let mut reader = Reader::new(bytes.strip_prefix(&MAGIC).ok_or(Error::Magic)?);
    let mut envelope = Envelope::default();
    let (mut encoding, mut content_type) = ("", "");
    while let Some((field, part)) = reader.next()? {
        match field {
            TYPE => {
                let [api_version, kind, _] = wire::first_three(part.bytes(field)?)?;
                (envelope.api_version, envelope.kind) = (wire::text(api_version, 1)?, wire::text(kind, 2)?);
            }
            RAW => envelope.raw = part.bytes(field)?,
            3 => encoding = part.text(field)?,
            4 => content_type = part.text(field)?,
            _ => {}
        }
    }
    if encoding.is_empty() && matches!(content_type, "" | MEDIA_TYPE) {
        return Ok(envelope);
    }
    Err(Error::Content { content_type: content_type.to_owned(), encoding: encoding.to_owned() })
}

/// Writes an envelope around the message that `fill` writes.
pub(super) fn seal<T>(out: &mut Vec<u8>, api_version: &str, kind: &str, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    put_type(out, api_version, kind);
    let filled = wire::put_message(out, RAW, fill);
    out.extend_from_slice(END);
    filled
}

/// The beginning of an envelope around a message of `length` bytes, after which [`END`] comes.
pub(super) fn head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_type(&mut out, api_version, kind);
    wire::put_head(&mut out, RAW, length);
    out
}

fn put_type(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    out.extend_from_slice(&MAGIC);
    wire::put_message(out, TYPE, |out| {
        wire::put_bytes(out, 1, api_version.as_bytes());
        wire::put_bytes(out, 2, kind.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_opened_as_it_was_sealed() {
        let mut bytes = Vec::new();
        seal(&mut bytes, "apps/v1", "Deployment", |out| out.extend_from_slice(b"\x0a\x00"));
        let opened = open(&bytes).unwrap();
        assert_eq!((opened.api_version, opened.kind, opened.raw), ("apps/v1", "Deployment", &b"\x0a\x00"[..]));
    }

    #[test]
    fn an_envelope_in_pieces_is_that_of_one_piece() {
        let mut whole = Vec::new();
        seal(&mut whole, "v1", "PodList", |out| out.extend_from_slice(&[7; 200]));
        assert_eq!([&head("v1", "PodList", 200)[..], &[7; 200], END].concat(), whole);
    }

    #[test]
    fn content_in_another_form_is_refused() {
        let mut bytes = Vec::new();
        seal(&mut bytes, "v1", "Pod", |_| {});
        wire::put_bytes(&mut bytes, 3, b"gzip");
        assert!(matches!(open(&bytes), Err(Error::Content { .. })));
        assert!(matches!(open(b"{}"), Err(Error::Magic)));
    }
}
