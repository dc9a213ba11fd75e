//! When refused clients should come back: the longer a level goes on refusing, the later.

use std::collections::VecDeque;

/// Longest time that clients are asked to wait, in seconds.
const LONGEST_SECONDS: u64 = 32;

/// What a level has refused of late.
#[derive(Debug)]
pub struct Refusals {
    /// Refusals by the second in which they happened, the current one last.
    seconds: VecDeque<(u64, u64)>,
    after: u64,
    raised_at: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { seconds: VecDeque::new(), after: 1, raised_at: 0 }
    }
}

impl Refusals {
    /// Notes a refusal at `second`, and returns for how many seconds the client should stay away.
    pub fn refuse(&mut self, second: u64) -> u32 {
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => {
                self.adjust(second);
                self.seconds.push_back((second, 1));
            }
        }
        u32::try_from(self.after).unwrap_or(u32::MAX)
    }

    /// Doubles the time while three are refused in each second of it, and shortens it step by step
    /// when it is less than one.
    fn adjust(&mut self, second: u64) {
        let recent = |(then, _): &(u64, u64), span: u64| second.saturating_sub(*then) <= span;
        while self.seconds.front().is_some_and(|oldest| !recent(oldest, 2 * LONGEST_SECONDS)) {
            self.seconds.pop_front();
        }
        let refused: u64 = self.seconds.iter().filter(|entry| recent(entry, self.after)).map(|(_, count)| count).sum();
        if second.saturating_sub(self.raised_at) >= self.after && refused >= 3 * self.after {
            self.after = (2 * self.after).min(LONGEST_SECONDS);
            self.raised_at = second;
        } else if refused < self.after && self.after > 1 {
            self.after -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_stay_away_longer_the_longer_they_are_refused() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.refuse(100), 1);
        let mut last = 0;
        for second in 100..300 {
            for _ in 0..50 {
                last = refusals.refuse(second);
            }
        }
        assert_eq!(u64::from(last), LONGEST_SECONDS);
        for second in 0..100 {
            last = refusals.refuse(1000 + 100 * second);
        }
        assert_eq!(last, 1);
        assert!(refusals.seconds.len() < 70);
    }
}
