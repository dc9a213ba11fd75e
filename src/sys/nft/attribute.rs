//! Netlink attributes as bytes: a writer with nesting, and an iterator for reading replies.
//! nf_tables sends integers in network byte order, register contents in the order the packet has.

/// Marks an attribute that holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are not flags.
const TYPE_MASK: u16 = 0x3fff;
const HEADER_LEN: usize = 4;

/// Appends attributes to a growing message.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(HEADER_LEN + value.len()).expect("attributes are kept below 64 KiB by the callers");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut terminated = value.as_bytes().to_vec();
        terminated.push(0);
        self.bytes(kind, &terminated);
    }

    pub(super) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Writes what `inside` writes as one nested attribute.
    pub(super) fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_LEN]);
        inside(self);
        let len = u16::try_from(self.bytes.len() - start).expect("attributes are kept below 64 KiB by the callers");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        self.pad();
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Reads attributes one after the other as `(type, value)`; a malformed rest ends the iteration.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The first attribute of type `kind`.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    Reader(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The first attribute of type `kind` as text without its terminator.
pub(super) fn find_text(bytes: &[u8], kind: u16) -> Option<String> {
    let value = find(bytes, kind)?;
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    Some(String::from_utf8_lossy(&value[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let mut writer = Writer::default();
        writer.text(1, "nauplius");
        writer.nested(2, |inside| inside.u32(1, 7));
        let bytes = writer.into_bytes();
        assert_eq!(find_text(&bytes, 1).as_deref(), Some("nauplius"));
        assert_eq!(find(find(&bytes, 2).unwrap(), 1), Some(&7u32.to_be_bytes()[..]));
    }

    proptest! {
        #[test]
        fn reading_arbitrary_bytes_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Reader(&bytes).count() <= bytes.len());
        }
    }
}
