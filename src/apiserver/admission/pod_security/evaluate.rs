//! Which checks a level of an edition consists of, and what they find.

use serde_json::Value;

use crate::{
    api::pod_resources,
    apiserver::admission::pod_security::{
        checks::CHECKS,
        policy::{Demand, Level, Version},
    },
};

/// A pod, or the template of one.
pub struct Pod<'a> {
    /// Its metadata.
    pub metadata: &'a Value,
    /// Its spec.
    pub spec: &'a Value,
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// In a word.
    pub reason: &'static str,
    /// Who does what.
    pub detail: String,
}

/// What all checks found.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

/// One of the standards' controls.
pub struct Check {
    /// Upstream's name, by which checks are ordered.
    pub id: &'static str,
    /// The level at which it begins to apply.
    pub level: Level,
    /// What it was in which minor version, oldest first.
    pub revisions: &'static [Revision],
}

/// A check as it is from a minor version on.
pub struct Revision {
    /// The minor version.
    pub since: u32,
    /// What does the check.
    pub check: fn(&Pod<'_>) -> Option<Violation>,
    /// Checks of the baseline that this one comprises.
    pub overrides: &'static [&'static str],
}

impl Check {
    fn revision(&self, version: Version) -> Option<&Revision> {
        match version {
            Version::Latest => self.revisions.last(),
            Version::Minor(minor) => self.revisions.iter().rev().find(|revision| revision.since <= minor),
        }
    }
}

impl<'a> Pod<'a> {
    /// Of an object with metadata and spec.
    pub fn new(object: &'a Value) -> Self {
        Self { metadata: &object["metadata"], spec: &object["spec"] }
    }

    /// All containers, in the order in which they are told of.
    pub fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        lists.into_iter().flat_map(move |list| pod_resources::containers(spec, list))
    }

    /// Names of the containers of which `is_bad` holds.
    pub fn named(&self, is_bad: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| is_bad(container)).map(name).collect()
    }

    /// Whether the pod's users are not those of the host.
    pub fn has_user_namespace(&self) -> bool {
        self.spec["hostUsers"] == false
    }

    /// Whether the pod is for Windows, where some controls mean nothing.
    pub fn is_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }
}

/// Everything in which `pod` is not what is demanded: first the baseline's, then the rest.
pub fn pod(pod: &Pod<'_>, demand: Demand) -> Violations {
    if demand.level == Level::Privileged {
        return Violations::default();
    }
    let applying = || {
        let of_level = CHECKS.iter().filter(|check| check.level <= demand.level);
        of_level.filter_map(|check| Some((check.id, check.revision(demand.version)?)))
    };
    let overridden: Vec<&str> = applying().flat_map(|(_, revision)| revision.overrides).copied().collect();
    let applied = applying().filter(|(id, _)| !overridden.contains(id));
    Violations(applied.filter_map(|(_, revision)| (revision.check)(pod)).collect())
}

/// A container's name.
pub fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

impl Violations {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `privileged, hostPort`
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|violation| violation.reason).collect();
        reasons.join(", ")
    }

    /// `privileged (container "a" must not …), hostPort (…)`
    pub fn details(&self) -> String {
        let each: Vec<String> =
            self.0.iter().map(|violation| format!("{} ({})", violation.reason, violation.detail)).collect();
        each.join(", ")
    }
}
