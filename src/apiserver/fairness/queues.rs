//! Who of a priority level's requests is served next: fair queuing as KEP-1040 describes it ("Fair
//! Queuing for Server Requests"). Each queue has a clock of its own, which advances by the work
//! that it was given; the queue whose next request would be done first is served. This is the
//! state alone: it is told the time, and waits for nothing.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    demand::{Integrator, Observed},
    shuffle,
};

mod row;

pub use row::Row;

/// How long a request is taken to be served before anything is known of it.
const ESTIMATED_SERVICE: Duration = Duration::from_millis(3);

/// What a level does with requests beyond its seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// There are never too many.
    Exempt,
    /// Refuses them.
    Reject,
    /// Has them wait.
    Queue {
        /// Number of queues.
        queues: u32,
        /// Queues that a flow may use.
        hand: usize,
        /// Requests per queue.
        length: usize,
    },
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Seats while it is served.
    pub seats: u32,
    /// Seats afterwards, while those who watch are told.
    pub final_seats: u32,
    /// For how long afterwards. Its client does not wait for this.
    pub linger: Duration,
}

/// A request that is served.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    queue: Option<u32>,
    work: Work,
    began: Instant,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    queue: u32,
    number: u64,
}

/// Why a request is refused, as the metrics say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are no queues.
    ConcurrencyLimit,
    /// Its queue is full.
    QueueFull,
    /// It has waited for too long.
    TimedOut,
    /// Its client has gone.
    Cancelled,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It is served.
    Serve(Execution),
    /// It waits, and hears when it is served.
    Wait(Place, oneshot::Receiver<Execution>),
    /// It is refused.
    Refuse(Refusal),
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Requests that were served.
    pub dispatched: u64,
    /// Requests that were refused, for whatever reason.
    pub rejected: u64,
    /// Those of them that had waited for too long.
    pub timed_out: u64,
    /// Those of them whose client had gone.
    pub cancelled: u64,
}

/// The requests of a level.
#[derive(Debug)]
pub struct Queues {
    discipline: Discipline,
    /// Seats at once.
    limit: u32,
    /// Queues with anything in them, by their index: the others have nothing to remember.
    used: Vec<Queue>,
    /// What each queue was due so far, in seat-seconds; begins anew when all queues are empty.
    progress: f64,
    synced: Instant,
    /// The queue that was served last.
    served_last: u32,
    enqueued: usize,
    waiting: usize,
    waiting_seats: u32,
    executing: usize,
    seats: u32,
    lingering: BinaryHeap<Reverse<Linger>>,
    demand: Integrator,
    /// For those who ask.
    pub totals: Totals,
}

#[derive(Debug)]
struct Queue {
    index: u32,
    waiting: VecDeque<Waiter>,
    waiting_work: f64,
    executing: usize,
    seats: u32,
    /// Where `progress` will have been when its next request is begun.
    next: f64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    arrived: f64,
    work: Work,
    turn: oneshot::Sender<Execution>,
}

/// Seats to be given back.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Linger {
    until: Instant,
    queue: Option<u32>,
    seats: u32,
}

impl Work {
    /// One seat.
    pub const ONE: Self = Self { seats: 1, final_seats: 0, linger: Duration::ZERO };

    /// Seats that it needs at most.
    pub fn most_seats(&self) -> u32 {
        self.seats.max(self.final_seats)
    }

    /// Seat-seconds in all.
    fn total(&self) -> f64 {
        f64::from(self.seats) * ESTIMATED_SERVICE.as_secs_f64() + self.afterwards()
    }

    fn afterwards(&self) -> f64 {
        f64::from(self.final_seats) * self.linger.as_secs_f64()
    }

    /// The same work on as many seats as there are.
    fn fitted(mut self, limit: u32) -> Self {
        if self.final_seats > limit.max(1) {
            self.linger = Duration::from_secs_f64(self.afterwards() / f64::from(limit.max(1)));
            self.final_seats = limit.max(1);
        }
        self
    }
}

impl Execution {
    /// Seats that it holds.
    pub fn seats(&self) -> u32 {
        self.work.most_seats()
    }
}

impl Queues {
    /// No requests yet.
    pub fn new(discipline: Discipline, limit: u32, now: Instant) -> Self {
        Self {
            discipline,
            limit,
            used: Vec::new(),
            progress: 0.0,
            synced: now,
            served_last: 0,
            enqueued: 0,
            waiting: 0,
            waiting_seats: 0,
            executing: 0,
            seats: 0,
            lingering: BinaryHeap::new(),
            demand: Integrator::new(now),
            totals: Totals::default(),
        }
    }

    /// Changes the rules. What waits in queues that there are no longer is served from there.
    pub fn configure(&mut self, discipline: Discipline, now: Instant) {
        self.sync(now);
        self.discipline = discipline;
        self.dispatch(now);
    }

    /// Changes how many seats there are.
    pub fn resize(&mut self, limit: u32, now: Instant) {
        self.sync(now);
        self.limit = limit;
        self.dispatch(now);
    }

