//! Pods that wait for a node: those to be tried now, by priority and then by age, and those that
//! fitted nowhere, until something in the cluster changes that may help them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{base::backoff::Backoff, client::ObjectKey, scheduler::pod::PodInfo};

/// First delay of a pod that fitted nowhere before it is tried again.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest such delay.
const LAST_DELAY: Duration = Duration::from_secs(10);

/// Order of pods to be tried: highest priority first, then the one that has waited longest.
type Rank = (std::cmp::Reverse<i32>, u64);

struct Waiting {
    pod: Arc<PodInfo>,
    /// Place in line; `None` while the pod is parked.
    rank: Option<Rank>,
    /// Being tried right now: neither in line nor parked.
    in_flight: bool,
    /// Not tried before.
    not_before: Instant,
    backoff: Backoff,
}

impl Waiting {
    fn is_parked(&self) -> bool {
        self.rank.is_none() && !self.in_flight
    }
}

/// The queue. All methods are quick; the caller holds the lock.
#[derive(Default)]
pub struct Queue {
    waiting: HashMap<ObjectKey, Waiting>,
    line: BTreeMap<Rank, ObjectKey>,
    next: u64,
    moves: u64,
}

impl Queue {
    /// Puts `pod` in line, or takes in its new version; a change of the pod may make it fit.
    pub fn add(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let key = pod.key.clone();
        if let Some(waiting) = self.waiting.get_mut(&key) {
            let changed = waiting.pod.pod.spec != pod.pod.spec;
            waiting.pod = pod;
            if changed && waiting.is_parked() {
                waiting.not_before = now;
                self.line_up(&key);
            }
            return;
        }
        let backoff = Backoff::new(FIRST_DELAY, LAST_DELAY);
        self.waiting.insert(key.clone(), Waiting { pod, rank: None, in_flight: false, not_before: now, backoff });
        self.line_up(&key);
    }

    /// Forgets a pod: it was bound or deleted.
    pub fn remove(&mut self, key: &ObjectKey) {
        if let Some(rank) = self.waiting.remove(key).and_then(|waiting| waiting.rank) {
            self.line.remove(&rank);
        }
    }

    /// The next pod to try, and the mark to give back to [`Queue::park`]. The pod stays known.
    pub fn pop(&mut self, now: Instant) -> Option<(Arc<PodInfo>, u64)> {
        let key = self.line.values().find(|key| self.waiting[*key].not_before <= now)?.clone();
        let waiting = self.waiting.get_mut(&key)?;
        if let Some(rank) = waiting.rank.take() {
            self.line.remove(&rank);
        }
        waiting.in_flight = true;
        Some((waiting.pod.clone(), self.moves))
    }

    /// Sets aside a pod that could not be placed. If the cluster has changed since `mark`, or
    /// `retry` is wanted in any case, it is tried again once its delay is over.
    pub fn park(&mut self, key: &ObjectKey, mark: u64, retry: bool, now: Instant) {
        let moved = self.moves != mark;
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        waiting.in_flight = false;
        waiting.not_before = now + waiting.backoff.next_delay();
        if moved || retry {
            self.line_up(key);
        }
    }

    /// Something changed that may help pods that fitted nowhere: all are tried again.
    pub fn nudge(&mut self) {
        self.moves += 1;
        let parked: Vec<ObjectKey> =
            self.waiting.iter().filter(|(_, waiting)| waiting.is_parked()).map(|(key, _)| key.clone()).collect();
        for key in parked {
            self.line_up(&key);
        }
    }

    /// When the first pod in line may be tried.
    pub fn next_at(&self) -> Option<Instant> {
        self.line.values().map(|key| self.waiting[key].not_before).min()
    }

    fn line_up(&mut self, key: &ObjectKey) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        if waiting.rank.is_none() {
            let rank = (std::cmp::Reverse(waiting.pod.priority), self.next);
            self.next += 1;
            waiting.rank = Some(rank);
            self.line.insert(rank, key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
        let pod = serde_json::json!({"metadata": {"namespace": "d", "name": name}, "spec": {"containers": [], "priority": priority}});
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
    }

    fn pop(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.pop(now).map(|(pod, _)| pod.key.name.clone())
    }

    #[test]
    fn the_highest_priority_comes_first_then_the_oldest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0)] {
            queue.add(pod(name, priority), now);
        }
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue, now)).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn a_parked_pod_returns_after_a_change_and_its_delay() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(pod("a", 0), now);
        let (info, mark) = queue.pop(now).unwrap();
        queue.park(&info.key, mark, false, now);
        assert_eq!(pop(&mut queue, now + LAST_DELAY), None);
        queue.nudge();
        assert_eq!(pop(&mut queue, now), None);
        assert_eq!(pop(&mut queue, now + FIRST_DELAY).as_deref(), Some("a"));
    }

    #[test]
    fn a_change_while_a_pod_is_tried_is_not_missed() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(pod("a", 0), now);
        let (info, mark) = queue.pop(now).unwrap();
        queue.nudge();
        queue.park(&info.key, mark, false, now);
        assert_eq!(pop(&mut queue, now + FIRST_DELAY).as_deref(), Some("a"));
    }
}
