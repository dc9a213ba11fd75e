//! Writing DER (ITU-T X.690): as much as a certificate needs, and nothing of reading it.

use jiff::{Timestamp, tz::TimeZone};

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The last year that UTCTime can tell (RFC 5280, section 4.1.2.5).
const LAST_UTC_YEAR: i16 = 2049;

/// One element: tag, length, contents.
pub fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 6);
    out.push(tag);
    match contents.len() {
        short @ 0..=0x7f => out.push(short.to_le_bytes()[0]),
        long => {
            let digits: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | digits.len().to_le_bytes()[0]);
            out.extend(digits);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// A sequence of encoded elements.
pub fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &elements.concat())
}

/// A positive integer.
pub fn unsigned(big_endian: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = big_endian.iter().copied().skip_while(|byte| *byte == 0).collect();
    if digits.first().is_none_or(|first| first & 0x80 != 0) {
        digits.insert(0, 0);
    }
    element(INTEGER, &digits)
}

/// A bit string of whole bytes.
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// A bit string of named bits, the first being the lowest of `flags`.
pub fn named_bits(flags: u16) -> Vec<u8> {
    let reversed = flags.reverse_bits().to_be_bytes();
    let used = 16 - flags.leading_zeros();
    let bytes = used.div_ceil(8) as usize;
    let unused = (bytes as u32 * 8 - used).to_le_bytes()[0];
    element(BIT_STRING, &[&[unused], &reversed[..bytes]].concat())
}

/// A time, in the form that certificates have it in.
pub fn time(seconds: i64) -> Vec<u8> {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
    let (tag, form) = match time.year() {
        1950..=LAST_UTC_YEAR => (UTC_TIME, "%y%m%d%H%M%SZ"),
        _ => (GENERALIZED_TIME, "%Y%m%d%H%M%SZ"),
    };
    element(tag, time.strftime(form).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        assert_eq!(element(OCTET_STRING, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(element(OCTET_STRING, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(element(OCTET_STRING, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn integers_stay_positive_and_bits_are_counted() {
        assert_eq!(unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(named_bits(0b101), [3, 2, 5, 0b1010_0000]);
        assert_eq!(named_bits(0b1_0000_0000), [3, 3, 7, 0, 0x80]);
    }

    #[test]
    fn times_change_their_form_after_2049() {
        assert_eq!(time(0), [&[UTC_TIME, 13][..], b"700101000000Z"].concat());
        assert_eq!(time(2_524_608_000), [&[GENERALIZED_TIME, 15][..], b"20500101000000Z"].concat());
    }
}
