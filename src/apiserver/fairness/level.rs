//! A priority level: so many seats, and who has them. Requests of one level never take those of
//! another, except what is lent.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    demand::Demand,
    queues::{self, Decision, Discipline, Execution, Place, Queues, Refusal, Work},
    retry::Refusals,
};

/// A level and the requests in it.
pub struct Level {
    /// Name of its configuration.
    pub name: Box<str>,
    queues: Mutex<Queues>,
    made_at: Instant,
    refusals: Mutex<Refusals>,
    share: Mutex<Share>,
    /// Told when somebody waits for seats that will be given back in a moment.
    lingering: Arc<Notify>,
}

/// Seats of a level.
#[derive(Debug, Default)]
pub struct Share {
    /// What it has by its configuration.
    pub nominal: u32,
    /// What it never lends.
    pub least: u32,
    /// What it has if it borrows all it may.
    pub most: u32,
    /// What it has at the moment.
    pub current: u32,
    /// What it was asked for of late.
    pub demand: Demand,
}

/// A row of the dump of levels.
pub struct Row {
    /// Queues in which something waits.
    pub active: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that are served.
    pub executing: usize,
    /// What has happened.
    pub totals: queues::Totals,
}

impl Level {
    /// A level without seats yet.
    pub fn new(name: &str, discipline: Discipline, lingering: Arc<Notify>) -> Self {
        let now = Instant::now();
        Self {
            name: name.into(),
            made_at: now,
            queues: Mutex::new(Queues::new(discipline, 0, now)),
            refusals: Mutex::default(),
            share: Mutex::default(),
            lingering,
        }
    }

    /// Waits for seats, at most until `until`. `waits` hears where, if they are not there at once.
    pub async fn admit(
        &self,
        work: Work,
        hash: u64,
        until: Instant,
        waits: impl FnOnce(Place),
    ) -> Result<Execution, Refusal> {
        let decision = {
            let mut queues = self.queues.lock();
            let decision = queues.start(work, hash, Instant::now());
            self.expect_release(&queues);
            decision
        };
        match decision {
            Decision::Serve(execution) => Ok(execution),
            Decision::Refuse(refusal) => Err(refusal),
            Decision::Wait(place, turn) => {
                waits(place);
                Waiting { level: self, place, turn, open: true }.wait(until).await
            }
        }
    }

    /// Gives seats back.
    pub fn finish(&self, execution: &Execution) {
        let mut queues = self.queues.lock();
        queues.finish(execution, Instant::now());
        self.expect_release(&queues);
    }

    /// For how many seconds a client that is refused should stay away.
    pub fn retry_after(&self) -> u32 {
        self.refusals.lock().refuse(self.made_at.elapsed().as_secs())
    }

    /// Changes what is done with requests beyond the seats.
    pub fn configure(&self, discipline: Discipline) {
        self.queues.lock().configure(discipline, Instant::now());
    }

    /// Changes how many seats there are.
    pub fn resize(&self, seats: u32) {
        self.queues.lock().resize(seats, Instant::now());
    }

    /// Its seats. Never locked while a request is dealt with.
    pub fn share(&self) -> parking_lot::MutexGuard<'_, Share> {
        self.share.lock()
    }

    /// Takes in what it was asked for since the last time.
    pub fn observe(&self) {
        let observed = self.queues.lock().take_demand(Instant::now());
        self.share.lock().demand.update(observed);
    }

    /// Whether it has no requests.
    pub fn is_idle(&self) -> bool {
        self.queues.lock().is_idle()
    }

    /// Gives back what is due; when the next is, if somebody waits for it.
    pub fn tick(&self) -> Option<Instant> {
        let mut queues = self.queues.lock();
        queues.tick(Instant::now());
        queues.next_release()
    }

    /// What there is to tell.
    pub fn row(&self) -> Row {
        let queues = self.queues.lock();
        let (waiting, executing) = queues.counts();
        Row { active: queues.active(), waiting, executing, totals: queues.totals }
    }

    /// What there is to tell of its queues.
    pub fn queues(&self) -> Vec<queues::Row> {
        self.queues.lock().rows(Instant::now())
    }

    /// How many are before a request in its queue, if it waits there.
    pub fn position(&self, place: Place) -> Option<usize> {
        self.queues.lock().position(place)
    }

    fn expect_release(&self, queues: &Queues) {
        if queues.next_release().is_some() {
            self.lingering.notify_one();
        }
    }
}

/// A request in a queue. Leaves it when its client does.
struct Waiting<'a> {
    level: &'a Level,
    place: Place,
    turn: oneshot::Receiver<Execution>,
    open: bool,
}

impl Waiting<'_> {
    async fn wait(mut self, until: Instant) -> Result<Execution, Refusal> {
        match tokio::time::timeout_at(until, &mut self.turn).await {
            Ok(Ok(execution)) => {
                self.open = false;
                Ok(execution)
            }
            _ => self.leave(Refusal::TimedOut).ok_or(Refusal::TimedOut),
        }
    }

    /// Its turn, should it have come at the last moment.
    fn leave(&mut self, why: Refusal) -> Option<Execution> {
        self.open = false;
        // Under the lock, a request either waits or has been sent for.
        let mut queues = self.level.queues.lock();
        if queues.leave(self.place, why, Instant::now()) { None } else { self.turn.try_recv().ok() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.open
            && let Some(execution) = self.leave(Refusal::Cancelled)
        {
            self.level.finish(&execution);
        }
    }
}

/// Longest that a request waits in a queue.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn level(seats: u32) -> Level {
        let queue = Discipline::Queue { queues: 4, hand: 1, length: 10 };
        let level = Level::new("l", queue, Arc::default());
        level.resize(seats);
        level
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_too_long_is_refused() {
        let level = level(1);
        let until = || Instant::now() + Duration::from_secs(1);
        let first = level.admit(Work::ONE, 0, until(), drop).await.unwrap();
        assert_eq!(level.admit(Work::ONE, 0, until(), drop).await.unwrap_err(), Refusal::TimedOut);
        level.finish(&first);
        level.admit(Work::ONE, 0, until(), drop).await.unwrap();
        assert_eq!(level.row().totals.timed_out, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_leaves_the_queue() {
        let level = level(1);
        let until = Instant::now() + Duration::from_secs(60);
        let first = level.admit(Work::ONE, 0, until, drop).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_millis(5), level.admit(Work::ONE, 0, until, drop)).await;
        assert!(gone.is_err() && level.row().waiting == 0);
        // It goes after it has been sent for, and before it has heard of it.
        let mut late = Box::pin(level.admit(Work::ONE, 0, until, drop));
        assert!(futures_util::poll!(&mut late).is_pending());
        level.finish(&first);
        drop(late);
        assert!(level.is_idle());
    }
}
