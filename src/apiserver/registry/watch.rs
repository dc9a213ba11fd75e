//! Watch: a stream of events from a revision on, each as the client wants to see it
//! (API concepts, "Efficient detection of changes").

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::{Status, kind::Descriptor},
    apiserver::{
        cache::{
            Caches,
            object::{Change, Object},
            resource::Slice,
            selectable::Selector,
            watcher::{Seen, Watcher},
        },
        fairness::Ticket,
        list_options::ListOptions,
        registry::{Call, Registry, list::expired, versions::Conversion},
    },
    store::Revision,
};

/// How long a watch lasts when the client does not say: between this and twice this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a quiet watch is told of progress.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of events that are sent as one piece.
const CHUNK_BYTES: usize = 32 << 10;
/// Annotation of the bookmark after which a watch has shown all that was there.
pub const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Makes of what happens what a client has asked to see: the bytes to send.
pub trait Render: Send + Sync {
    /// An object that was there when the watch began. There is nobody to share its bytes with.
    fn initial(&self, object: &Object) -> Bytes;
    /// An event of an object, of which all who watch are told at about the same time.
    fn event(&self, change: Change, object: &Object) -> Bytes;
    /// Tells how far the client has come, by an object that has little more than a resource version.
    fn bookmark(&self, object: &Value) -> Bytes;
    /// Tells why the watch ends.
    fn error(&self, status: &Status) -> Bytes;
}

/// A watch that has begun.
pub struct Watch {
    watcher: Watcher,
    caches: Arc<Caches>,
    kind: Descriptor,
    render: Box<dyn Render>,
    /// For kinds that a webhook converts.
    conversion: Option<Conversion>,
    waiting: VecDeque<Waiting>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    ended: bool,
    /// Its seats, until all that was there has been handed over.
    seats: Option<Ticket>,
    /// Dropped with the watch: whatever counts it.
    _guard: Box<dyn Send>,
}

/// Something to send. Events are rendered when their turn comes: a watch that begins with many
/// objects holds references to them, not copies.
enum Waiting {
    Line(Bytes),
    Initial(Arc<Object>),
    Event(Change, Arc<Object>),
}

impl Registry {
    /// Begins a watch. What cannot begin because its history is gone ends at once with an event
    /// that says so, as upstream's watches do.
    pub async fn watch(&self, call: &Call<'_>, options: ListOptions, render: Box<dyn Render>) -> Result<Watch, Status> {
        let cache = self.cache(call)?;
        let namespace = Some(call.namespace()).filter(|namespace| !namespace.is_empty());
        let revision = options.revision.unwrap_or(0);
        let initial = options.send_initial_events.unwrap_or(revision == 0);
        let mut waiting = VecDeque::new();
        let mut start = if revision == 0 { self.inner.caches.revision() } else { revision };
        let mut refused = None;
        if initial && let Err(status) = self.reach(&cache, revision).await {
            refused = Some(status);
        } else if initial {
            let slice = Slice { namespace, after: None, limit: 0, selector: &options.selector };
            let page = self.current(call, &cache, &slice).await?;
            waiting.extend(page.objects.into_iter().map(Waiting::Initial));
            start = page.revision;
            if options.send_initial_events == Some(true) && options.bookmarks {
                waiting.push_back(Waiting::Line(render.bookmark(&bookmark(call.kind, start, true))));
            }
        }
        if refused.is_none() && !cache.reaches(start) {
            refused = Some(expired(start, cache.revision()));
        }
        let ended = refused.is_some();
        if let Some(status) = refused {
            waiting = VecDeque::from([Waiting::Line(render.error(&status))]);
        }
        let now = Instant::now();
        let default = || DEFAULT_TIMEOUT + DEFAULT_TIMEOUT.mul_f64(rand::random());
        let conversion = Conversion::of(self, call.kind, &options.selector);
        // What a webhook makes of an object is selected, not what is stored.
        let selector = if conversion.is_some() { Selector::everything() } else { options.selector };
        Ok(Watch {
            watcher: Watcher::new(cache, namespace, selector, start),
            conversion,
            caches: self.inner.caches.clone(),
            kind: call.kind.clone(),
            render,
            waiting,
            bookmarks: options.bookmarks,
            next_bookmark: now + BOOKMARK_INTERVAL,
            deadline: now + options.timeout.unwrap_or_else(default),
            ended,
            seats: None,
            _guard: Box::new(self.inner.metrics.watching()),
        })
    }
}

