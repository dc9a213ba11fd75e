//! Requests on their way to the writer. The writer takes all there are at once: that is what one
//! commit groups, so that the cost of an fsync is shared by all who wait for it.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::store::{Change, Error, Event};

/// Requests that wait or are being committed; further ones wait for their turn to be queued.
pub const QUEUE_LIMIT: usize = 4096;

/// Something for the writer to do, and where to say how it went.
pub enum Request {
    /// A change.
    Change {
        /// What to change.
        change: Change,
        /// Where its event goes.
        reply: oneshot::Sender<Result<Event, Error>>,
    },
    /// Write relaxed changes now.
    Flush {
        /// Where to say that it is done.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Drop all history now.
    Compact {
        /// Where to say that it is done.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// What the writer gets when it asks for work.
pub enum Work {
    /// All requests that were waiting, oldest first. They count against the limit until dropped.
    Requests(Vec<(Request, OwnedSemaphorePermit)>),
    /// The deadline has passed.
    Deadline,
    /// Closed, and nothing is left.
    Closed,
}

/// A bounded queue with asynchronous senders and one blocking receiver.
pub struct Queue {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Request, OwnedSemaphorePermit)>,
    closed: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(QUEUE_LIMIT)), state: Mutex::default(), filled: Condvar::new() }
    }
}

impl Queue {
    /// Queues a request, waiting while the queue is full.
    pub async fn push(&self, request: Request) -> Result<(), Error> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.waiting.push_back((request, permit));
        self.filled.notify_one();
        Ok(())
    }

    /// Refuses further requests; those that wait are still handed out.
    pub fn close(&self) {
        self.permits.close();
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for requests, at most until `deadline`.
    pub fn take(&self, deadline: Option<Instant>) -> Work {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return Work::Closed;
            }
            match deadline {
                None => self.filled.wait(&mut state),
                Some(deadline) => {
                    if self.filled.wait_until(&mut state, deadline).timed_out() && state.waiting.is_empty() {
                        return if state.closed { Work::Closed } else { Work::Deadline };
                    }
                }
            }
        }
        Work::Requests(state.waiting.drain(..).collect())
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }
}
