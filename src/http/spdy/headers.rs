//! Header blocks: names and values, compressed with zlib over the whole life of a connection,
//! beginning with a dictionary that both sides know (SPDY 3.1, section 2.6.10).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::Error;

/// Most bytes of a decompressed block; Kubernetes' have some hundred.
const BLOCK_LIMIT_BYTES: usize = 64 * 1024;
const STEP_BYTES: usize = 4 * 1024;

/// The words of the dictionary that are preceded by their length.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding \
    content-language content-length content-location content-md5 content-range content-type date etag expect \
    expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified \
    location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te \
    trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK \
    version HTTP/1.1 url public set-cookie keep-alive origin";
/// The rest of it.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// Names, in lower case, and values.
pub type Headers = Vec<(String, String)>;

/// Compresses the blocks of one direction.
pub struct Encoder {
    zlib: Compress,
}

/// Decompresses the blocks of one direction.
pub struct Decoder {
    zlib: Decompress,
}

impl Encoder {
    /// For a new connection.
    pub fn new() -> Result<Self, Error> {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&dictionary()).map_err(|_| Error::Headers("no dictionary"))?;
        Ok(Self { zlib })
    }

    /// The next block.
    pub fn encode(&mut self, headers: &[(String, String)]) -> Result<Bytes, Error> {
        let mut plain = BytesMut::new();
        put_length(&mut plain, headers.len());
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            put_length(&mut plain, text.len());
            plain.put_slice(text.as_bytes());
        }
        let mut packed = Vec::new();
        let before = self.zlib.total_in();
        loop {
            packed.reserve(STEP_BYTES);
            let used = usize::try_from(self.zlib.total_in() - before).map_err(|_| Error::Headers("too large"))?;
            let result = self.zlib.compress_vec(&plain[used..], &mut packed, FlushCompress::Sync);
            result.map_err(|_| Error::Headers("compression failed"))?;
            // Room left over means that all of it, the flush included, is out.
            if packed.len() < packed.capacity() {
                return Ok(packed.into());
            }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { zlib: Decompress::new(true) }
    }
}

impl Decoder {
    /// The headers of the next block.
    pub fn decode(&mut self, block: &[u8]) -> Result<Headers, Error> {
        parse(self.decompress(block)?.into())
    }

    fn decompress(&mut self, block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        let mut rest = block;
        loop {
            if plain.len() >= BLOCK_LIMIT_BYTES {
                return Err(Error::Headers("the block is too large"));
            }
            plain.reserve(STEP_BYTES);
            let before = (self.zlib.total_in(), plain.len());
            let result = self.zlib.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            let used = usize::try_from(self.zlib.total_in() - before.0).map_err(|_| Error::Headers("too large"))?;
            rest = &rest[used.min(rest.len())..];
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.zlib.set_dictionary(&dictionary());
                    set.map_err(|_| Error::Headers("another dictionary"))?;
                }
                Err(_) => return Err(Error::Headers("damaged compression")),
                Ok(Status::StreamEnd) => return Ok(plain),
                Ok(_) if rest.is_empty() && plain.len() < plain.capacity() => return Ok(plain),
                Ok(_) if used == 0 && plain.len() == before.1 => return Err(Error::Headers("damaged compression")),
                Ok(_) => {}
            }
        }
    }
}

fn parse(mut block: Bytes) -> Result<Headers, Error> {
    let count = take_length(&mut block)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut block)?;
        headers.push((name.to_ascii_lowercase(), take_text(&mut block)?));
    }
    Ok(headers)
}

fn take_text(block: &mut Bytes) -> Result<String, Error> {
    let length = take_length(block)?;
    if length > block.len() {
        return Err(Error::Headers("truncated"));
    }
    String::from_utf8(block.split_to(length).into()).map_err(|_| Error::Headers("not UTF-8"))
}

fn take_length(block: &mut Bytes) -> Result<usize, Error> {
    if block.len() < 4 {
        return Err(Error::Headers("truncated"));
    }
    Ok(block.get_u32() as usize)
}

fn put_length(buffer: &mut BytesMut, length: usize) {
    buffer.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn dictionary() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for word in WORDS.split_ascii_whitespace() {
        put_length(&mut bytes, word.len());
        bytes.put_slice(word.replace('_', " ").as_bytes());
    }
    bytes.put_slice(TEXT.as_bytes());
    bytes.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_the_protocol() {
        // Its Adler-32 checksum is what every compressed connection begins with.
        let checksum = Compress::new(Compression::fast(), true).set_dictionary(&dictionary()).unwrap();
        assert_eq!(checksum, 0xe3c6_a7c2);
    }

    #[test]
    fn blocks_after_the_first_lean_on_it() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::default());
        let headers = vec![("streamtype".to_owned(), "data".to_owned()), ("port".to_owned(), "80".to_owned())];
        let first = encoder.encode(&headers).unwrap();
        let second = encoder.encode(&headers).unwrap();
        assert!(second.len() < first.len());
        assert_eq!(decoder.decode(&first).unwrap(), headers);
        assert_eq!(decoder.decode(&second).unwrap(), headers);
    }

    #[test]
    fn a_bomb_is_refused() {
        let headers = vec![("a".to_owned(), "x".repeat(1 << 20))];
        let bomb = Encoder::new().unwrap().encode(&headers).unwrap();
        assert!(matches!(Decoder::default().decode(&bomb), Err(Error::Headers("the block is too large"))));
    }

    proptest! {
        #[test]
        fn no_block_makes_it_panic(noise: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let _ = Decoder::default().decode(&noise);
            let _ = parse(Bytes::from(noise));
            let headers = vec![("streamtype".to_owned(), "data".to_owned())];
            let mut block = Encoder::new().unwrap().encode(&headers).unwrap().to_vec();
            let at = at.index(block.len());
            block[at] ^= flip;
            let _ = Decoder::default().decode(&block);
        }
    }
}