impl Watch {
    /// Holds `seats` as long as it shows what was there when it began.
    pub fn seated(mut self, seats: Option<Ticket>) -> Self {
        self.seats = seats;
        self
    }

    /// The pieces to send, until the watch ends.
    pub fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        stream::unfold(self, |mut watch| async move { watch.next().await.map(|piece| (piece, watch)) })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = self.piece();
            if self.waiting.is_empty() {
                self.seats = None;
            }
            if piece.is_some() {
                return piece;
            }
            if self.ended || Instant::now() >= self.deadline {
                return None;
            }
            // Read before the events: all events up to here will have been seen when none is left.
            let known = self.caches.revision();
            match self.watcher.ready() {
                Ok(seen) if seen.is_empty() => self.watcher.caught_up(known),
                Ok(seen) => {
                    self.take(seen).await;
                    continue;
                }
                Err(_) => self.expire(),
            }
            if self.waiting.is_empty() {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let wake = if self.bookmarks { self.deadline.min(self.next_bookmark) } else { self.deadline };
        tokio::select! {
            seen = self.watcher.next() => match seen {
                Ok(seen) => self.take(seen).await,
                Err(_) => self.expire(),
            },
            () = tokio::time::sleep_until(wake) => {
                let now = Instant::now();
                if self.bookmarks {
                    self.next_bookmark = now + BOOKMARK_INTERVAL;
                    let object = bookmark(&self.kind, self.watcher.position(), false);
                    self.waiting.push_back(Waiting::Line(self.render.bookmark(&object)));
                }
                self.ended = now >= self.deadline;
            }
        }
    }

    async fn take(&mut self, seen: Vec<Seen>) {
        let seen = match &self.conversion {
            Some(conversion) => conversion.events(seen).await,
            None => Ok(seen),
        };
        match seen {
            Ok(seen) => {
                self.waiting.extend(seen.into_iter().map(|Seen { change, object, .. }| Waiting::Event(change, object)));
            }
            Err(status) => self.fail(&status),
        }
    }

    fn expire(&mut self) {
        self.fail(&expired(self.watcher.position(), self.caches.revision()));
    }

    fn fail(&mut self, status: &Status) {
        self.waiting.push_back(Waiting::Line(self.render.error(status)));
        self.ended = true;
    }

    /// What waits, small lines joined so that a burst is few pieces; a single line is passed on
    /// as it is, shared with all other watchers.
    fn piece(&mut self) -> Option<Bytes> {
        let first = self.line()?;
        if self.waiting.is_empty() || first.len() >= CHUNK_BYTES {
            return Some(first);
        }
        let mut piece = BytesMut::with_capacity(CHUNK_BYTES);
        piece.extend_from_slice(&first);
        while piece.len() < CHUNK_BYTES
            && let Some(line) = self.line()
        {
            piece.extend_from_slice(&line);
        }
        Some(piece.freeze())
    }

    /// The object in the version that is watched.
    fn shown(&self, object: Arc<Object>) -> Arc<Object> {
        match self.kind.strategy.custom() {
            // A webhook has converted it already.
            Some(custom) if custom.conversion.is_none() => object.in_version(&custom.api_version),
            _ => object,
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        Some(match self.waiting.pop_front()? {
            Waiting::Line(line) => line,
            Waiting::Initial(object) => self.render.initial(&self.shown(object)),
            Waiting::Event(change, object) => self.render.event(change, &self.shown(object)),
        })
    }
}

fn bookmark(kind: &Descriptor, revision: Revision, initial_events_end: bool) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_events_end {
        metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
    }
    json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
}
