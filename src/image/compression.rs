//! Tells how a layer or archive is compressed by its first bytes (media types and file names lie)
//! and reads it uncompressed.

use std::io::{self, BufRead, Read};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Largest zstd window, as a power of two: bounds the decoder's memory to 128 MiB.
const ZSTD_WINDOW_LOG_LIMIT: u32 = 27;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, possibly several members.
    Gzip,
    /// Zstandard, possibly several frames.
    Zstd,
}

/// Recognises the compression of what begins with `start` (4 bytes are enough).
pub fn detect(start: &[u8]) -> Compression {
    if start.starts_with(GZIP) {
        Compression::Gzip
    } else if start.starts_with(ZSTD) {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// A reader of the uncompressed bytes of `input`.
pub fn decompress<'a>(mut input: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match detect(input.fill_buf()?) {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_LIMIT)?;
            Box::new(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn all_three_read_the_same() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"layer").unwrap();
        let zstd = zstd::encode_all(&b"layer"[..], 1).unwrap();
        for bytes in [b"layer".to_vec(), gzip.finish().unwrap(), zstd] {
            assert_eq!(read(&bytes).unwrap(), b"layer");
        }
    }

    #[test]
    fn a_cut_stream_is_an_unexpected_end() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 10_000]).unwrap();
        let bytes = gzip.finish().unwrap();
        assert_eq!(read(&bytes[..bytes.len() / 2]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let bytes = zstd::encode_all(&[7; 10_000][..], 1).unwrap();
        assert_eq!(read(&bytes[..bytes.len() / 2]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
