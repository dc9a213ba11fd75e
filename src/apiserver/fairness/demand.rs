//! How many seats a level was asked for, over time: the average of a period and how far it strayed
//! from it, and from one period to the next an envelope of that which rises at once and sinks slowly.

use std::time::Duration;

use tokio::time::Instant;

/// What remains of the smoothed demand after [`PERIOD`]: half of it after five minutes.
const SMOOTHING: f64 = 0.977;
/// The time that [`SMOOTHING`] is for.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Integrates a quantity over time.
#[derive(Debug)]
pub struct Integrator {
    now: Instant,
    value: f64,
    seconds: f64,
    sum: f64,
    squares: f64,
    highest: f64,
}

/// What was observed in a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Its length.
    pub seconds: f64,
    /// Average over time.
    pub average: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Highest value.
    pub highest: f64,
}

/// Demand over the periods until now.
#[derive(Debug, Default)]
pub struct Demand {
    /// The highest of the last period.
    pub highest: f64,
    /// The envelope.
    pub smoothed: f64,
}

impl Integrator {
    /// Begins with nothing.
    pub fn new(now: Instant) -> Self {
        Self { now, value: 0.0, seconds: 0.0, sum: 0.0, squares: 0.0, highest: 0.0 }
    }

    /// The quantity is `value` from now on.
    pub fn set(&mut self, value: f64, now: Instant) {
        self.advance(now);
        self.value = value;
        self.highest = self.highest.max(value);
    }

    /// What was observed since the last time, and begins anew.
    pub fn take(&mut self, now: Instant) -> Observed {
        self.advance(now);
        let (seconds, highest) = (self.seconds, self.highest);
        let average = if seconds > 0.0 { self.sum / seconds } else { 0.0 };
        let variance = if seconds > 0.0 { self.squares / seconds - average * average } else { 0.0 };
        (self.seconds, self.sum, self.squares, self.highest) = (0.0, 0.0, 0.0, self.value);
        Observed { seconds, average, deviation: variance.max(0.0).sqrt(), highest }
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.now).as_secs_f64();
        self.now = self.now.max(now);
        self.seconds += passed;
        self.sum += self.value * passed;
        self.squares += self.value * self.value * passed;
    }
}

impl Demand {
    /// Takes in a period. Quiet times are not observed on their own, so a period may be long.
    pub fn update(&mut self, observed: Observed) {
        self.highest = observed.highest;
        if observed.seconds <= 0.0 {
            return;
        }
        let envelope = observed.average + observed.deviation;
        let kept = SMOOTHING.powf(observed.seconds / PERIOD.as_secs_f64());
        self.smoothed = envelope.max(kept * self.smoothed + (1.0 - kept) * envelope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_count_as_long_as_they_last() {
        let start = Instant::now();
        let mut integrator = Integrator::new(start);
        integrator.set(4.0, start + Duration::from_secs(2));
        integrator.set(0.0, start + Duration::from_secs(4));
        let observed = integrator.take(start + Duration::from_secs(4));
        assert_eq!(observed, Observed { seconds: 4.0, average: 2.0, deviation: 2.0, highest: 4.0 });
        assert_eq!(integrator.take(start + Duration::from_secs(5)).highest, 0.0);
    }

    #[test]
    fn demand_rises_at_once_and_sinks_to_half_in_five_minutes() {
        let observed = |average, seconds| Observed { seconds, average, deviation: 0.0, highest: average };
        let mut demand = Demand::default();
        demand.update(observed(100.0, 10.0));
        assert_eq!(demand.smoothed, 100.0);
        for _ in 0..30 {
            demand.update(observed(0.0, 10.0));
        }
        assert!((demand.smoothed - 50.0).abs() < 1.0, "{demand:?}");
        let mut slept = Demand { smoothed: 100.0, ..Demand::default() };
        slept.update(observed(0.0, 300.0));
        assert!((slept.smoothed - demand.smoothed).abs() < 0.001, "{slept:?}");
    }
}
