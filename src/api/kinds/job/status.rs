//! Rules of a job's status, which others than Nauplius' controller may write (KEP-4368). What did not change is
//! not looked at, so that a status with one old fault can be mended step by step.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};

use super::indexes;
use crate::api::{
    field::{self, IMMUTABLE, Path},
    status::Cause,
    validation::value,
};

/// Whether a condition is true.
pub fn holds(status: &JobStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|one| one.type_ == condition && one.status == "True")
}

/// A new status and the one before, with what the rules ask of both.
struct Change<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
    path: Path,
}

/// Problems of a change.
pub fn validate(new: &Job, old: &Job) -> Vec<Cause> {
    let spec = new.spec.clone().unwrap_or_default();
    let (new, old) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let change = Change { spec: &spec, new: &new, old: &old, path: Path::new("status") };
    let mut causes = change.numbers();
    causes.extend(change.conditions());
    causes.extend(change.times());
    causes.extend(change.finished());
    causes.extend(change.indexes());
    causes.extend(change.ready());
    causes.extend(change.backwards());
    causes
}

impl Change<'_> {
    fn holds(&self, condition: &str) -> bool {
        holds(self.new, condition)
    }

    fn turned(&self, condition: &str) -> bool {
        holds(self.new, condition) != holds(self.old, condition)
    }

    fn is_finished(&self) -> bool {
        self.holds("Complete") || self.holds("Failed")
    }

    fn finished_changed(&self) -> bool {
        self.is_finished() != (holds(self.old, "Complete") || holds(self.old, "Failed"))
    }

    fn numbers(&self) -> Vec<Cause> {
        let status = self.new;
        let numbers = [
            ("active", status.active),
            ("succeeded", status.succeeded),
            ("failed", status.failed),
            ("ready", status.ready),
            ("terminating", status.terminating),
        ];
        let mut causes = Vec::new();
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            causes.extend(field::invalid_each(&self.path.child(name), number, &value::non_negative(number.into())));
        }
        let path = self.path.child("uncountedTerminatedPods");
        causes.extend(status.uncounted_terminated_pods.iter().flat_map(|pods| uncounted(pods, &path)));
        causes
    }

    fn conditions(&self) -> Vec<Cause> {
        let complete = self.turned("Complete");
        let rules = [
            (
                complete || self.turned("Failed"),
                self.holds("Complete") && self.holds("Failed"),
                "cannot set Complete=True and Failed=true conditions",
            ),
            (
                complete || self.turned("FailureTarget"),
                self.holds("Complete") && self.holds("FailureTarget"),
                "cannot set Complete=True and FailureTarget=true conditions",
            ),
            (
                self.turned("Failed") || self.new.failed_indexes != self.old.failed_indexes,
                self.holds("Failed") && !self.holds("FailureTarget"),
                "cannot set Failed=True condition without the FailureTarget=true condition",
            ),
            (
                complete || self.turned("SuccessCriteriaMet"),
                self.holds("Complete") && !self.holds("SuccessCriteriaMet"),
                "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            ),
            (
                true,
                self.holds("SuccessCriteriaMet") && self.holds("Failed"),
                "cannot set SuccessCriteriaMet=True and Failed=true conditions",
            ),
            (
                true,
                self.holds("SuccessCriteriaMet") && self.holds("FailureTarget"),
                "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            ),
            (
                self.spec.success_policy.is_some(),
                !self.holds("SuccessCriteriaMet") && self.holds("Complete"),
                "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
            ),
        ];
        let broken = rules.into_iter().filter(|(asked, broken, _)| *asked && *broken);
        broken.map(|(_, _, detail)| field::invalid_hidden(&self.path.child("conditions"), detail)).collect()
    }

    fn times(&self) -> Vec<Cause> {
        let (start, end) = (&self.new.start_time, &self.new.completion_time);
        let (started, ended) = (*start != self.old.start_time, *end != self.old.completion_time);
        let path = self.path.child("completionTime");
        let mut causes = Vec::new();
        if self.turned("Complete") || ended {
            match end {
                Some(end) if !self.holds("Complete") => {
                    let detail = "cannot set completionTime when there is no Complete=True condition";
                    causes.push(field::invalid(&path, end, detail));
                }
                None if self.holds("Complete") => {
                    causes.push(field::required(&path, "completionTime is required for Complete jobs"));
                }
                _ => {}
            }
        }
        if let (Some(start), Some(end), true) = (start, end, started || ended)
            && end.0 < start.0
        {
            causes.push(field::invalid(&path, end, "must be equal to or after `startTime`"));
        }
        causes
    }

    fn finished(&self) -> Vec<Cause> {
        if !self.is_finished() {
            return Vec::new();
        }
        let (new, old, changed) = (self.new, self.old, self.finished_changed());
        let mut causes = Vec::new();
        if let Some(active) = new.active.filter(|active| *active > 0 && (changed || new.active != old.active)) {
            causes.push(field::invalid(&self.path.child("active"), active, "active>0 is invalid for finished job"));
        }
        let never_ran = self.spec.suspend == Some(true) && self.spec.completions == Some(0);
        if new.start_time.is_none() && (changed || old.start_time.is_some()) && !never_ran {
            causes.push(field::required(&self.path.child("startTime"), "startTime is required for finished job"));
        }
        let pods = &new.uncounted_terminated_pods;
        let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if let Some(pods) = pods.as_ref().filter(|pods| some(&pods.failed) || some(&pods.succeeded))
            && (changed || new.uncounted_terminated_pods != old.uncounted_terminated_pods)
        {
            let path = self.path.child("uncountedTerminatedPods");
            causes.push(field::invalid(&path, pods, "must be empty for finished job"));
        }
        let terminating = new.terminating.filter(|count| *count > 0);
        if let Some(count) = terminating.filter(|_| changed || new.terminating != old.terminating) {
            let detail = "terminating>0 is invalid for finished job";
            causes.push(field::invalid(&self.path.child("terminating"), count, detail));
        }
        causes
    }

    fn indexes(&self) -> Vec<Cause> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (completed, failed) = (text(&self.new.completed_indexes), self.new.failed_indexes.as_deref());
        let completed_changed = completed != text(&self.old.completed_indexes);
        let failed_changed = self.new.failed_indexes != self.old.failed_indexes;
        let (own, path) = (self.path.child("completedIndexes"), self.path.child("failedIndexes"));
        let (per_index, completions) = (self.spec.backoff_limit_per_index.is_some(), self.spec.completions);
        let mut causes = Vec::new();
        let mut parsed = |text: &str, name: &str, path: &Path| {
            let problem = completions.and_then(|all| indexes::count(text, all).err());
            causes.extend(problem.map(|why| field::invalid(path, text, &format!("error parsing {name}: {why}"))));
        };
        if completed_changed {
            parsed(&completed, "completedIndexes", &own);
        }
        if let Some(failed) = failed.filter(|_| failed_changed && per_index) {
            parsed(failed, "failedIndexes", &path);
        }
        if completed_changed && !completed.is_empty() && self.spec.completion_mode.as_deref() != Some("Indexed") {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            causes.push(field::invalid(&own, &completed, detail));
        }
        if let Some(failed) = failed.filter(|_| failed_changed && !per_index) {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            causes.push(field::invalid(&path, failed, detail));
        }
        if let (Some(failed), Some(all), true) = (failed, completions, failed_changed || completed_changed)
            && let Some(index) = indexes::overlap(&completed, failed, all)
        {
            let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
            causes.push(field::invalid(&path, failed, &detail));
        }
        causes
    }

    fn ready(&self) -> Option<Cause> {
        let (new, old) = (self.new, self.old);
        let asked = new.ready != old.ready || new.active.unwrap_or_default() != old.active.unwrap_or_default();
        let ready = new.ready.filter(|ready| asked && *ready > new.active.unwrap_or_default())?;
        Some(field::invalid(&self.path.child("ready"), ready, "cannot set more ready pods than active"))
    }

    /// What only ever goes one way.
    fn backwards(&self) -> Vec<Cause> {
        let (new, old, path) = (self.new, self.old, &self.path);
        let mut causes = Vec::new();
        let lost =
            ["Failed", "Complete", "FailureTarget"].into_iter().filter(|one| holds(old, one) && !holds(new, one));
        causes.extend(lost.map(|one| {
            let detail = format!("cannot disable the terminal {one}=True condition");
            field::invalid_hidden(&path.child("conditions"), &detail)
        }));
        let elastic =
            self.spec.completion_mode.as_deref() == Some("Indexed") && self.spec.completions == self.spec.parallelism;
        for (name, new, old) in [("failed", new.failed, old.failed), ("succeeded", new.succeeded, old.succeeded)] {
            let (new, old) = (new.unwrap_or_default(), old.unwrap_or_default());
            if new < old && (name == "failed" || !elastic) {
                causes.push(field::invalid(&path.child(name), new, &format!("cannot decrease the {name} counter")));
            }
        }
        if new.completion_time.is_some() && old.completion_time.is_some() && new.completion_time != old.completion_time
        {
            causes.push(field::invalid(&path.child("completionTime"), &new.completion_time, IMMUTABLE));
        }
        let resumes = holds(old, "Suspended")
            && new.conditions.iter().flatten().any(|one| one.type_ == "Suspended" && one.status == "False");
        let runs = self.spec.suspend != Some(true) && !resumes;
        if old.start_time.is_some() && old.start_time != new.start_time && runs {
            let detail = "field is immutable for unsuspended job once set";
            causes.push(field::invalid(&path.child("startTime"), &new.start_time, detail));
        }
        if holds(old, "SuccessCriteriaMet") && !holds(new, "SuccessCriteriaMet") {
            let detail = "cannot disable the SuccessCriteriaMet=True condition";
            causes.push(field::invalid_hidden(&path.child("conditions"), detail));
        }
        if holds(old, "Complete") && !holds(old, "SuccessCriteriaMet") && holds(new, "SuccessCriteriaMet") {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            causes.push(field::invalid_hidden(&path.child("conditions"), detail));
        }
        causes
    }
}

