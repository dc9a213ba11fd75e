//! The order of API versions: stable before beta before alpha, newer first, all others by name
//! (API concepts, "Version priority").

use std::cmp::Ordering;

/// Compares two versions; the one that is preferred is less.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Stability {
    Alpha(u64),
    Beta(u64),
    Stable,
}

/// `v2beta1`: stability counts before the major version.
fn parse(version: &str) -> Option<(u8, u64, Stability)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..digits].parse().ok()?;
    let (rank, stability) = match &rest[digits..] {
        "" => (2, Stability::Stable),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (1, Stability::Beta(minor.parse().ok()?)),
            (_, Some(minor)) => (0, Stability::Alpha(minor.parse().ok()?)),
            _ => return None,
        },
    };
    Some((rank, major, stability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_and_newer_versions_come_first() {
        let mut versions = ["foo10", "v1alpha1", "v11beta2", "v2", "foo1", "v12alpha1", "v10", "v3beta1", "v11alpha2"];
        versions.sort_by(|a, b| compare(a, b));
        let wanted = ["v10", "v2", "v11beta2", "v3beta1", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10"];
        assert_eq!(versions, wanted);
    }
}
