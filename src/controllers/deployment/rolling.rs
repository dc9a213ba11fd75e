//! The arithmetic of a rolling update: how many pods each ReplicaSet of a Deployment should have
//! next, so that never fewer than `replicas - maxUnavailable` are available and never more than
//! `replicas + maxSurge` exist. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A ReplicaSet's part in the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Name.
    pub name: String,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// The Deployment's most pods when this set was last scaled (`deployment.kubernetes.io/max-replicas`).
    pub max_replicas: Option<i32>,
}

/// How far a rolling update may go in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pods the Deployment wants.
    pub replicas: i32,
    /// Pods it may have beyond that.
    pub surge: i32,
    /// Pods it may lack.
    pub unavailable: i32,
}

impl Bounds {
    /// Bounds from the strategy's values, percentages being of `replicas`: surge is rounded up,
    /// unavailability down; both zero would never get anywhere, so one may then be unavailable.
    pub fn new(replicas: i32, surge: Option<&IntOrString>, unavailable: Option<&IntOrString>) -> Self {
        let quarter = IntOrString::String("25%".into());
        let surge = scaled(surge.unwrap_or(&quarter), replicas, true);
        let unavailable = scaled(unavailable.unwrap_or(&quarter), replicas, false);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { replicas, surge, unavailable: unavailable.min(replicas) }
    }

    /// The most pods there may be.
    pub const fn most(&self) -> i32 {
        if self.replicas == 0 { 0 } else { self.replicas + self.surge }
    }

    /// The fewest that must be available.
    pub const fn fewest_available(&self) -> i32 {
        self.replicas - self.unavailable
    }
}

fn scaled(value: &IntOrString, of: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent * i64::from(of);
            let result = if round_up { (product + 99) / 100 } else { product / 100 };
            i32::try_from(result).unwrap_or(i32::MAX)
        }
    }
}

/// How many pods the new set should have: as many as fit under the surge.
pub fn new_size(bounds: &Bounds, new: i32, old_total: i32) -> i32 {
    if new >= bounds.replicas {
        return bounds.replicas;
    }
    let room = (bounds.replicas + bounds.surge) - (new + old_total);
    new + room.max(0).min(bounds.replicas - new)
}

/// How many pods each old set should have, oldest first in `old`: those that are not available go
/// first, then as many as availability allows.
pub fn old_sizes(bounds: &Bounds, new: &Share, old: &[Share]) -> BTreeMap<String, i32> {
    let mut sizes: BTreeMap<String, i32> = old.iter().map(|share| (share.name.clone(), share.replicas)).collect();
    let total: i32 = new.replicas + old.iter().map(|share| share.replicas).sum::<i32>();
    let new_unavailable = new.replicas - new.available;
    let mut spare = total - bounds.fewest_available() - new_unavailable;
    for share in old {
        let unhealthy = (share.replicas - share.available).clamp(0, spare.max(0));
        reduce(&mut sizes, &share.name, unhealthy);
        spare -= unhealthy;
    }
    let available: i32 = new.available + old.iter().map(|share| share.available).sum::<i32>();
    let mut spare = available - bounds.fewest_available();
    if total - bounds.fewest_available() - new_unavailable <= 0 {
        return sizes;
    }
    for share in old {
        let left = sizes.get(&share.name).copied().unwrap_or(0);
        let healthy = left.clamp(0, spare.max(0));
        reduce(&mut sizes, &share.name, healthy);
        spare -= healthy;
    }
    sizes
}

fn reduce(sizes: &mut BTreeMap<String, i32>, name: &str, by: i32) {
    if let Some(size) = sizes.get_mut(name) {
        *size -= by;
    }
}

/// New sizes when a Deployment is scaled in the middle of a rollout: the difference is spread over
/// its sets in proportion to their sizes, the largest first, so that the risk stays what it was.
pub fn proportional_sizes(bounds: &Bounds, shares: &[Share]) -> BTreeMap<String, i32> {
    let total: i32 = shares.iter().map(|share| share.replicas).sum();
    let to_add = if bounds.replicas > 0 { bounds.most() - total } else { -total };
    let mut order: Vec<&Share> = shares.iter().collect();
    order.sort_by_key(|share| std::cmp::Reverse(share.replicas));
    let mut sizes = BTreeMap::new();
    let mut added = 0;
    for share in &order {
        let part = if to_add == 0 || total == 0 { 0 } else { proportion(share, bounds, to_add, added) };
        sizes.insert(share.name.clone(), (share.replicas + part).max(0));
        added += part;
    }
    // What rounding has left over goes to the largest.
    if let Some(first) = order.first() {
        let size = sizes.entry(first.name.clone()).or_insert(0);
        *size = (*size + to_add - added).max(0);
    }
    sizes
}

fn proportion(share: &Share, bounds: &Bounds, to_add: i32, added: i32) -> i32 {
    let allowed = to_add - added;
    let before = share.max_replicas.unwrap_or(share.replicas).max(1);
    let ideal = f64::from(share.replicas) * f64::from(bounds.most()) / f64::from(before);
    #[expect(clippy::cast_possible_truncation, reason = "replica counts fit 32 bits")]
    let part = ideal.round() as i32 - share.replicas;
    if to_add > 0 { part.min(allowed) } else { part.max(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(name: &str, replicas: i32, available: i32) -> Share {
        Share { name: name.into(), replicas, available, max_replicas: None }
    }

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.into())
    }

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        let bounds = Bounds::new(3, Some(&percent("25%")), Some(&percent("25%")));
        assert_eq!(bounds, Bounds { replicas: 3, surge: 1, unavailable: 0 });
    }

    #[test]
    fn two_zeroes_still_make_progress() {
        assert_eq!(Bounds::new(3, Some(&IntOrString::Int(0)), Some(&IntOrString::Int(0))).unavailable, 1);
    }

    #[test]
    fn a_rollout_never_breaks_its_bounds_and_ends() {
        let bounds = Bounds::new(10, Some(&percent("30%")), Some(&percent("20%")));
        let (mut new, mut old) = (share("new", 0, 0), share("old", 10, 10));
        for step in 0.. {
            assert!(step < 50, "the rollout does not end: {new:?} {old:?}");
            new.replicas = new_size(&bounds, new.replicas, old.replicas);
            old.replicas = old_sizes(&bounds, &new, std::slice::from_ref(&old))["old"];
            old.available = old.available.min(old.replicas);
            assert!(new.replicas + old.replicas <= bounds.most());
            assert!(new.available + old.available >= bounds.fewest_available());
            if (new.available, old.replicas) == (10, 0) {
                break;
            }
            new.available = (new.available + 1).min(new.replicas);
        }
    }

    #[test]
    fn unhealthy_old_pods_go_first() {
        let bounds = Bounds { replicas: 4, surge: 0, unavailable: 1 };
        let sizes = old_sizes(&bounds, &share("new", 0, 0), &[share("a", 2, 2), share("b", 2, 1)]);
        assert_eq!((sizes["a"], sizes["b"]), (2, 1));
    }

    #[test]
    fn scaling_in_a_rollout_is_proportional() {
        let bounds = Bounds { replicas: 20, surge: 0, unavailable: 1 };
        let mut shares = [share("old", 8, 8), share("new", 2, 2)];
        for share in &mut shares {
            share.max_replicas = Some(10);
        }
        let sizes = proportional_sizes(&bounds, &shares);
        assert_eq!((sizes["old"], sizes["new"]), (16, 4));
    }
}
