//! Compression of long answers, as upstream compresses them: objects and lists of more than
//! 128 KiB, for clients that take gzip, at the quickest level. Watches are not compressed.

use std::{collections::VecDeque, io::Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::{
    apiserver::{aggregator::proxy::Delegated, negotiate::accept::Encoding},
    base::lane::Lane,
    http::body::{self, Body, BoxError},
};

/// Answers up to this are sent as they are.
const THRESHOLD_BYTES: usize = 128 << 10;
/// Bytes that are compressed in one go.
const CHUNK_BYTES: usize = 64 << 10;
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Whether a client takes gzip.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim() == "gzip")
}

/// The answer, compressed if it is worth it.
pub async fn answer(response: Response<Body>, lane: &Lane) -> Response<Body> {
    if !is_eligible(response.headers()) || response.extensions().get::<Delegated>().is_some() {
        return response;
    }
    let (mut parts, mut body) = response.into_parts();
    let mut begun = VecDeque::new();
    let mut size = 0;
    while size <= THRESHOLD_BYTES {
        // Errors are passed on in their place.
        let Some(frame) = body.frame().await else { break };
        let data = frame.map(|frame| frame.into_data().unwrap_or_default());
        size += data.as_ref().map_or(0, Bytes::len);
        begun.push_back(data);
    }
    if size <= THRESHOLD_BYTES {
        return Response::from_parts(parts, short(begun));
    }
    let rest = stream::iter(begun).chain(data(body));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, GZIP);
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, streamed(compressed(rest, lane.clone())))
}

fn is_eligible(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let object = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
    !headers.contains_key(header::CONTENT_ENCODING)
        && object.iter().any(|encoding| content_type == Some(encoding.media_type()))
}

type Data = Result<Bytes, BoxError>;

fn streamed(pieces: impl Stream<Item = Data> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// A body that is known whole, so that its length is too.
fn short(mut pieces: VecDeque<Data>) -> Body {
    if pieces.iter().any(Result::is_err) {
        return streamed(stream::iter(pieces));
    }
    if pieces.len() == 1 {
        return body::full(pieces.pop_front().and_then(Result::ok).unwrap_or_default());
    }
    body::full(pieces.into_iter().flatten().flatten().collect::<Bytes>())
}

fn data(body: Body) -> impl Stream<Item = Data> + Send {
    stream::unfold(body, |mut body| async move {
        let frame = body.frame().await?;
        Some((frame.map(|frame| frame.into_data().unwrap_or_default()), body))
    })
}

/// A compression that goes on.
struct Work<S> {
    pieces: S,
    /// What is left of the last piece.
    left: Bytes,
    encoder: Option<GzEncoder<Vec<u8>>>,
    lane: Lane,
}

fn compressed(pieces: impl Stream<Item = Data> + Send + 'static, lane: Lane) -> impl Stream<Item = Data> + Send {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let work = Work { pieces: Box::pin(pieces), left: Bytes::new(), encoder: Some(encoder), lane };
    stream::unfold(work, |mut work| async move {
        let piece = work.next().await?;
        Some((piece, work))
    })
}

impl<S: Stream<Item = Data> + Unpin> Work<S> {
    /// The next compressed bytes; the encoder is gone when there are no more.
    async fn next(&mut self) -> Option<Data> {
        while let Some(mut encoder) = self.encoder.take() {
            if self.left.is_empty() {
                match self.pieces.next().await {
                    Some(Ok(piece)) => self.left = piece,
                    Some(Err(error)) => return Some(Err(error)),
                    None => return Some(encoder.finish().map(Bytes::from).map_err(Into::into)),
                }
            }
            let chunk = self.left.split_to(self.left.len().min(CHUNK_BYTES));
            let compress = move || encoder.write_all(&chunk).map(|()| (std::mem::take(encoder.get_mut()), encoder));
            match self.lane.run(compress).await {
                Ok((out, encoder)) => {
                    self.encoder = Some(encoder);
                    if !out.is_empty() {
                        return Some(Ok(out.into()));
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use http::StatusCode;

    use super::*;
    use crate::apiserver::respond;

    async fn sent(response: Response<Body>) -> (Option<HeaderValue>, Bytes) {
        let response = answer(response, &Lane::new(1)).await;
        let coding = response.headers().get(header::CONTENT_ENCODING).cloned();
        (coding, response.into_body().collect().await.unwrap().to_bytes())
    }

    #[test]
    fn gzip_must_be_named() {
        let accepts =
            |value: &str| is_accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]));
        assert!(accepts("gzip") && accepts("deflate, gzip") && !accepts("br") && !accepts("*"));
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn long_answers_are_compressed_and_short_ones_are_not() {
        let text = "0123456789abcdef".repeat(THRESHOLD_BYTES / 8);
        for body in [
            body::full(text.clone()),
            streamed(stream::iter(
                text.as_bytes().chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>(),
            )),
        ] {
            let (coding, bytes) = sent(respond::streamed(StatusCode::OK, respond::JSON, body)).await;
            assert!(coding == Some(GZIP) && bytes.len() * 10 < text.len());
            let mut plain = String::new();
            GzDecoder::new(&*bytes).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, text);
        }
        let short = text[..THRESHOLD_BYTES].to_owned();
        let (coding, bytes) = sent(respond::whole(StatusCode::OK, respond::JSON, short.clone())).await;
        assert_eq!((coding, bytes), (None, Bytes::from(short)));
    }

    #[tokio::test]
    async fn what_is_no_object_and_what_is_compressed_stays_as_it_is() {
        let long = vec![0; THRESHOLD_BYTES + 1];
        assert_eq!(sent(respond::whole(StatusCode::OK, "text/plain", long.clone())).await.0, None);
        let mut packed = respond::whole(StatusCode::OK, respond::JSON, long.clone());
        packed.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(sent(packed).await.1, Bytes::from(long));
    }
}
