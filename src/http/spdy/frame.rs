//! Frames: eight bytes of head and a bounded payload (SPDY 3.1, section 2).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest frame taken. The clients' library sends 32 KiB of data at once at most.
pub const FRAME_LIMIT_BYTES: usize = 1024 * 1024;
const HEAD_BYTES: usize = 8;
const CONTROL: u32 = 1 << 31;
const VERSION: u16 = 3;
/// The sender's last frame on the stream.
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// A connection that does not speak the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("spdy connection")]
    Io(#[from] std::io::Error),
    /// A frame of another version.
    #[error("spdy version {0} instead of 3")]
    Version(u16),
    /// A frame that is larger than anything legitimate.
    #[error("spdy frame of {0} bytes")]
    TooLarge(usize),
    /// A frame that is too short for its type.
    #[error("truncated spdy frame of type {0}")]
    Truncated(u16),
    /// A header block that cannot be decoded.
    #[error("invalid spdy header block: {0}")]
    Headers(&'static str),
    /// More streams than allowed.
    #[error("more than {0} spdy streams at once")]
    TooManyStreams(usize),
}

/// A frame as it is on the wire; header blocks are still compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The peer opens a stream.
    SynStream {
        /// Stream.
        id: u32,
        /// The peer sends nothing on it.
        fin: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// A stream is accepted.
    SynReply {
        /// Stream.
        id: u32,
        /// Compressed headers.
        block: Bytes,
    },
    /// More headers for a stream.
    Headers {
        /// Stream.
        id: u32,
        /// The sender's last frame on it.
        fin: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// Bytes of a stream.
    Data {
        /// Stream.
        id: u32,
        /// The sender's last frame on it.
        fin: bool,
        /// Contents.
        data: Bytes,
    },
    /// A stream ends at once.
    Reset {
        /// Stream.
        id: u32,
        /// Reason.
        status: u32,
    },
    /// To be sent back.
    Ping(u32),
    /// The peer opens and takes no more streams.
    GoAway,
    /// Settings, windows and frames of unknown type: read and passed over.
    Ignored,
}

impl Frame {
    /// Takes a frame from the front of `buffer`; `None` if it is not there whole yet.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, Error> {
        if buffer.len() < HEAD_BYTES {
            return Ok(None);
        }
        let mut head = &buffer[..HEAD_BYTES];
        let (first, second) = (head.get_u32(), head.get_u32());
        let (flags, length) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
        if length > FRAME_LIMIT_BYTES {
            return Err(Error::TooLarge(length));
        }
        if buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        buffer.advance(HEAD_BYTES);
        let payload = buffer.split_to(length).freeze();
        let fin = flags & FLAG_FIN != 0;
        if first & CONTROL == 0 {
            return Ok(Some(Self::Data { id: first, fin, data: payload }));
        }
        let version = ((first >> 16) & 0x7fff) as u16;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        control((first & 0xffff) as u16, fin, payload).map(Some)
    }

    /// Appends the frame to `buffer`.
    pub fn encode(&self, buffer: &mut BytesMut) {
        match self {
            Self::SynStream { id, fin, block } => {
                put_control(buffer, SYN_STREAM, *fin, 10 + block.len());
                buffer.put_u32(*id);
                buffer.put_bytes(0, 6);
                buffer.put_slice(block);
            }
            Self::SynReply { id, block } => put_with_block(buffer, SYN_REPLY, false, *id, block),
            Self::Headers { id, fin, block } => put_with_block(buffer, HEADERS, *fin, *id, block),
            Self::Data { id, fin, data } => {
                buffer.put_u32(id & !CONTROL);
                put_flags_and_length(buffer, *fin, data.len());
                buffer.put_slice(data);
            }
            Self::Reset { id, status } => {
                put_control(buffer, RST_STREAM, false, 8);
                buffer.put_u32(*id);
                buffer.put_u32(*status);
            }
            Self::Ping(id) => {
                put_control(buffer, PING, false, 4);
                buffer.put_u32(*id);
            }
            Self::GoAway => {
                put_control(buffer, GOAWAY, false, 8);
                buffer.put_bytes(0, 8);
            }
            Self::Ignored => {}
        }
    }
}

fn control(kind: u16, fin: bool, mut payload: Bytes) -> Result<Frame, Error> {
    let needed = match kind {
        SYN_STREAM => 10,
        RST_STREAM | GOAWAY | WINDOW_UPDATE => 8,
        SYN_REPLY | PING | HEADERS | SETTINGS => 4,
        _ => return Ok(Frame::Ignored),
    };
    if payload.len() < needed {
        return Err(Error::Truncated(kind));
    }
    let id = payload.get_u32() & !CONTROL;
    Ok(match kind {
        SYN_STREAM => Frame::SynStream { id, fin, block: payload.split_off(6) },
        SYN_REPLY => Frame::SynReply { id, block: payload },
        HEADERS => Frame::Headers { id, fin, block: payload },
        RST_STREAM => Frame::Reset { id, status: payload.get_u32() },
        PING => Frame::Ping(id),
        GOAWAY => Frame::GoAway,
        _ => Frame::Ignored,
    })
}

fn put_with_block(buffer: &mut BytesMut, kind: u16, fin: bool, id: u32, block: &Bytes) {
    put_control(buffer, kind, fin, 4 + block.len());
    buffer.put_u32(id);
    buffer.put_slice(block);
}

fn put_control(buffer: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    buffer.put_u32(CONTROL | u32::from(VERSION) << 16 | u32::from(kind));
    put_flags_and_length(buffer, fin, length);
}

fn put_flags_and_length(buffer: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).expect("a frame is bounded") & 0x00ff_ffff;
    buffer.put_u32(u32::from(fin) << 24 | length);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut buffer) {}
        }

        #[test]
        fn what_is_encoded_is_decoded(id in 1u32..0x7fff_ffff, fin: bool, bytes: Vec<u8>, which in 0..6) {
            let block = Bytes::from(bytes);
            let frame = match which {
                0 => Frame::SynStream { id, fin, block },
                1 => Frame::SynReply { id, block },
                2 => Frame::Headers { id, fin, block },
                3 => Frame::Data { id, fin, data: block },
                4 => Frame::Reset { id, status: 5 },
                _ => Frame::Ping(id),
            };
            let mut buffer = BytesMut::new();
            frame.encode(&mut buffer);
            let mut cut = BytesMut::from(&buffer[..buffer.len() - 1]);
            prop_assert_eq!(Frame::decode(&mut cut).unwrap(), None);
            prop_assert_eq!(Frame::decode(&mut buffer).unwrap(), Some(frame));
            prop_assert!(buffer.is_empty());
        }
    }
}
