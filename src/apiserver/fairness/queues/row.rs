//! The queues of a level, as a dump shows them: those too that have nothing to remember.

use tokio::time::Instant;

use super::{Discipline, Execution, Place, Queue, Queues};

/// A queue, and what waits in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Its number.
    pub index: u32,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that are served.
    pub executing: usize,
    /// Seats that they hold.
    pub seats: u32,
    /// What the level's clock will have shown when its next request is begun, in seat-seconds.
    pub next: f64,
    /// Seats that waiting requests need while they are served.
    pub initial_seats: u32,
    /// Seats that they need at most.
    pub most_seats: u32,
    /// Their work in all, in seat-seconds.
    pub work: f64,
}

impl Place {
    /// The number of the queue.
    pub fn queue(&self) -> u32 {
        self.queue
    }
}

impl Execution {
    /// The number of the queue that it was served from, if its level has any.
    pub fn queue(&self) -> Option<u32> {
        self.queue
    }
}

impl Queues {
    /// All queues, if the level has any.
    pub fn rows(&mut self, now: Instant) -> Vec<Row> {
        self.sync(now);
        let Discipline::Queue { queues, .. } = self.discipline else { return Vec::new() };
        let mut used = self.used.iter().peekable();
        let mut rows: Vec<Row> = (0..queues)
            .map(|index| match used.next_if(|queue| queue.index == index) {
                Some(queue) => queue.row(),
                None => Row { index, next: self.progress, ..Row::default() },
            })
            .collect();
        // Those that the level had before it was given fewer.
        rows.extend(used.map(Queue::row));
        rows
    }
}

impl Queues {
    /// How many are before a request in its queue, if it waits there.
    pub fn position(&self, place: Place) -> Option<usize> {
        let queue = self.used.binary_search_by_key(&place.queue, |queue| queue.index).ok()?;
        self.used[queue].waiting.binary_search_by_key(&place.number, |waiter| waiter.number).ok()
    }
}

impl Queue {
    fn row(&self) -> Row {
        Row {
            index: self.index,
            waiting: self.waiting.len(),
            executing: self.executing,
            seats: self.seats,
            next: self.next,
            initial_seats: self.waiting.iter().map(|waiter| waiter.work.seats).sum(),
            most_seats: self.waiting.iter().map(|waiter| waiter.work.most_seats()).sum(),
            work: self.waiting_work,
        }
    }
}
