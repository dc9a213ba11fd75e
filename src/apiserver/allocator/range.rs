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

/// Numbers from 0 to below a size, each free or taken.
#[derive(Debug)]
pub struct Range {
    size: u32,
    /// First number of the upper band.
    band: u32,
    /// Numbers that free choice never takes.
    reserved: u32,
    taken: BTreeSet<u32>,
}

impl Range {
    /// A range of addresses; the first is reserved for explicit requests.
    pub fn of_addresses(size: u32) -> Self {
        Self { size, band: (size / 16).clamp(16, 256).min(size), reserved: 1, taken: BTreeSet::new() }
    }

    /// A range of ports.
    pub fn of_ports(size: u32) -> Self {
        Self { size, band: (size / 32).clamp(16, 128).min(size), reserved: 0, taken: BTreeSet::new() }
    }

    /// Takes exactly this number.
    pub fn take(&mut self, number: u32) -> Result<(), Error> {
        if number >= self.size {
            return Err(Error::OutOfRange);
        }
        if self.taken.insert(number) { Ok(()) } else { Err(Error::Taken) }
    }

    /// Takes a free number. `seed` is where the search begins: a random one spreads reuse, so that
    /// clients of a service that is gone do not reach the next one.
    pub fn choose(&mut self, seed: u32) -> Result<u32, Error> {
        let upper = self.free_in(self.band, self.size, seed);
        let number = upper.or_else(|| self.free_in(self.reserved, self.band, seed)).ok_or(Error::Full)?;
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

    fn free_in(&self, low: u32, high: u32, seed: u32) -> Option<u32> {
        let length = high.checked_sub(low).filter(|length| *length > 0)?;
        let start = low + seed % length;
        (start..high).chain(low..start).find(|number| !self.taken.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn free_choice_takes_the_upper_band_first() {
        let mut range = Range::of_addresses(254);
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
        let mut range = Range::of_ports(100);
        assert_eq!(range.take(7), Ok(()));
        assert_eq!(range.take(7), Err(Error::Taken));
        assert_eq!(range.take(100), Err(Error::OutOfRange));
        range.release(7);
        assert_eq!(range.take(7), Ok(()));
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(size in 1u32..400, seeds in proptest::collection::vec(any::<u32>(), 0..500)) {
            let mut range = Range::of_ports(size);
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
