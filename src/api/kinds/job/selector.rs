//! How a job finds its pods: by labels with its UID, which the server makes unless the job says that it has its
//! own (KEP-3998 names the labels).

use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::{CONTROLLER_UID, JOB_NAME};
use crate::api::{
    field::{self, Path},
    kinds::{label_selector, workload},
    status::Cause,
};

const OLD_CONTROLLER_UID: &str = "controller-uid";
const OLD_JOB_NAME: &str = "job-name";

/// Makes selector and labels of a new job; validation refuses others that are there already.
pub fn generate(spec: &mut JobSpec, name: &str, uid: &str) {
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [(CONTROLLER_UID, uid), (OLD_CONTROLLER_UID, uid), (JOB_NAME, name), (OLD_JOB_NAME, name)] {
        labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    let selector = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selector.entry(CONTROLLER_UID.to_owned()).or_insert_with(|| uid.to_owned());
}

/// Whether the job's pods have the newer labels too.
pub fn has_prefixed_labels(job: &Job) -> bool {
    let labels = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.as_ref());
    labels.is_some_and(|labels| labels.contains_key(CONTROLLER_UID) && labels.contains_key(JOB_NAME))
}

/// Problems of labels and selector that the server should have made.
pub fn generated(job: &Job, spec: &JobSpec, prefixed_labels: bool) -> Vec<Cause> {
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else {
        return Vec::new();
    };
    let (name, uid) =
        (job.metadata.name.as_deref().unwrap_or_default(), job.metadata.uid.as_deref().unwrap_or_default());
    let mut expected = vec![(OLD_CONTROLLER_UID, uid), (OLD_JOB_NAME, name)];
    if prefixed_labels {
        expected.extend([(CONTROLLER_UID, uid), (JOB_NAME, name)]);
    }
    let path = Path::new("spec.template.metadata.labels");
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let mut causes = Vec::new();
    for (key, value) in &expected {
        let detail = format!("must be '{value}'");
        match labels.and_then(|labels| labels.get(*key)) {
            None => causes.push(field::required(&path.key(key), &detail)),
            Some(actual) if actual != value => causes.push(field::invalid(&path.key(key), labels, &detail)),
            Some(_) => {}
        }
    }
    let expected = expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    if label_selector::is_valid(selector) && !label_selector::matches(selector, &expected) {
        let path = Path::new("spec.selector");
        let detail = "`selector` not auto-generated";
        causes.push(field::invalid_internal(&path, label_selector::MESSAGE, selector, detail));
    }
    causes
}

/// Problems of the selector, whoever made it.
pub fn validate(spec: &JobSpec, path: &Path) -> Vec<Cause> {
    let own = path.child("selector");
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let template = path.child("template");
    let Some(selector) = &spec.selector else {
        return vec![field::required(&own, ""), workload::unmatched(labels, &template)];
    };
    let mut causes = label_selector::validate(selector, &own);
    let matches = label_selector::matches(selector, &labels.cloned().unwrap_or_default());
    if label_selector::is_valid(selector) && !matches {
        causes.push(workload::unmatched(labels, &template));
    }
    causes
}
