//! The one body type of all requests and responses inside the process.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

/// An error while a body is read or produced.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of bytes, whole or streamed.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is known whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without content.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is longer than allowed.
    #[error("body is longer than {limit_bytes} bytes")]
    TooLong {
        /// What is allowed.
        limit_bytes: usize,
    },
    /// It broke off.
    #[error("body broke off")]
    Broken(#[source] BoxError),
}

/// Reads a body of at most `limit_bytes` bytes. Trailers are dropped.
pub async fn read(mut body: Body, limit_bytes: usize) -> Result<Bytes, ReadError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ReadError::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > limit_bytes {
            return Err(ReadError::TooLong { limit_bytes });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_up_to_the_limit() {
        assert_eq!(read(full("abc"), 3).await.unwrap(), "abc");
        assert!(matches!(read(full("abcd"), 3).await, Err(ReadError::TooLong { limit_bytes: 3 })));
    }
}