    /// A request of the flow that `hash` stands for.
    pub fn start(&mut self, work: Work, hash: u64, now: Instant) -> Decision {
        self.sync(now);
        let Discipline::Queue { queues, hand, length } = self.discipline else {
            return if self.fits(work.most_seats()) {
                Decision::Serve(self.begin(None, work, now))
            } else {
                self.refuse(Refusal::ConcurrencyLimit)
            };
        };
        let index = self.choose(hash, queues, hand);
        let queue = self.queue(index);
        if self.seats >= self.limit && self.used[queue].waiting.len() >= length {
            return self.refuse(Refusal::QueueFull);
        }
        self.wake(queue);
        if self.waiting == 0 && self.seats < self.limit && self.fits(work.most_seats()) {
            return Decision::Serve(self.serve_from(queue, work, now));
        }
        let decision = self.enqueue(queue, work, now);
        self.dispatch(now);
        decision
    }

    /// A request gives up waiting. Whether it was still waiting: otherwise it has been sent for.
    pub fn leave(&mut self, place: Place, why: Refusal, now: Instant) -> bool {
        self.sync(now);
        let Ok(queue) = self.used.binary_search_by_key(&place.queue, |queue| queue.index) else { return false };
        let found = self.used[queue].waiting.binary_search_by_key(&place.number, |waiter| waiter.number);
        let Ok(at) = found else { return false };
        let Some(waiter) = self.used[queue].waiting.remove(at) else { return false };
        self.waiting -= 1;
        self.waiting_seats -= waiter.work.most_seats();
        self.used[queue].waiting_work -= waiter.work.total();
        self.observe(now);
        self.refuse(why);
        self.used[queue].bound();
        self.forget(place.queue);
        self.dispatch(now);
        true
    }

    /// A request has been served.
    pub fn finish(&mut self, execution: &Execution, now: Instant) {
        self.sync(now);
        self.executing -= 1;
        if let Some(queue) = self.existing(execution.queue) {
            queue.executing -= 1;
            // What was booked as an estimate is corrected by what it took.
            let took = now.saturating_duration_since(execution.began).as_secs_f64();
            queue.next -= f64::from(execution.work.seats) * (ESTIMATED_SERVICE.as_secs_f64() - took);
            queue.bound();
        }
        let linger = execution.work.linger;
        let held = Linger { until: now + linger, queue: execution.queue, seats: execution.seats() };
        if linger.is_zero() {
            self.release(&held, now)
        } else {
            self.lingering.push(Reverse(held))
        }
        self.dispatch(now);
    }

    /// Gives back what is due.
    pub fn tick(&mut self, now: Instant) {
        self.sync(now);
        self.dispatch(now);
    }

    /// When seats are given back that somebody waits for.
    pub fn next_release(&self) -> Option<Instant> {
        let first = self.lingering.peek().filter(|_| self.waiting > 0)?;
        Some(first.0.until)
    }

    /// What was asked for since the last time.
    pub fn take_demand(&mut self, now: Instant) -> Observed {
        self.sync(now);
        self.demand.take(now)
    }

