//! Container logs, as they are and as they grow. A followed log ends when its container has ended
//! and everything it wrote was sent; nothing is polled.

use std::{io, path::Path};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{
    Service, answer,
    backend::{Backend, ContainerLog, PodName},
    log_reader::LogReader,
    query::{LogOptions, Query},
};
use crate::{
    base::{lane::Lane, log::chain, task::OnFailure},
    http::body::{Body, BoxError},
    sys::inotify,
};

/// Chunks that wait for a slow client.
const QUEUE: usize = 4;

impl<B: Backend> Service<B> {
    /// `/containerLogs/{namespace}/{pod}/{container}`
    pub(super) fn logs<R>(&self, request: &Request<R>, pod: &PodName, container: &str) -> Response<Body> {
        let options = match Query::parse(request.uri().query()).log_options(Timestamp::now()) {
            Ok(options) => options,
            Err(error) => return answer::text(StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")),
        };
        match self.backend.log(pod, container, options.previous) {
            Ok(log) => self.stream(log, options),
            Err(error) => answer::error(&error),
        }
    }

    fn stream(&self, log: ContainerLog, options: LogOptions) -> Response<Body> {
        let (sender, mut receiver) = mpsc::channel::<Result<Bytes, BoxError>>(QUEUE);
        let lane = self.log_lane.clone();
        self.supervisor.spawn_fallible("container log", OnFailure::Log, async move {
            let result = copy(log, options, lane, &sender).await;
            if let Err(error) = &result {
                // The client sees a body that breaks off, not one that ends.
                let _ = sender.send(Err(chain(error).into())).await;
            }
            result
        });
        let frames = stream::poll_fn(move |context| receiver.poll_recv(context)).map(|chunk| chunk.map(Frame::data));
        answer::typed(StatusCode::OK, "text/plain", StreamBody::new(frames).boxed_unsync())
    }
}

async fn copy(
    log: ContainerLog,
    options: LogOptions,
    lane: Lane,
    client: &mpsc::Sender<Result<Bytes, BoxError>>,
) -> io::Result<()> {
    let ContainerLog { path, mut ended } = log;
    let mut watch = if options.follow { Some(watch(&path)?) } else { None };
    let mut reader = lane.run(move || LogReader::open(&path, options)).await?;
    loop {
        // Asked before reading: what is written before the end is then read for sure.
        let was_ended = *ended.borrow_and_update();
        let at_end;
        (reader, at_end) = send_all(reader, &lane, client).await?;
        let Some(watch) = watch.as_mut().filter(|_| !(was_ended || at_end)) else { return Ok(()) };
        tokio::select! {
            changed = watch.changed() => drop(changed?),
            // A sender that is dropped has nothing more to say about the container.
            changed = ended.changed() => if changed.is_err() { return send_all(reader, &lane, client).await.map(drop) },
            () = client.closed() => return Ok(()),
        }
    }
}

/// Sends what is there. Tells whether nothing more is wanted.
async fn send_all(
    mut reader: LogReader,
    lane: &Lane,
    client: &mpsc::Sender<Result<Bytes, BoxError>>,
) -> io::Result<(LogReader, bool)> {
    loop {
        let read = lane.run(move || {
            let mut chunk = Vec::new();
            let more = reader.read(&mut chunk);
            (reader, chunk, more)
        });
        let (returned, chunk, more) = read.await;
        reader = returned;
        let more = more?;
        if !chunk.is_empty() && client.send(Ok(chunk.into())).await.is_err() {
            return Ok((reader, true));
        }
        if !more || reader.is_full() {
            let full = reader.is_full();
            return Ok((reader, full));
        }
    }
}

/// Watches the directory, because the file itself is replaced when it is rotated.
fn watch(path: &Path) -> io::Result<inotify::Watch> {
    inotify::Watch::new(path.parent().unwrap_or(Path::new(".")), inotify::WRITES)
}
