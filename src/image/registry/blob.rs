//! Downloads a blob into a file and survives a bad line: what has come is kept, the rest is asked
//! for again with `Range`, with back-off, as long as there is progress.

use std::{path::Path, time::Duration};

use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::{
    super::{digest::Hasher, layers::at, manifest::Blob},
    error::{Error, Transport},
    session::Session,
};
use crate::base::{backoff::Backoff, file, log::chain};

/// Tries in a row that may fail without a single new byte.
const FRUITLESS_TRIES: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(250);
const DELAY_LIMIT: Duration = Duration::from_secs(8);
/// A line that is silent for so long is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 512 * 1024;

/// Downloads `blob` to `path` and checks its size and digest.
pub async fn download(session: &Session, blob: &Blob, path: &Path) -> Result<(), Error> {
    let mut part = Part::create(blob, path).await?;
    let mut backoff = Backoff::new(FIRST_DELAY, DELAY_LIMIT);
    while part.length < blob.size_bytes {
        let before = part.length;
        let Err(error) = part.fetch(session).await else { continue };
        if part.length > before {
            backoff.reset();
        }
        if !is_transient(&error) || backoff.failures() >= FRUITLESS_TRIES {
            return Err(error);
        }
        tracing::debug!(blob = %blob.digest, have = part.length, error = %chain(&error), "download broke off");
        tokio::time::sleep(backoff.next_delay_jittered()).await;
    }
    part.finish().await
}

/// A file that holds the first bytes of a blob.
struct Part<'a> {
    blob: &'a Blob,
    path: &'a Path,
    file: File,
    buffer: Vec<u8>,
    length: u64,
    hasher: Hasher,
}

impl<'a> Part<'a> {
    async fn create(blob: &'a Blob, path: &'a Path) -> Result<Self, file::Error> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).open(path).await;
        let file = opened.map_err(at("create", path))?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self { blob, path, file, buffer, length: 0, hasher: Hasher::default() })
    }

    async fn fetch(&mut self, session: &Session) -> Result<(), Error> {
        let response = session.blob(&self.blob.digest, self.length).await?;
        if !self.continues(&response) {
            self.restart().await?;
        }
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(IDLE_TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| self.broken(session, Transport::Timeout))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| self.broken(session, Transport::Body(error.into())));
            match frame {
                Ok(frame) => self.write(frame.data_ref().map_or(&[], |data| data)).await?,
                Err(error) => {
                    self.flush().await?;
                    return Err(error);
                }
            }
        }
        self.flush().await?;
        if self.length < self.blob.size_bytes {
            return Err(self.broken(session, Transport::Body("the body ended early".into())));
        }
        Ok(())
    }

    /// Whether the answer goes on where the file ends.
    fn continues(&self, response: &Response<Incoming>) -> bool {
        if self.length == 0 {
            return response.status() != StatusCode::PARTIAL_CONTENT;
        }
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        response.status() == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.length)))
    }

    async fn restart(&mut self) -> Result<(), file::Error> {
        let rewound = async {
            self.file.set_len(0).await?;
            self.file.rewind().await
        };
        rewound.await.map_err(at("truncate", self.path))?;
        self.buffer.clear();
        (self.length, self.hasher) = (0, Hasher::default());
        Ok(())
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.length += data.len() as u64;
        if self.length > self.blob.size_bytes {
            return Err(self.wrong_size());
        }
        self.hasher.update(data);
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= BUFFER_BYTES { Ok(self.flush().await?) } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), file::Error> {
        let written = async {
            self.file.write_all(&self.buffer).await?;
            self.file.flush().await
        };
        written.await.map_err(at("write", self.path))?;
        self.buffer.clear();
        Ok(())
    }

    async fn finish(self) -> Result<(), Error> {
        let actual = self.hasher.finish();
        if actual != self.blob.digest {
            return Err(Error::Digest { expected: self.blob.digest.clone(), actual });
        }
        Ok(())
    }

    fn wrong_size(&self) -> Error {
        Error::Size { digest: self.blob.digest.clone(), expected_bytes: self.blob.size_bytes }
    }

    fn broken(&self, session: &Session, source: Transport) -> Error {
        let url = format!("{} at byte {} from {}", self.blob.digest, self.length, session.host());
        Error::Request { method: "Get", url, source }
    }
}

fn is_transient(error: &Error) -> bool {
    match error {
        Error::Request { source, .. } => !matches!(source, Transport::TlsConfig(_) | Transport::Tls { .. }),
        Error::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 416 | 429),
        _ => false,
    }
}
