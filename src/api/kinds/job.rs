//! Jobs: pods that run until enough of them have succeeded.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use serde_json::{Value, json};

use super::{cells, job_policies, label_selector, names, pod_template, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
};

/// Label that ties a pod to its job, by the job's UID.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label that ties a pod to its job, by the job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

const OLD_CONTROLLER_UID: &str = "controller-uid";
const OLD_JOB_NAME: &str = "job-name";
const COMPLETION_MODES: &[&str] = &["NonIndexed", "Indexed"];
const RESTART_POLICIES: &[&str] = &["OnFailure", "Never"];

/// `batch/v1.Job`
pub struct JobKind;

impl Kind for JobKind {
    type Object = Job;
    const NAMES: Names = Names {
        categories: &["all"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::BATCH, "Job", "jobs", "job")
    };
    const GENERATION: Generation = Generation::Spec;
    const FIELDS: &'static [&'static str] = &["status.successful"];
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Status", "string", "State of the job in one word."),
        cells::column("Completions", "string", "Succeeded pods of all that should."),
        cells::column("Duration", "string", "How long the job ran, or has run so far."),
        cells::AGE,
        cells::wide("Containers", "string", "Names of the template's containers."),
        cells::wide("Images", "string", "Images of the template's containers."),
        cells::wide("Selector", "string", "Labels of the job's pods."),
    ];

    fn default(job: &mut Job) {
        default_spec(job.spec.get_or_insert_default());
    }

    fn prepare_for_create(job: &mut Job) {
        let (name, uid) = (job.metadata.name.clone(), job.metadata.uid.clone());
        let spec = job.spec.get_or_insert_default();
        if let (Some(name), Some(uid), false) = (name, uid, spec.manual_selector == Some(true)) {
            select_own_pods(spec, &name, &uid);
        }
    }

    fn validate(job: &Job) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = job.spec.clone().unwrap_or_default();
        let mut causes = validate_spec(&spec, &path);
        let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        match &spec.selector {
            None => causes.push(field::required(&path.child("selector"), "")),
            Some(selector) => {
                causes.extend(label_selector::validate(selector, &path.child("selector")));
                causes.extend(workload::matching(selector, &labels, &path.child("template")));
            }
        }
        causes
    }

    fn validate_update(new: &Job, old: &Job) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        let path = Path::new("spec");
        let mut causes = field::immutable(&path.child("selector"), &new.selector, &old.selector);
        let suspended = old.suspend == Some(true);
        if !suspended {
            causes.extend(field::immutable(&path.child("template"), &new.template, &old.template));
        }
        causes.extend(field::immutable(&path.child("completionMode"), &new.completion_mode, &old.completion_mode));
        causes.extend(field::immutable(
            &path.child("podFailurePolicy"),
            &new.pod_failure_policy,
            &old.pod_failure_policy,
        ));
        causes.extend(field::immutable(
            &path.child("backoffLimitPerIndex"),
            &new.backoff_limit_per_index,
            &old.backoff_limit_per_index,
        ));
        let elastic = new.completion_mode.as_deref() == Some("Indexed") && new.completions == new.parallelism;
        if !elastic {
            causes.extend(field::immutable(&path.child("completions"), &new.completions, &old.completions));
        }
        causes
    }

    fn field_values(job: &Job) -> Vec<String> {
        vec![job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default().to_string()]
    }

    fn cells(job: &Job, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (job.spec.clone().unwrap_or_default(), job.status.clone().unwrap_or_default());
        let (names, images) = cells::containers(spec.template.spec.as_ref());
        vec![
            cells::name(&job.metadata),
            json!(state(job, &status)),
            json!(completions(&spec, &status)),
            json!(duration(&status, now)),
            cells::age(&job.metadata, now),
            json!(names),
            json!(images),
            json!(cells::selector(spec.selector.as_ref())),
        ]
    }
}

/// Defaults of a job's spec, also within a cron job.
pub fn default_spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        (spec.completions, spec.parallelism) = (Some(1), Some(1));
    }
    spec.parallelism.get_or_insert(1);
    let per_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if per_index { i32::MAX } else { 6 });
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.to_owned());
    pod_template::defaults::template(&mut spec.template);
}

