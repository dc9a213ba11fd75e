//! Exponential back-off: how long to wait before the next try.

use std::time::Duration;

/// Doubles from a first delay up to a limit. `reset` starts over after a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits `first` after the first failure and never more than `limit`.
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, failures: 0 }
    }

    /// The delay before the next try; each call counts as one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.first.saturating_mul(2u32.saturating_pow(self.failures)).min(self.limit);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Like [`Backoff::next_delay`] with up to a quarter added at random, for many clients that
    /// would otherwise all return at the same moment.
    pub fn next_delay_jittered(&mut self) -> Duration {
        self.next_delay().mul_f64(1.0 + rand::random::<f64>() / 4.0)
    }

    /// Forgets all failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often [`Backoff::next_delay`] was called since the last reset.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_limit_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        let delays: Vec<u64> = (0..7).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.next_delay().as_secs(), 10);
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        for _ in 0..200 {
            backoff.next_delay();
        }
    }
}
