//! A range of numbers of which each is given to one owner. Explicit requests and free choice share
//! it; free choice takes from the upper band first, so that the lower band stays for people who
//! choose their own (KEP-3070 for addresses, KEP-3668 for ports).

use std::collections::BTreeSet;

/// Why a number was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("already allocated")]
    Taken,
    /// The range does not contain it.
    #[error("not in the valid range")]
    OutOfRange,
    /// Nothing is left to choose from.
    #[error("range is full")]
    Full,
}

/// Numbers from 0 to below a size, and which of them free choice prefers.
#[derive(Debug, Clone, Copy)]
pub struct Band {
    size: u32,
    /// First number of the upper band.
    upper: u32,
    /// Numbers that free choice never takes.
    reserved: u32,
}

impl Band {
    /// A range of addresses; the first is reserved for explicit requests.
    pub fn of_addresses(size: u32) -> Self {
        Self { size, upper: (size / 16).clamp(16, 256).min(size), reserved: 1 }
    }

    /// A range of ports.
    pub fn of_ports(size: u32) -> Self {
        Self { size, upper: (size / 32).clamp(16, 128).min(size), reserved: 0 }
    }

    /// Whether the number is one of the range.
    pub fn contains(&self, number: u32) -> bool {
        number < self.size
    }

    /// A number that is not taken. `seed` is where the search begins: a random one spreads reuse, so that
    /// clients of a service that is gone do not reach the next one.
    pub fn choose(&self, seed: u32, is_taken: impl Fn(u32) -> bool) -> Result<u32, Error> {
        let free_in = |low: u32, high: u32| {
            let length = high.checked_sub(low).filter(|length| *length > 0)?;
            let start = low + seed % length;
            (start..high).chain(low..start).find(|number| !is_taken(*number))
        };
        free_in(self.upper, self.size).or_else(|| free_in(self.reserved, self.upper)).ok_or(Error::Full)
    }
}

/// Numbers of which each is free or taken.
#[derive(Debug)]
pub struct Range {
    band: Band,
    taken: BTreeSet<u32>,
}

impl Range {
    /// Nothing is taken.
    pub fn new(band: Band) -> Self {
        Self { band, taken: BTreeSet::new() }
    }

    /// Takes exactly this number.
    pub fn take(&mut self, number: u32) -> Result<(), Error> {
        if !self.band.contains(number) {
            return Err(Error::OutOfRange);
        }
        if self.taken.insert(number) { Ok(()) } else { Err(Error::Taken) }
    }

    /// Takes a free number; see [`Band::choose`].
    pub fn choose(&mut self, seed: u32) -> Result<u32, Error> {
        let number = self.band.choose(seed, |number| self.taken.contains(&number))?;
        self.taken.insert(number);
        Ok(number)
    }

    /// Gives a number back.
    pub fn release(&mut self, number: u32) {
        self.taken.remove(&number);
    }

    /// Gives all numbers back.
    pub fn clear(&mut self) {
        self.taken.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn free_choice_takes_the_upper_band_first() {
        let mut range = Range::new(Band::of_addresses(254));
        for seed in 0..238 {
            assert!(range.choose(seed * 7).unwrap() >= 16);
        }
        for _ in 0..15 {
            assert!((1..16).contains(&range.choose(3).unwrap()));
        }
        assert_eq!(range.choose(0), Err(Error::Full));
        assert_eq!(range.take(0), Ok(()));
    }

    #[test]
    fn a_number_has_one_owner() {
        let mut range = Range::new(Band::of_ports(100));
        assert_eq!(range.take(7), Ok(()));
        assert_eq!(range.take(7), Err(Error::Taken));
        assert_eq!(range.take(100), Err(Error::OutOfRange));
        range.release(7);
        assert_eq!(range.take(7), Ok(()));
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(size in 1u32..400, seeds in proptest::collection::vec(any::<u32>(), 0..500)) {
            let mut range = Range::new(Band::of_ports(size));
            let mut given = BTreeSet::new();
            for seed in seeds {
                match range.choose(seed) {
                    Ok(number) => prop_assert!(number < size && given.insert(number)),
                    Err(error) => prop_assert!(error == Error::Full && given.len() == size as usize),
                }
            }
        }
    }
}
