//! Protobuf's wire format (protobuf.dev, "Encoding"): fields of numbers and lengths, read without
//! copying and written without buffers in between.

use super::Error;

/// Bits of a field's tag that say how its value is encoded.
const WIRE_TYPE_BITS: u32 = 3;
/// Bytes of the longest number.
const VARINT_BYTES: usize = 10;

/// A field's value as it is encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part<'a> {
    /// An integer or boolean.
    Varint(u64),
    /// Eight bytes: a `double`.
    Fixed64(u64),
    /// Text, bytes, a message, or packed scalars.
    Bytes(&'a [u8]),
    /// Four bytes, which no Kubernetes type uses.
    Fixed32,
}

impl<'a> Part<'a> {
    /// The bytes of field `field`.
    pub(super) fn bytes(self, field: u32) -> Result<&'a [u8], Error> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Error::WireType { field }) }
    }

    /// The integer of field `field`. Negative ones are two's complements of 64 bits.
    pub(super) fn integer(self, field: u32) -> Result<i64, Error> {
        if let Self::Varint(number) = self { Ok(number.cast_signed()) } else { Err(Error::WireType { field }) }
    }

    /// The text of field `field`.
    pub(super) fn text(self, field: u32) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| Error::Text)
    }
}

/// Reads the fields of one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins to read `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all is read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Part<'a>)>, Error> {
        if self.is_at_end() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| Error::Number)?;
        let (field, wire_type) = (tag >> WIRE_TYPE_BITS, tag & ((1 << WIRE_TYPE_BITS) - 1));
        if field == 0 {
            return Err(Error::Number);
        }
        let part = match wire_type {
            0 => Part::Varint(self.varint()?),
            1 => Part::Fixed64(self.fixed64()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Error::Truncated)?;
                Part::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Part::Fixed32
            }
            _ => return Err(Error::WireType { field }),
        };
        Ok(Some((field, part)))
    }

    /// A number of variable length.
    pub(super) fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for at in 0..VARINT_BYTES {
            let byte = *self.rest.get(at).ok_or(Error::Truncated)?;
            let bits = u64::from(byte & 0x7f);
            if at == VARINT_BYTES - 1 && byte > 1 {
                return Err(Error::Number);
            }
            number |= bits << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(Error::Number)
    }

    /// Eight bytes, the lowest first.
    pub(super) fn fixed64(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?.try_into().expect("eight bytes were taken");
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// The values of fields 1, 2 and 3 of a message that has no others.
pub(super) fn first_three(bytes: &[u8]) -> Result<[Option<Part<'_>>; 3], Error> {
    let mut parts = [None; 3];
    let mut reader = Reader::new(bytes);
    while let Some((field, part)) = reader.next()? {
        if let Some(place) = parts.get_mut(field as usize - 1) {
            *place = Some(part);
        }
    }
    Ok(parts)
}

/// The text of a field that may be missing.
pub(super) fn text(part: Option<Part<'_>>, field: u32) -> Result<&str, Error> {
    part.map_or(Ok(""), |part| part.text(field))
}

/// The integer of a field that may be missing.
pub(super) fn integer(part: Option<Part<'_>>, field: u32) -> Result<i64, Error> {
    part.map_or(Ok(0), |part| part.integer(field))
}

/// Writes an integer or boolean.
pub(super) fn put_integer(out: &mut Vec<u8>, field: u32, number: i64) {
    put_varint(out, u64::from(field) << WIRE_TYPE_BITS);
    put_varint(out, number.cast_unsigned());
}

/// Writes a `double`.
pub(super) fn put_double(out: &mut Vec<u8>, field: u32, number: f64) {
    put_varint(out, u64::from(field) << WIRE_TYPE_BITS | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Writes text or bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << WIRE_TYPE_BITS | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes what `fill` writes, as one message.
pub(super) fn put_message<T>(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    put_varint(out, u64::from(field) << WIRE_TYPE_BITS | 2);
    // Most messages are so short that one byte has their length; longer ones are moved on.
    out.push(0);
    let start = out.len();
    let filled = fill(out);
    let length = out.len() - start;
    let more = varint_len(length as u64) - 1;
    if more > 0 {
        out.resize(start + length + more, 0);
        out.copy_within(start..start + length, start + more);
    }
    write_varint(&mut out[start - 1..], length as u64);
    filled
}

/// Writes the beginning of a field of `length` bytes that follow.
pub(super) fn put_head(out: &mut Vec<u8>, field: u32, length: usize) {
    put_varint(out, u64::from(field) << WIRE_TYPE_BITS | 2);
    put_varint(out, length as u64);
}

fn varint_len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

fn write_varint(out: &mut [u8], mut number: u64) {
    for byte in out {
        *byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return;
        }
        *byte |= 0x80;
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        let mut reader = Reader::new(&[0xff; 11]);
        assert!(matches!(reader.varint(), Err(Error::Number)));
        let mut most = vec![0xff; 9];
        most.push(1);
        assert_eq!(Reader::new(&most).varint().unwrap(), u64::MAX);
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert!(matches!(Reader::new(&[0x0b]).next(), Err(Error::WireType { field: 1 })));
        assert!(matches!(Reader::new(&[0x00, 0]).next(), Err(Error::Number)));
    }

    #[test]
    fn messages_of_any_length_follow_their_length() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut out = vec![9];
            put_message(&mut out, 3, |out| out.extend(std::iter::repeat_n(7, length)));
            let (field, part) = Reader::new(&out[1..]).next().unwrap().unwrap();
            assert_eq!((field, part.bytes(3).unwrap()), (3, &vec![7; length][..]));
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_as_they_were_written(field in 1_u32..1 << 28, number: i64) {
            let mut out = Vec::new();
            put_integer(&mut out, field, number);
            let (read, part) = Reader::new(&out).next().unwrap().unwrap();
            prop_assert_eq!((read, part.integer(field).unwrap()), (field, number));
        }
    }
}