/// Problems of a job's spec but for its selector, which a cron job's template does not have yet.
pub fn validate_spec(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let numbers = [
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ];
    let mut causes = workload::non_negative(&numbers, path);
    if let Some(seconds) = spec.active_deadline_seconds.filter(|seconds| *seconds < 0) {
        let detail = "must be greater than or equal to 0";
        causes.push(field::invalid(&path.child("activeDeadlineSeconds"), seconds, detail));
    }
    let mode = spec.completion_mode.as_deref();
    if let Some(mode) = mode.filter(|mode| !COMPLETION_MODES.contains(mode)) {
        causes.push(field::unsupported(&path.child("completionMode"), mode, COMPLETION_MODES));
    }
    if mode == Some("Indexed") && spec.completions.is_none() {
        let detail = "when completion mode is Indexed";
        causes.push(field::required(&path.child("completions"), detail));
    }
    causes.extend(job_policies::validate(spec, path));
    causes.extend(pod_template::template(&spec.template, &path.child("template")));
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or_default();
    if !RESTART_POLICIES.contains(&policy) {
        let path = path.child("template").child("spec").child("restartPolicy");
        let detail = format!("Required value: valid values: {}", quoted(RESTART_POLICIES));
        causes.push(match policy {
            "" | "Always" => field::required(&path, detail.trim_start_matches("Required value: ")),
            policy => field::unsupported(&path, policy, RESTART_POLICIES),
        });
    }
    causes
}

/// Pods are found by the job's UID, so that two jobs never fight over one (KEP-3998 names the labels).
fn select_own_pods(spec: &mut JobSpec, name: &str, uid: &str) {
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [(CONTROLLER_UID, uid), (OLD_CONTROLLER_UID, uid), (JOB_NAME, name), (OLD_JOB_NAME, name)] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let selector = spec.selector.get_or_insert_default();
    selector.match_labels.get_or_insert_default().insert(CONTROLLER_UID.to_owned(), uid.to_owned());
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}

fn state(job: &Job, status: &JobStatus) -> &'static str {
    let holds = |kind: &str| {
        status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(spec: &JobSpec, status: &JobStatus) -> String {
    let done = status.succeeded.unwrap_or_default();
    match (spec.completions, spec.parallelism.unwrap_or_default()) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(status: &JobStatus, now: Timestamp) -> String {
    let Some(start) = &status.start_time else { return String::new() };
    let end = status.completion_time.as_ref().map_or(now, |end| end.0);
    cells::since(Some(start), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{decoded::Decoded, kind::descriptor, patch::merge};

    fn job(spec: Value) -> Decoded {
        let mut job = json!({"metadata": {"name": "a", "namespace": "b", "uid": "u"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
        job["spec"] = merge::apply(job["spec"].take(), spec);
        let strategy = descriptor::<JobKind>().strategy;
        strategy.prepare_for_create(job).unwrap()
    }

    #[test]
    fn a_job_finds_its_own_pods() {
        let job = job(json!({}));
        assert_eq!(descriptor::<JobKind>().strategy.validate(&job), []);
        assert_eq!(job["spec"]["selector"]["matchLabels"], json!({CONTROLLER_UID: "u"}));
        assert_eq!(job["spec"]["template"]["metadata"]["labels"][JOB_NAME], "a");
        assert_eq!((&job["spec"]["completions"], &job["spec"]["backoffLimit"]), (&json!(1), &json!(6)));
        let row = descriptor::<JobKind>().strategy.cells(&job, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1..4], [json!("Running"), json!("0/1"), json!("")]);
    }

    #[test]
    fn a_job_does_not_restart_for_ever() {
        let job = job(json!({"template": {"spec": {"restartPolicy": "Always"}}}));
        let causes = descriptor::<JobKind>().strategy.validate(&job);
        assert_eq!(causes[0].field, "spec.template.spec.restartPolicy");
        assert_eq!(causes[0].message, "Required value: valid values: \"OnFailure\", \"Never\"");
    }
}
