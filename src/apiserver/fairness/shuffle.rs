//! Shuffle sharding: which few of a level's queues a flow may use. Two flows seldom have the same
//! hand, so a flow that fills all of its queues leaves others at least one of theirs.

/// Most queues that a flow may use: more would need more bits than a hash has to spare.
pub const HAND_LIMIT: usize = 15;

/// Different queues, in the order in which they were dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hand {
    cards: [u32; HAND_LIMIT],
    size: usize,
}

impl Hand {
    /// The queues.
    pub fn cards(&self) -> &[u32] {
        &self.cards[..self.size]
    }
}

/// Deals `size` different numbers below `deck` as `hash` decides, all hands being equally likely.
pub fn deal(hash: u64, deck: u32, size: usize) -> Hand {
    let size = size.clamp(1, HAND_LIMIT.min(deck.max(1) as usize));
    let mut hand = Hand { cards: [0; HAND_LIMIT], size };
    let mut rest = hash;
    let mut taken = [0; HAND_LIMIT];
    for dealt in 0..size {
        let left = u64::from(deck.max(1)) - dealt as u64;
        let mut card = u32::try_from(rest % left).unwrap_or_default();
        rest /= left;
        // The card is one of those that are left: step over those that are gone, lowest first.
        for gone in &taken[..dealt] {
            if card >= *gone {
                card += 1;
            }
        }
        hand.cards[dealt] = card;
        let at = taken[..dealt].partition_point(|gone| *gone < card);
        taken.copy_within(at..dealt, at + 1);
        taken[at] = card;
    }
    hand
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_hand_is_of_different_cards_of_the_deck() {
        for hash in [0, 1, 7, 12_345_678_901, u64::MAX] {
            for (deck, size) in [(1, 1), (2, 2), (15, 15), (64, 6), (128, 6), (3, 8)] {
                let hand = deal(hash, deck, size);
                let distinct: BTreeSet<u32> = hand.cards().iter().copied().collect();
                assert_eq!(distinct.len(), size.min(deck as usize), "{hand:?}");
                assert!(distinct.iter().all(|card| *card < deck), "{hand:?}");
            }
        }
    }

    #[test]
    fn all_hands_are_dealt_equally_often() {
        let mut seen = std::collections::BTreeMap::new();
        for hash in 0..60 {
            *seen.entry(deal(hash, 5, 3).cards().to_vec()).or_insert(0) += 1;
        }
        assert_eq!((seen.len(), seen.values().all(|count| *count == 1)), (60, true));
    }
}