fn uncounted(pods: &UncountedTerminatedPods, path: &Path) -> Vec<Cause> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut causes = Vec::new();
    for (name, list) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        for (index, uid) in list.iter().flatten().enumerate() {
            let path = path.child(name).index(index);
            match uid.as_str() {
                "" => causes.push(field::invalid(&path, "", "must not be empty")),
                uid if !seen.insert(uid) => causes.push(field::duplicate(&path, uid)),
                _ => {}
            }
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(status: Value) -> Job {
        let spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 2, "backoffLimitPerIndex": 1,
            "template": {}});
        serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
    }

    fn problems(new: Value, old: Value) -> Vec<String> {
        let causes = validate(&job(new), &job(old));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn counters_and_terminal_conditions_do_not_go_back() {
        let failed = json!([{"type": "Failed", "status": "True"}, {"type": "FailureTarget", "status": "True"}]);
        assert_eq!(
            problems(json!({"failed": 1}), json!({"failed": 2, "conditions": failed})),
            [
                "status.conditions: Invalid value: cannot disable the terminal Failed=True condition",
                "status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
                "status.failed: Invalid value: 1: cannot decrease the failed counter",
            ]
        );
    }

    #[test]
    fn indexes_are_those_of_the_job() {
        assert_eq!(problems(json!({"completedIndexes": "0-1", "failedIndexes": "2"}), json!({})), [""; 0]);
        assert_eq!(
            problems(json!({"completedIndexes": "7", "failedIndexes": "x"}), json!({})),
            [
                "status.completedIndexes: Invalid value: \"7\": error parsing completedIndexes: too large index: \"7\"",
                "status.failedIndexes: Invalid value: \"x\": error parsing failedIndexes: cannot convert string to \
                 integer for index: \"x\"",
            ]
        );
        assert_eq!(
            problems(json!({"completedIndexes": "0-1", "failedIndexes": "1"}), json!({})),
            ["status.failedIndexes: Invalid value: \"1\": failedIndexes and completedIndexes overlap at index: 1"]
        );
    }

    #[test]
    fn no_more_pods_are_ready_than_there_are() {
        let uncounted = json!({"succeeded": ["a", "a"], "failed": [""]});
        assert_eq!(
            problems(json!({"ready": 2, "active": 1, "uncountedTerminatedPods": uncounted}), json!({})),
            [
                "status.uncountedTerminatedPods.succeeded[1]: Duplicate value: \"a\"",
                "status.uncountedTerminatedPods.failed[0]: Invalid value: \"\": must not be empty",
                "status.ready: Invalid value: 2: cannot set more ready pods than active",
            ]
        );
    }
}
