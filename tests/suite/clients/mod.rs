//! Clients as people have them, each toured for what it shows its user.
//!
//! - **kubectl** of the server's own version and of one six minor versions older, through every
//!   subcommand that needs no node: `create` (every generator), `get`, `describe`, `explain`, `events`
//!   (`create.rs`, `read.rs`), `apply`, `diff`, `kustomize` (`apply.rs`), `edit`, `patch`, `replace`, `label`, `annotate`,
//!   `set`, `scale`, `autoscale`, `expose`, `rollout`, `taint`, `cordon`, `drain` (`change.rs`), `auth`, `certificate`,
//!   `api-resources`, `api-versions`, `cluster-info`, `config`, `version`, `wait`, `proxy`, `get --raw`, `completion`, `debug`
//!   (`ask.rs`), `delete` (`delete.rs`), and a custom resource through all of that (`custom.rs`).
//! - **Helm** 3 and 4 with a chart of our own (`helm.rs`, `chart/`).
//! - **The Python client**: typed, dynamic, watches, server-side apply, exec (`python.rs`, `tour.py`).
//! - **kube-rs's controller runtime** (`operator.rs`).
//!
//! What a command prints is compared whole wherever it does not depend on chance: runs of blanks
//! count as one, and ages are written as AGE.

mod apply;
mod ask;
mod change;
mod create;
mod custom;
mod delete;
mod helm;
mod operator;
mod python;
mod read;

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, sync::LazyLock};

use regex::Regex;

use crate::harness::{Kubectl, Scenario, scenario};

/// The minor versions of Kubernetes whose kubectl is toured.
const MINORS: [u32; 2] = [36, 30];

/// One kubectl in a namespace of its own.
struct Tour {
    kubectl: Kubectl,
    minor: u32,
    scenario: Scenario,
    files: tempfile::TempDir,
}

/// Runs `tour` with each kubectl, in the namespaces `name`-36 and `name`-30.
fn with_each_kubectl(name: &str, tour: impl Fn(&Tour)) {
    for minor in MINORS {
        let Some(scenario) = scenario(&format!("{name}-{minor}")) else { return };
        let files = tempfile::Builder::new().prefix("nauplius-test-").tempdir().unwrap();
        // What others had found out would be out of date.
        let cache = format!("--cache-dir={}", files.path().join("cache").display());
        tour(&Tour { kubectl: scenario.kubectl.minor(minor).flag(&cache), minor, scenario, files });
    }
}

impl Tour {
    /// Runs a command, which must print this, see [`plain`].
    #[track_caller]
    fn says(&self, line: &str, expected: &str) {
        assert_eq!(plain(&self.kubectl.run(line)), plain(expected), "kubectl {line} (1.{})", self.minor);
    }

    /// The same for a command that reads `input`.
    #[track_caller]
    fn says_to(&self, line: &str, input: &str, expected: &str) {
        let output = self.kubectl.run_with(line, input.as_bytes());
        assert_eq!(plain(&output), plain(expected), "kubectl {line} (1.{})", self.minor);
    }

    /// Runs a command, which must print all these parts.
    #[track_caller]
    fn shows(&self, line: &str, parts: &[&str]) {
        let output = plain(&self.kubectl.run(line));
        for part in parts {
            assert!(output.contains(part), "kubectl {line} (1.{}) does not print: {part}\n{output}", self.minor);
        }
    }

    /// Runs a command, which must fail with this complaint.
    #[track_caller]
    fn refuses(&self, line: &str, complaint: &str) {
        self.refuses_from(line, "", complaint);
    }

    /// The same for a command that reads `input`.
    #[track_caller]
    fn refuses_from(&self, line: &str, input: &str, complaint: &str) {
        let failure = plain(&self.kubectl.fails_with(line, input.as_bytes()));
        assert!(failure.contains(complaint), "kubectl {line} (1.{}) complains of: {failure}", self.minor);
    }

    /// Deletes objects (`resource name…`), which are cluster-scoped or must go before the namespace.
    fn delete(&self, what: &str) {
        self.kubectl.run(&format!("delete {what} --wait=false"));
    }

    /// A file with these contents, which ends with the tour.
    fn file(&self, name: &str, contents: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// kubectl with an editor that replaces `from` by `to`.
    fn editor(&self, from: &str, to: &str) -> Kubectl {
        let script = format!("#!/bin/sh\nexec sed -i 's/{from}/{to}/' \"$1\"\n");
        let path = PathBuf::from(self.file("editor", &script));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.kubectl.variable("KUBE_EDITOR", path)
    }

    /// What this kubectl says of a deleted object: newer ones name its namespace.
    fn deleted(&self, what: &str) -> String {
        if self.minor == MINORS[0] {
            format!("{what} deleted from {} namespace", self.scenario.namespace)
        } else {
            format!("{what} deleted")
        }
    }
}

/// Output without what depends on chance or on the width of a column: runs of blanks are one, and
/// ages are AGE.
fn plain(output: &str) -> String {
    static BLANKS: LazyLock<Regex> = LazyLock::new(|| Regex::new("[ \t]+").unwrap());
    static AGES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b([0-9]+m)?[0-9]+s\b").unwrap());
    let lines = output.trim().lines().map(|line| BLANKS.replace_all(line.trim(), " ").into_owned());
    AGES.replace_all(&lines.collect::<Vec<_>>().join("\n"), "AGE").into_owned()
}

#[test]
fn output_is_compared_without_widths_and_ages() {
    assert_eq!(plain("NAME   AGE\na      5s  \nb\t1m2s\n"), "NAME AGE\na AGE\nb AGE");
}
