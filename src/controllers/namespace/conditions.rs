//! What a namespace that is being deleted says about it: what is left, and what went wrong.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};

/// What keeps a namespace.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// `resource.group` and how many objects of it there are.
    pub content: BTreeMap<String, usize>,
    /// Finalizer and how many objects wait for it.
    pub finalizers: BTreeMap<String, usize>,
    /// Group versions that could not be looked at.
    pub unknown: Vec<String>,
    /// What could not be listed or deleted, and why.
    pub failures: Vec<String>,
}

/// A type of condition, and what it says when all is well.
struct Kind {
    name: &'static str,
    reason: &'static str,
    message: &'static str,
}

const DISCOVERY: Kind = Kind {
    name: "NamespaceDeletionDiscoveryFailure",
    reason: "ResourcesDiscovered",
    message: "All resources successfully discovered",
};
const PARSING: Kind = Kind {
    name: "NamespaceDeletionGroupVersionParsingFailure",
    reason: "ParsedGroupVersions",
    message: "All legacy kube types successfully parsed",
};
const DELETION: Kind = Kind {
    name: "NamespaceDeletionContentFailure",
    reason: "ContentDeleted",
    message: "All content successfully deleted, may be waiting on finalization",
};
const CONTENT: Kind =
    Kind { name: "NamespaceContentRemaining", reason: "ContentRemoved", message: "All content successfully removed" };
const FINALIZERS: Kind = Kind {
    name: "NamespaceFinalizersRemaining",
    reason: "ContentHasNoFinalizers",
    message: "All content-preserving finalizers finished",
};

impl Leftovers {
    /// Whether nothing keeps the namespace.
    pub(super) fn is_empty(&self) -> bool {
        self.content.is_empty() && self.unknown.is_empty() && self.failures.is_empty()
    }

    /// The conditions that say so; `None` if `told` says it already.
    pub(super) fn conditions(&self, told: &[NamespaceCondition], now: &Time) -> Option<Vec<NamespaceCondition>> {
        let wanted = [
            (DISCOVERY, self.discovery()),
            (PARSING, None),
            (DELETION, self.deletion()),
            (CONTENT, self.content()),
            (FINALIZERS, self.finalizers()),
        ];
        let conditions: Vec<NamespaceCondition> =
            wanted.into_iter().map(|(kind, problem)| condition(&kind, problem, told, now)).collect();
        let is_told = |condition: &NamespaceCondition| told.contains(condition);
        (!conditions.iter().all(is_told)).then_some(conditions)
    }

    fn discovery(&self) -> Option<(&'static str, String)> {
        let each: Vec<String> =
            self.unknown.iter().map(|one| format!("{one}: stale GroupVersion discovery: {one}")).collect();
        (!each.is_empty()).then(|| {
            let message = format!(
                "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
                each.len(),
                each.join(", ")
            );
            ("DiscoveryFailed", message)
        })
    }

    fn deletion(&self) -> Option<(&'static str, String)> {
        (!self.failures.is_empty()).then(|| {
            let (count, each) = (self.failures.len(), self.failures.join(", "));
            ("ContentDeletionFailed", format!("Failed to delete all resource types, {count} remaining: {each}"))
        })
    }

    fn content(&self) -> Option<(&'static str, String)> {
        let each = self.content.iter().map(|(resource, count)| format!("{resource} has {count} resource instances"));
        listed(each, "Some resources are remaining").map(|message| ("SomeResourcesRemain", message))
    }

    fn finalizers(&self) -> Option<(&'static str, String)> {
        let each = self.finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances"));
        let intro = "Some content in the namespace has finalizers remaining";
        listed(each, intro).map(|message| ("SomeFinalizersRemain", message))
    }
}

fn listed(each: impl Iterator<Item = String>, intro: &str) -> Option<String> {
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("{intro}: {}", each.join(", ")))
}

fn condition(
    kind: &Kind,
    problem: Option<(&'static str, String)>,
    told: &[NamespaceCondition],
    now: &Time,
) -> NamespaceCondition {
    let status = if problem.is_some() { "True" } else { "False" };
    let (reason, message) = problem.unwrap_or_else(|| (kind.reason, kind.message.to_owned()));
    let before = told.iter().find(|told| told.type_ == kind.name && told.status == status);
    NamespaceCondition {
        type_: kind.name.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: before.map_or_else(|| Some(now.clone()), |told| told.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_namespace_is_told_once() {
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let mut left = Leftovers::default();
        assert!(left.is_empty());
        left.content.insert("pods.".to_owned(), 2);
        left.unknown.push("metrics.k8s.io/v1beta1".to_owned());
        assert!(!left.is_empty());
        let told = left.conditions(&[], &now).unwrap();
        assert_eq!(told[0].reason.as_deref(), Some("DiscoveryFailed"));
        assert!(told[0].message.as_ref().unwrap().starts_with("Discovery failed for some groups, 1 failing: "));
        assert_eq!(told[3].message.as_deref(), Some("Some resources are remaining: pods. has 2 resource instances"));
        assert_eq!((told[4].status.as_str(), told[4].reason.as_deref()), ("False", Some("ContentHasNoFinalizers")));
        let later = Time(jiff::Timestamp::now());
        assert_eq!(left.conditions(&told, &later), None);
        left.content.insert("pods.".to_owned(), 1);
        assert_eq!(left.conditions(&told, &later).unwrap()[3].last_transition_time, Some(now));
    }
}
