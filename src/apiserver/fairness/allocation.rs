//! Divides the server's seats among the priority levels: each by its share, and then by what it
//! asks for, within what it may lend and borrow (KEP-1040, "Dispatching").

/// A target of nothing would make every proportion to it meaningless.
const LEAST_TARGET: f64 = 0.001;
/// What sums may be wrong by.
const TOLERANCE: f64 = 1e-6;

/// What one level may get.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// What it asks for.
    pub target: f64,
    /// The least that it must get.
    pub least: f64,
    /// The most that it may get.
    pub most: f64,
}

impl Claim {
    fn at(&self, proportion: f64) -> f64 {
        (proportion * self.target()).clamp(self.least, self.most)
    }

    fn target(&self) -> f64 {
        self.target.max(LEAST_TARGET)
    }
}

/// Gives every claim the same proportion of its target, as far as its bounds allow, so that all of
/// `sum` is given. `None` if the bounds do not allow it.
pub fn divide(sum: f64, claims: &[Claim]) -> Option<Vec<f64>> {
    let all = |proportion: f64| claims.iter().map(|claim| claim.at(proportion)).sum::<f64>();
    // What is given grows with the proportion, and between two of these at a constant rate.
    let mut bends: Vec<f64> =
        claims.iter().flat_map(|claim| [claim.least, claim.most].map(|bound| bound / claim.target())).collect();
    bends.sort_by(f64::total_cmp);
    let above = bends.iter().position(|bend| all(*bend) >= sum - TOLERANCE)?;
    let (low, high) = (bends[above.saturating_sub(1)], bends[above]);
    let (given_low, given_high) = (all(low), all(high));
    if given_low > sum + TOLERANCE {
        return None;
    }
    let step = given_high - given_low;
    let proportion = if step < TOLERANCE { high } else { low + (sum - given_low) / step * (high - low) };
    Some(claims.iter().map(|claim| claim.at(proportion)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(least: f64, target: f64, most: f64) -> Claim {
        Claim { target, least, most }
    }

    fn close(sum: f64, claims: &[Claim], expected: &[f64]) {
        let divided = divide(sum, claims).unwrap();
        let near = divided.iter().zip(expected).all(|(one, other)| (one - other).abs() < 0.01);
        assert!(near && divided.len() == expected.len(), "{divided:?}");
    }

    #[test]
    fn targets_are_met_in_proportion() {
        close(30.0, &[claim(0.0, 10.0, 100.0), claim(0.0, 20.0, 100.0)], &[10.0, 20.0]);
        close(60.0, &[claim(0.0, 10.0, 100.0), claim(0.0, 20.0, 100.0)], &[20.0, 40.0]);
    }

    #[test]
    fn bounds_are_kept_and_others_get_the_rest() {
        close(60.0, &[claim(0.0, 10.0, 12.0), claim(0.0, 20.0, 100.0)], &[12.0, 48.0]);
        close(30.0, &[claim(25.0, 25.0, 100.0), claim(0.0, 50.0, 100.0)], &[25.0, 5.0]);
    }

    #[test]
    fn idle_levels_share_alike() {
        close(10.0, &[claim(1.0, 1.0, 100.0), claim(0.0, 0.0, 100.0)], &[10.0, 0.01]);
    }

    #[test]
    fn what_cannot_be_divided_is_told() {
        assert_eq!(divide(300.0, &[claim(0.0, 1.0, 100.0)]), None);
        assert_eq!(divide(1.0, &[claim(5.0, 5.0, 100.0)]), None);
    }
}