    /// Whether nothing waits and nothing is served.
    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.executing == 0
    }

    /// Requests that wait, and that are served.
    pub fn counts(&self) -> (usize, usize) {
        (self.waiting, self.executing)
    }

    /// Queues in which something waits.
    pub fn active(&self) -> usize {
        self.used.iter().filter(|queue| !queue.waiting.is_empty()).count()
    }

    /// The queue of the flow's hand in which the least work waits, the first of several.
    fn choose(&mut self, hash: u64, queues: u32, hand: usize) -> u32 {
        let hand = shuffle::deal(hash, queues, hand);
        let cards = hand.cards();
        let first = self.enqueued % cards.len();
        self.enqueued = self.enqueued.wrapping_add(1);
        let work = |card: u32| {
            let found = self.used.binary_search_by_key(&card, |queue| queue.index);
            found.map_or(0.0, |at| self.used[at].waiting_work)
        };
        let order = cards[first..].iter().chain(&cards[..first]).copied();
        order.min_by(|one, other| work(*one).total_cmp(&work(*other))).unwrap_or_default()
    }

    /// Where a queue is among those that are used; it is from now on.
    fn queue(&mut self, index: u32) -> usize {
        match self.used.binary_search_by_key(&index, |queue| queue.index) {
            Ok(at) => at,
            Err(at) => {
                self.used.insert(at, Queue::new(index, self.progress));
                at
            }
        }
    }

    fn existing(&mut self, index: Option<u32>) -> Option<&mut Queue> {
        let at = self.used.binary_search_by_key(&index?, |queue| queue.index).ok()?;
        Some(&mut self.used[at])
    }

    /// A queue that was empty saves up no credit for that.
    fn wake(&mut self, queue: usize) {
        if !self.used[queue].is_active() {
            self.used[queue].next = self.progress;
        }
    }

    fn enqueue(&mut self, queue: usize, work: Work, now: Instant) -> Decision {
        let (turn, hear) = oneshot::channel();
        let number = self.enqueued as u64;
        let waiter = Waiter { number, arrived: self.progress, work, turn };
        let queue = &mut self.used[queue];
        queue.waiting.push_back(waiter);
        queue.waiting_work += work.total();
        queue.bound();
        let place = Place { queue: queue.index, number };
        self.waiting += 1;
        self.waiting_seats += work.most_seats();
        self.observe(now);
        Decision::Wait(place, hear)
    }

    fn dispatch(&mut self, now: Instant) {
        while self.waiting > 0 && self.seats < self.limit {
            let Some(queue) = self.next_queue() else { return };
            let Some(first) = self.used[queue].waiting.front() else { return };
            if !self.fits(first.work.most_seats()) {
                return;
            }
            let Some(waiter) = self.used[queue].waiting.pop_front() else { return };
            self.waiting -= 1;
            self.waiting_seats -= waiter.work.most_seats();
            self.used[queue].waiting_work -= waiter.work.total();
            let execution = self.serve_from(queue, waiter.work, now);
            // Who gives up says so under the same lock, before the other end of this is gone.
            _ = waiter.turn.send(execution);
        }
    }

    /// The queue whose first request would be done first; in turn, if there are several.
    fn next_queue(&self) -> Option<usize> {
        let turn = self.used.partition_point(|queue| queue.index <= self.served_last);
        let order = (turn..self.used.len()).chain(0..turn);
        let done = |at: usize| self.used[at].waiting.front().map(|first| self.used[at].next + first.work.total());
        let candidates = order.filter_map(|at| done(at).map(|done| (at, done)));
        candidates.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
    }

    fn serve_from(&mut self, queue: usize, work: Work, now: Instant) -> Execution {
        let work = work.fitted(self.limit);
        let queue = &mut self.used[queue];
        queue.executing += 1;
        queue.seats += work.most_seats();
        queue.next += work.total();
        queue.bound();
        let index = queue.index;
        self.served_last = index;
        self.begin(Some(index), work, now)
    }

    fn begin(&mut self, queue: Option<u32>, work: Work, now: Instant) -> Execution {
        self.executing += 1;
        self.seats += work.most_seats();
        self.totals.dispatched += 1;
        self.observe(now);
        Execution { queue, work, began: now }
    }

    fn refuse(&mut self, why: Refusal) -> Decision {
        self.totals.rejected += 1;
        match why {
            Refusal::TimedOut => self.totals.timed_out += 1,
            Refusal::Cancelled => self.totals.cancelled += 1,
            Refusal::ConcurrencyLimit | Refusal::QueueFull => {}
        }
        Decision::Refuse(why)
    }

    fn fits(&self, seats: u32) -> bool {
        match self.discipline {
            Discipline::Exempt => true,
            // What is wider than the level is served alone.
            _ if seats > self.limit => self.executing == 0,
            _ => self.seats + seats <= self.limit,
        }
    }

    fn release(&mut self, held: &Linger, now: Instant) {
        self.seats -= held.seats;
        self.observe(now);
        if let Some(queue) = self.existing(held.queue) {
            queue.seats -= held.seats;
            let index = queue.index;
            self.forget(index);
        }
    }

    fn forget(&mut self, index: u32) {
        if let Ok(at) = self.used.binary_search_by_key(&index, |queue| queue.index)
            && self.used[at].is_unused()
        {
            self.used.remove(at);
        }
        if self.used.is_empty() {
            self.progress = 0.0;
        }
    }

    fn observe(&mut self, now: Instant) {
        self.demand.set(f64::from(self.seats + self.waiting_seats), now);
    }

    /// Lets the time pass since the last call, in which nothing was begun or finished.
    fn sync(&mut self, now: Instant) {
        while let Some(Reverse(first)) = self.lingering.peek() {
            if first.until > now {
                break;
            }
            self.advance(first.until);
            if let Some(Reverse(held)) = self.lingering.pop() {
                self.release(&held, now);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.synced).as_secs_f64();
        self.synced = self.synced.max(now);
        let active = self.used.iter().filter(|queue| queue.is_active()).count();
        if active > 0 {
            let wanted: u32 = self.used.iter().map(|queue| queue.seats).sum::<u32>() + self.waiting_seats;
            self.progress += f64::from(wanted.min(self.limit)) * passed / active as f64;
        }
    }
}

impl Queue {
    fn new(index: u32, next: f64) -> Self {
        Self { index, waiting: VecDeque::new(), waiting_work: 0.0, executing: 0, seats: 0, next }
    }

    fn is_active(&self) -> bool {
        !self.waiting.is_empty() || self.executing > 0
    }

    fn is_unused(&self) -> bool {
        !self.is_active() && self.seats == 0
    }

    /// Nothing is begun before it has arrived: what a queue did not use is not saved up.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.next = self.next.max(first.arrived);
        }
    }
}

#[cfg(test)]
mod tests;
