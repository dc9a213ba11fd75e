//! Jobs: pods that run until enough of them have succeeded.

mod failures;
mod indexes;
mod policies;
mod selector;
mod shown;
mod status;
mod update;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use serde_json::{Value, json};

use super::{cells, names, pod_template};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    validation::{name, value},
};

/// Label that ties a pod to its job, by the job's UID.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label that ties a pod to its job, by the job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

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
    const ORPHANS_BY_DEFAULT: bool = true;
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
        labels_of_template(job);
    }

    fn prepare_for_create(job: &mut Job) {
        let (name, uid) = (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
        let spec = job.spec.get_or_insert_default();
        pod_template::disabled::drop_from_template(&mut spec.template, None);
        if spec.manual_selector != Some(true) {
            selector::generate(spec, &name, &uid);
        }
        labels_of_template(job);
    }

    fn prepare_for_update(new: &mut Job, old: &Job) {
        let old = old.spec.as_ref().map(|old| &old.template);
        pod_template::disabled::drop_from_template(&mut new.spec.get_or_insert_default().template, old);
    }

    fn validate(job: &Job) -> Vec<Cause> {
        validate(job, true)
    }

    /// Jobs of before 1.27 may lack the newer labels.
    fn validate_again(new: &Job, old: &Job) -> Vec<Cause> {
        validate(new, selector::has_prefixed_labels(old))
    }

    fn validate_update(new: &Job, old: &Job) -> Vec<Cause> {
        let (spec, path) = (new.spec.clone().unwrap_or_default(), Path::new("spec"));
        // Upstream looks at the spec once more with a change.
        let mut causes = validate_spec(&spec, &path);
        causes.extend(selector::validate(&spec, &path));
        causes.extend(update::validate(new, old));
        causes
    }

    fn validate_status_update(new: &Job, old: &Job) -> Vec<Cause> {
        status::validate(new, old)
    }

    fn warnings(new: &Job, old: Option<&Job>) -> Vec<String> {
        if old.is_some_and(|old| old.metadata.generation == new.metadata.generation) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        if old.is_none() {
            let name = new.metadata.name.as_deref();
            warnings.extend(pod_template::warnings::name_for_hosts(name, "Pod names and hostnames"));
        }
        let spec = new.spec.as_ref();
        warnings.extend(spec.into_iter().flat_map(|spec| spec_warnings(spec, &Path::new("spec"))));
        warnings
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
    default_failure_policy(spec);
    pod_template::defaults::template(&mut spec.template);
}

/// Conditions of pods that failures are known by hold if nothing else is said.
pub fn default_failure_policy(spec: &mut JobSpec) {
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        let status = pattern.status.take().filter(|status| !status.is_empty());
        pattern.status = status.or_else(|| Some("True".to_owned()));
    }
}

/// Problems of a job's spec but for its selector, which a cron job's template does not have yet.
pub fn validate_spec(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let numbers = [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ];
    let mut causes = Vec::new();
    for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        causes.extend(field::invalid_each(&path.child(name), number, &value::non_negative(number)));
    }
    causes.extend(policies::validate(spec, path));
    causes.extend(pod_template::template(&spec.template, &path.child("template")));
    causes.extend(restart_policy(spec, &path.child("template").child("spec").child("restartPolicy")));
    causes
}

/// Warnings about a job's spec at `path`.
pub fn spec_warnings(spec: &JobSpec, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let (completions, parallelism) = (spec.completions.unwrap_or_default(), spec.parallelism.unwrap_or_default());
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    if indexed && completions > policies::MANY_COMPLETIONS && parallelism > policies::PARALLEL_OF_MANY {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    warnings.extend(pod_template::warnings::template(&spec.template, &path.child("template")));
    warnings
}

fn validate(job: &Job, prefixed_labels: bool) -> Vec<Cause> {
    let path = Path::new("spec");
    let spec = job.spec.clone().unwrap_or_default();
    let mut causes = selector::generated(job, &spec, prefixed_labels);
    causes.extend(validate_spec(&spec, &path));
    causes.extend(selector::validate(&spec, &path));
    causes.extend(last_host_name(job, &spec));
    causes
}

/// Pods of an indexed job are called after their indexes.
fn last_host_name(job: &Job, spec: &JobSpec) -> Option<Cause> {
    let last = spec.completions.filter(|all| *all > 0)? - 1;
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let host = format!("{name}-{last}");
    let bad = spec.completion_mode.as_deref() == Some("Indexed") && !name::dns1123_label(&host).is_empty();
    let detail = format!("will not able to create pod with invalid DNS label: {host}");
    bad.then(|| field::invalid(&Path::new("metadata.name"), name, &detail))
}

fn restart_policy(spec: &JobSpec, path: &Path) -> Option<Cause> {
    match spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or_default() {
        "" | "Always" => Some(field::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            Some(field::invalid(path, "OnFailure", detail))
        }
        policy => field::one_of(path, policy, RESTART_POLICIES),
    }
}

/// A job without labels has those of its template, once these are known.
fn labels_of_template(job: &mut Job) {
    let Some(spec) = &job.spec else { return };
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref()).filter(|all| !all.is_empty());
    let known = |labels: &&std::collections::BTreeMap<String, String>| {
        spec.manual_selector == Some(true) || labels.contains_key(CONTROLLER_UID)
    };
    if let Some(labels) = labels.filter(known)
        && job.metadata.labels.as_ref().is_none_or(|own| own.is_empty())
    {
        job.metadata.labels = Some(labels.clone());
    }
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
