//! Numbers, percentages and quantities.

use super::{between, pattern};

/// Upstream's message for a number below zero.
pub const NEGATIVE: &str = "must be greater than or equal to 0";
/// Upstream's message for a number below one.
pub const NOT_POSITIVE: &str = "must be greater than 0";

/// A number that may be zero.
pub fn non_negative(number: i64) -> Vec<String> {
    if number < 0 { vec![NEGATIVE.into()] } else { Vec::new() }
}

/// A number of at least one.
pub fn positive(number: i64) -> Vec<String> {
    if number <= 0 { vec![NOT_POSITIVE.into()] } else { Vec::new() }
}

/// A number within bounds, both included.
pub fn in_range(number: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&number) { Vec::new() } else { vec![between(low, high)] }
}

/// A user or group ID.
pub fn user_id(number: i64) -> Vec<String> {
    in_range(number, 0, i64::from(i32::MAX))
}

/// `10%`
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern(message, "[0-9]+%", &["1%", "93%"])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_include_their_ends() {
        assert!(non_negative(0).is_empty() && positive(1).is_empty() && user_id(0).is_empty());
        assert_eq!(non_negative(-1), [NEGATIVE]);
        assert_eq!(in_range(9, 1, 8), ["must be between 1 and 8, inclusive"]);
    }

    #[test]
    fn percentages_end_in_a_sign() {
        assert!(percent("25%").is_empty());
        assert_eq!(percent("25").len(), 1);
        assert_eq!(percent("%").len(), 1);
    }
}
