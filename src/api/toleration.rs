//! Whether a pod tolerates a taint (core/v1 Toleration).

use k8s_openapi::api::core::v1::Toleration;

/// Whether any of a pod's `tolerations` matches the taint.
pub fn any_matches(tolerations: &[Toleration], key: &str, value: &str, effect: &str) -> bool {
    tolerations.iter().any(|toleration| matches(toleration, key, value, effect))
}

/// An empty key with `Exists` matches every taint, an empty effect every effect. `Lt` and `Gt`
/// compare numbers (KEP-5471).
pub fn matches(toleration: &Toleration, key: &str, value: &str, effect: &str) -> bool {
    let wanted_effect = toleration.effect.as_deref().unwrap_or_default();
    let wanted_key = toleration.key.as_deref().unwrap_or_default();
    if !wanted_effect.is_empty() && wanted_effect != effect || !wanted_key.is_empty() && wanted_key != key {
        return false;
    }
    let wanted = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => wanted_key == key && wanted == value,
        Some("Lt") => compare(value, wanted).is_some_and(std::cmp::Ordering::is_lt),
        Some("Gt") => compare(value, wanted).is_some_and(std::cmp::Ordering::is_gt),
        Some(_) => false,
    }
}

fn compare(taint: &str, toleration: &str) -> Option<std::cmp::Ordering> {
    Some(taint.parse::<i64>().ok()?.cmp(&toleration.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(json: serde_json::Value) -> Toleration {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn exists_without_a_key_tolerates_everything() {
        assert!(matches(&toleration(serde_json::json!({"operator": "Exists"})), "a", "b", "NoExecute"));
    }

    #[test]
    fn equal_compares_key_value_and_effect() {
        let equal = toleration(serde_json::json!({"key": "a", "value": "b", "effect": "NoSchedule"}));
        assert!(matches(&equal, "a", "b", "NoSchedule"));
        assert!(!matches(&equal, "a", "c", "NoSchedule"));
        assert!(!matches(&equal, "a", "b", "NoExecute"));
        assert!(!matches(&equal, "x", "b", "NoSchedule"));
    }
}
