//! What a namespace's labels ask for.

use std::fmt;

use serde_json::Value;

use crate::api::{
    field::{self, Path},
    meta,
    status::Cause,
};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How strict, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is fine.
    Privileged,
    /// Known ways to more privileges are closed.
    Baseline,
    /// Pods are hardened as far as is practice.
    Restricted,
}

/// Which edition of the standards: the minor version of Kubernetes 1, or the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `v1.x`
    Minor(u32),
    /// `latest`
    Latest,
}

/// A level of one edition; shown as `restricted:latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The level.
    pub level: Level,
    /// The edition.
    pub version: Version,
}

/// What pods must be to be admitted, without a note in the audit log, and without a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What is refused.
    pub enforce: Demand,
    /// What is noted in the audit log.
    pub audit: Demand,
    /// What is warned about.
    pub warn: Demand,
}

/// A namespace's policy, and the problems of its labels. Enforcement that cannot be understood is
/// the strictest.
pub fn read(namespace: &Value) -> (Policy, Vec<Cause>) {
    let mut problems = Vec::new();
    let enforce_level = level(namespace, "enforce", &mut problems);
    let enforce = Demand {
        level: enforce_level.map_or(Level::Privileged, |level| level.unwrap_or(Level::Restricted)),
        version: version(namespace, "enforce", &mut problems).unwrap_or(Version::Latest),
    };
    let audit = Demand {
        level: level(namespace, "audit", &mut problems).flatten().unwrap_or(Level::Privileged),
        version: version(namespace, "audit", &mut problems).unwrap_or(Version::Latest),
    };
    let warn_level = level(namespace, "warn", &mut problems);
    let warn_version = version(namespace, "warn", &mut problems);
    let mut warn = Demand {
        level: warn_level.flatten().unwrap_or(Level::Privileged),
        version: warn_version.unwrap_or(Version::Latest),
    };
    if warn_level.is_none() && enforce_level.flatten().is_some_and(|enforced| enforced > warn.level) {
        warn = Demand { level: enforce.level, version: warn_version.unwrap_or(enforce.version) };
    }
    (Policy { enforce, audit, warn }, problems)
}

/// `None` without the label, `Some(None)` if it cannot be understood.
fn level(namespace: &Value, mode: &str, problems: &mut Vec<Cause>) -> Option<Option<Level>> {
    let key = format!("{PREFIX}{mode}");
    let text = meta::label(namespace, &key)?;
    let level = match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    };
    if level.is_none() {
        problems.push(invalid(&key, text, "must be one of privileged, baseline, restricted"));
    }
    Some(level)
}

/// `None` without the label; what cannot be understood is the latest.
fn version(namespace: &Value, mode: &str, problems: &mut Vec<Cause>) -> Option<Version> {
    let key = format!("{PREFIX}{mode}-version");
    let text = meta::label(namespace, &key)?;
    if text == "latest" {
        return Some(Version::Latest);
    }
    let number = text.strip_prefix("v1.").filter(|number| is_minor(number)).and_then(|number| number.parse().ok());
    if number.is_none() {
        problems.push(invalid(&key, text, "must be \"latest\" or \"v1.x\""));
    }
    Some(number.map_or(Version::Latest, Version::Minor))
}

fn is_minor(number: &str) -> bool {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && (number == "0" || !number.starts_with('0'))
}

fn invalid(key: &str, value: &str, detail: &str) -> Cause {
    field::invalid(&Path::new("metadata.labels").key(key), value, detail)
}

impl fmt::Display for Demand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Minor(minor) => write!(out, "{level}:v1.{minor}"),
            Version::Latest => write!(out, "{level}:latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(labels: &[(&str, &str)]) -> (String, String, Vec<String>) {
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
        let (policy, problems) = read(&json!({"metadata": {"labels": labels}}));
        let problems = problems.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        (policy.enforce.to_string(), policy.warn.to_string(), problems)
    }

    #[test]
    fn labels_are_read_and_warnings_follow_enforcement() {
        assert_eq!(policy(&[]), ("privileged:latest".into(), "privileged:latest".into(), vec![]));
        let enforced = policy(&[("enforce", "baseline"), ("enforce-version", "v1.25")]);
        assert_eq!(enforced, ("baseline:v1.25".into(), "baseline:v1.25".into(), vec![]));
        let warned = policy(&[("enforce", "restricted"), ("warn", "privileged")]);
        assert_eq!(warned, ("restricted:latest".into(), "privileged:latest".into(), vec![]));
    }

    #[test]
    fn what_cannot_be_understood_is_told_and_the_strictest() {
        let (enforce, warn, problems) = policy(&[("enforce", "tight"), ("audit-version", "1.2"), ("warn", "x")]);
        assert_eq!((enforce.as_str(), warn.as_str()), ("restricted:latest", "privileged:latest"));
        assert_eq!(
            problems,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"tight\": must be one of \
                 privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.2\": must be \"latest\" \
                 or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"x\": must be one of privileged, \
                 baseline, restricted",
            ]
        );
    }
}
