//! The work queue of a reconciler: each key at most once in line and never worked on twice at the
//! same time; a key that failed comes back later and later.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt::Display,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::base::log::chain;

/// Delay before the first retry of a key.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Longest delay before a retry.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// What a reconciler wants next for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing until somebody adds the key again.
    Done,
    /// Another look after this time.
    After(Duration),
}

/// A queue of keys. Cheap to clone.
pub struct WorkQueue<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    line: VecDeque<T>,
    waiting: HashSet<T>,
    working: HashSet<T>,
    /// Keys that wait for a time, and, by key, where in there they are: each has one place.
    delayed: BTreeMap<(Instant, u64), T>,
    places: HashMap<T, (Instant, u64)>,
    next_ticket: u64,
    failures: HashMap<T, u32>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T: Clone + Eq + Hash + Display> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash + Display> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            line: VecDeque::new(),
            waiting: HashSet::new(),
            working: HashSet::new(),
            delayed: BTreeMap::new(),
            places: HashMap::new(),
            next_ticket: 0,
            failures: HashMap::new(),
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Puts `key` in line, unless it is there. A key that is being worked on gets in line again
    /// when that work ends.
    pub fn add(&self, key: T) {
        self.inner.state.lock().enqueue(key);
        self.inner.changed.notify_one();
    }

    /// Puts `key` in line after `delay`, or when an earlier delay of it ends.
    pub fn add_after(&self, key: T, delay: Duration) {
        self.inner.state.lock().postpone(key, Instant::now() + delay);
        self.inner.changed.notify_one();
    }

    /// Works on keys forever, at most `width` at once, all on the calling task. An error is logged
    /// with `name` and retried with back-off.
    pub async fn run<F, R, E>(&self, name: &'static str, width: usize, reconcile: F)
    where
        F: Fn(T) -> R,
        R: Future<Output = Result<Outcome, E>>,
        E: std::error::Error,
    {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < width
                && let Some(key) = self.take()
            {
                let work = reconcile(key.clone());
                running.push(async move { (key, work.await) });
            }
            tokio::select! {
                Some((key, result)) = running.next(), if !running.is_empty() => self.finish(name, key, result),
                () = self.next_change(), if running.len() < width => {}
            }
        }
    }

    /// Resolves when a key may have become ready: something was added, or a delay has passed.
    async fn next_change(&self) {
        let next = self.inner.state.lock().delayed.keys().next().map(|(at, _)| *at);
        match next {
            Some(at) => {
                let _ = tokio::time::timeout_at(at, self.inner.changed.notified()).await;
            }
            None => self.inner.changed.notified().await,
        }
    }

    fn take(&self) -> Option<T> {
        let mut state = self.inner.state.lock();
        state.promote(Instant::now());
        let key = state.line.pop_front()?;
        state.waiting.remove(&key);
        state.working.insert(key.clone());
        Some(key)
    }

    fn finish<E: std::error::Error>(&self, name: &'static str, key: T, result: Result<Outcome, E>) {
        let retry = {
            let mut state = self.inner.state.lock();
            state.working.remove(&key);
            if state.waiting.contains(&key) {
                state.line.push_back(key.clone());
            }
            match &result {
                Ok(outcome) => {
                    state.failures.remove(&key);
                    match outcome {
                        Outcome::Done => None,
                        Outcome::After(delay) => Some(*delay),
                    }
                }
                Err(_) => {
                    let failures = state.failures.entry(key.clone()).or_insert(0);
                    let delay = FIRST_RETRY.saturating_mul(2u32.saturating_pow(*failures)).min(LAST_RETRY);
                    *failures = failures.saturating_add(1);
                    Some(delay)
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(queue = name, key = %key, error = chain(&error), "will be tried again");
        }
        if let Some(delay) = retry {
            self.add_after(key, delay);
        }
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn enqueue(&mut self, key: T) {
        if self.waiting.insert(key.clone()) && !self.working.contains(&key) {
            self.line.push_back(key);
        }
    }

    fn postpone(&mut self, key: T, at: Instant) {
        if let Some(place) = self.places.get(&key).copied() {
            if place.0 <= at {
                return;
            }
            self.delayed.remove(&place);
        }
        let place = (at, self.next_ticket);
        self.next_ticket += 1;
        self.places.insert(key.clone(), place);
        self.delayed.insert(place, key);
    }

    /// Moves keys whose delay has passed into the line.
    fn promote(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            self.places.remove(&key);
            self.enqueue(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Runs `queue` for a virtual minute and returns the keys in the order they were worked on.
    async fn worked<E: std::error::Error>(
        queue: &WorkQueue<&'static str>,
        result: impl Fn(&str, usize) -> Result<Outcome, E>,
    ) -> Vec<&'static str> {
        let seen = Mutex::new(Vec::new());
        let run = queue.run("test", 2, |key| {
            let mut seen = seen.lock();
            seen.push(key);
            let result = result(key, seen.len());
            async move { result }
        });
        let _ = tokio::time::timeout(Duration::from_secs(60), run).await;
        seen.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_is_worked_on_once() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(worked(&queue, |_, _| Ok::<_, Infallible>(Outcome::Done)).await, ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn requeues_a_key_that_failed_with_backoff() {
        let queue = WorkQueue::new();
        queue.add("a");
        let seen = worked(&queue, |_, tries| if tries < 4 { Err(std::fmt::Error) } else { Ok(Outcome::Done) }).await;
        assert_eq!(seen.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn looks_again_after_the_time_asked_for() {
        let queue = WorkQueue::new();
        queue.add("a");
        let again = |_: &str, _| Ok::<_, Infallible>(Outcome::After(Duration::from_secs(25)));
        assert_eq!(worked(&queue, again).await.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_for_one_time_only_the_earliest() {
        let queue = WorkQueue::new();
        for seconds in [30, 10, 20] {
            queue.add_after("a", Duration::from_secs(seconds));
        }
        assert_eq!(queue.inner.state.lock().delayed.len(), 1);
        let started = Instant::now();
        let done = |_: &str, _| {
            assert_eq!(started.elapsed().as_secs(), 10);
            Ok::<_, Infallible>(Outcome::Done)
        };
        assert_eq!(worked(&queue, done).await, ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_it_is_worked_on_comes_again_afterwards() {
        let queue = WorkQueue::new();
        queue.add("a");
        let adding = queue.clone();
        let seen = worked(&queue, move |key, tries| {
            if tries == 1 {
                adding.add(if key == "a" { "a" } else { "b" });
            }
            Ok::<_, Infallible>(Outcome::Done)
        })
        .await;
        assert_eq!(seen, ["a", "a"]);
    }
}
