//! The audit log: a thread that writes events to a file or to standard output. Requests hand their
//! events over and go on; they wait only while more is queued than may be. Nothing is dropped.

use std::{
    convert::Infallible,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    apiserver::audit::event::Entry,
    base::{
        lane::Lane,
        log::chain,
        task::{OnFailure, Supervisor},
    },
};

/// Bytes of bodies, and of what events are counted as beside them, that may wait to be written.
const QUEUE_LIMIT_BYTES: u32 = 64 << 20;
/// What an event is counted as, beside its bodies.
const ENTRY_BYTES: usize = 2048;
/// How often a log that cannot be written to is complained of at most.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Room in the queue. Given back when what it was taken for is written.
pub type Room = OwnedSemaphorePermit;

/// The way to the thread. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: Arc<Queue>,
}

struct Queue {
    room: Arc<Semaphore>,
    state: Mutex<State>,
    filled: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Entry, Option<Room>)>,
    is_closed: bool,
    has_ended: bool,
}

impl Writer {
    /// Starts the thread, which writes until [`Writer::close`].
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            room: Arc::new(Semaphore::new(QUEUE_LIMIT_BYTES as usize)),
            state: Mutex::default(),
            filled: Condvar::new(),
            ended: Condvar::new(),
        });
        let read = queue.clone();
        std::thread::Builder::new().name("audit".into()).spawn(move || read.write_all(out))?;
        Ok(Self { queue })
    }

    /// Closes the log when the process ends, so that what was recorded is written.
    pub fn close_on_shutdown(&self, supervisor: &Supervisor) {
        let (token, writer) = (supervisor.token(), self.clone());
        supervisor.spawn_draining("audit log", OnFailure::Log, async move {
            token.cancelled().await;
            Lane::new(1).run(move || writer.close()).await;
            Ok::<_, Infallible>(())
        });
    }

    /// Waits until there is room for an event with bodies of this many bytes.
    pub async fn room(&self, bytes: usize) -> Option<Room> {
        let wanted = u32::try_from(bytes.saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX).min(QUEUE_LIMIT_BYTES);
        self.queue.room.clone().acquire_many_owned(wanted).await.ok()
    }

    /// Hands an event over. One without room is the end of a stream, of which there are not many.
    pub fn push(&self, entry: Entry, room: Option<Room>) {
        let mut state = self.queue.state.lock();
        if !state.has_ended {
            state.waiting.push((entry, room));
            self.queue.filled.notify_one();
        }
    }

    /// Writes what waits and ends the thread. Blocks.
    pub fn close(&self) {
        let mut state = self.queue.state.lock();
        state.is_closed = true;
        self.queue.filled.notify_one();
        while !state.has_ended {
            self.queue.ended.wait(&mut state);
        }
    }
}

impl Queue {
    fn write_all(&self, mut out: impl Write) {
        let mut complained: Option<Instant> = None;
        while let Some(entries) = self.take() {
            let result = write(&mut out, entries);
            if let Err(error) = result
                && complained.is_none_or(|since| since.elapsed() > COMPLAINT_PAUSE)
            {
                tracing::error!(error = chain(&error), "the audit log cannot be written");
                complained = Some(Instant::now());
            }
        }
        self.state.lock().has_ended = true;
        self.ended.notify_all();
    }

    /// All that waits; `None` when nothing more will come.
    fn take(&self) -> Option<Vec<(Entry, Option<Room>)>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        Some(std::mem::take(&mut state.waiting))
    }
}

/// Writes each event with a single call, so that no rotation tears one apart.
fn write(out: &mut impl Write, entries: Vec<(Entry, Option<Room>)>) -> io::Result<()> {
    let mut first = Ok(());
    for (entry, _room) in entries {
        first = first.and(out.write_all(&entry.render()));
    }
    first.and(out.flush())
}
