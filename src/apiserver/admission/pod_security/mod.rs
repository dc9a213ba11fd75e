//! PodSecurity: the Pod Security Standards, as a namespace's labels ask for them. Pods are refused or
//! warned about, workloads are warned about what their pods would be (Kubernetes documentation, "Pod
//! Security Admission"). Nothing is exempt.

mod checks;
mod evaluate;
mod policy;
mod significant;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        admission::{
            Operation, Plugin, Request, Warnings,
            pod_security::{
                evaluate::{Pod, Violations},
                policy::{Demand, Level, Policy},
            },
        },
        audit,
        reader::Reader,
    },
};

const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };
const PODS: GroupResource<'static> = GroupResource { group: "", resource: "pods" };
/// Most pods of a namespace that are looked at when its labels change.
const CHECKED_PODS: usize = 3000;
/// Where the workloads that make pods keep their template.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];
/// Parts of pods that are written on their own and say something about containers.
const POD_RESOURCES: [&str; 3] = ["pods", "pods/ephemeralcontainers", "pods/resize"];

/// Annotation in the audit log: what was demanded.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
/// Annotation in the audit log: what would not have been allowed.
const VIOLATED: &str = "pod-security.kubernetes.io/audit-violations";

pub struct PodSecurity {
    reader: Arc<dyn Reader>,
}

impl PodSecurity {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn policy(&self, namespace: &str) -> Result<Policy, Status> {
        let stored = self.reader.get(NAMESPACES, "", namespace);
        let stored = stored.and_then(|namespace| serde_json::from_slice::<Value>(&namespace).ok());
        let namespace =
            stored.ok_or_else(|| Status::internal(format!("failed to lookup namespace \"{namespace}\"")))?;
        Ok(policy::read(&namespace).0)
    }

    fn check_pod(&self, request: &Request<'_>, pod: &Value) -> Result<Warnings, Status> {
        if request.old.is_some_and(|old| !significant::differs(pod, old)) {
            return Ok(Warnings::new());
        }
        let policy = self.policy(&request.attributes.namespace)?;
        audit::annotate(ENFORCED, || policy.enforce.to_string());
        note(pod, policy.audit);
        let violations = evaluate::pod(&Pod::new(pod), policy.enforce);
        if !violations.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, violations.details());
            return Err(request.forbid(pod, &why));
        }
        Ok(warning(&evaluate::pod(&Pod::new(pod), policy.warn), policy.warn))
    }

    fn check_workload(&self, request: &Request<'_>, template: &Value) -> Result<Warnings, Status> {
        if !template["spec"].is_object() {
            return Ok(Warnings::new());
        }
        let policy = self.policy(&request.attributes.namespace)?;
        note(template, policy.audit);
        Ok(warning(&evaluate::pod(&Pod::new(template), policy.warn), policy.warn))
    }

    fn check_namespace(&self, request: &Request<'_>, namespace: &Value) -> Result<Warnings, Status> {
        let (new, problems) = policy::read(namespace);
        let invalid = |problems| Err(Status::invalid("", "Namespace", meta::name(namespace), problems));
        let Some(old) = request.old else {
            return if problems.is_empty() { Ok(Warnings::new()) } else { invalid(problems) };
        };
        let (old, problems_before) = policy::read(old);
        if !problems.is_empty() && problems != problems_before {
            return invalid(problems);
        }
        let relaxed = new.enforce.version == old.enforce.version && new.enforce.level <= old.enforce.level;
        if new.enforce == old.enforce || new.enforce.level == Level::Privileged || relaxed {
            return Ok(Warnings::new());
        }
        Ok(self.check_existing(meta::name(namespace), new.enforce))
    }

    /// Warnings of pods that would not be admitted any more.
    fn check_existing(&self, namespace: &str, enforce: Demand) -> Warnings {
        let pods = self.reader.list(PODS, Some(namespace));
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pod in pods.iter().take(CHECKED_PODS).filter_map(|pod| serde_json::from_slice::<Value>(pod).ok()) {
            let violations = evaluate::pod(&Pod::new(&pod), enforce);
            if !violations.is_empty() {
                by_reason.entry(violations.reasons()).or_default().push(meta::name(&pod).to_owned());
            }
        }
        let mut warnings = Warnings::new();
        if pods.len() > CHECKED_PODS {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {CHECKED_PODS} of {} existing pods",
                pods.len()
            ));
        }
        if !by_reason.is_empty() {
            warnings.push(format!(
                "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut lines: Vec<String> = by_reason.iter().map(|(reason, pods)| line(reason, pods)).collect();
        lines.sort_unstable();
        warnings.extend(lines);
        warnings
    }
}

impl Plugin for PodSecurity {
    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(Warnings::new());
        }
        if request.is_for("", "namespaces") {
            return self.check_namespace(request, object);
        }
        if POD_RESOURCES.iter().any(|resource| request.is_for("", resource)) {
            return self.check_pod(request, object);
        }
        let template = TEMPLATES.iter().find(|(group, resource, _)| request.is_for(group, resource));
        match template.and_then(|(_, _, pointer)| object.pointer(pointer)) {
            Some(template) => self.check_workload(request, template),
            None => Ok(Warnings::new()),
        }
    }
}

/// Notes in the audit log what the pod would violate.
fn note(pod: &Value, demand: Demand) {
    audit::annotate(VIOLATED, || {
        let violations = evaluate::pod(&Pod::new(pod), demand);
        (!violations.is_empty()).then(|| format!("would violate PodSecurity \"{demand}\": {}", violations.details()))
    });
}

fn warning(violations: &Violations, demand: Demand) -> Warnings {
    if violations.is_empty() {
        return Warnings::new();
    }
    vec![format!("would violate PodSecurity \"{demand}\": {}", violations.details())]
}

/// `web (and 2 other pods): privileged`
fn line(reason: &str, pods: &[String]) -> String {
    let first = pods.iter().min().map(String::as_str).unwrap_or_default();
    match pods.len() {
        0 | 1 => format!("{first}: {reason}"),
        2 => format!("{first} (and 1 other pod): {reason}"),
        count => format!("{first} (and {} other pods): {reason}", count - 1),
    }
}

#[cfg(test)]
mod tests;
