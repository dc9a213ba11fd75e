//! API services: who serves a version of an API group, this server or another behind it.

use jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, APIServiceStatus,
};
use serde_json::{Value, json};

use super::{cells, names, status};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, NameRule, Names, Subresource},
    status::Cause,
    validation::{name, network, webhook},
};

/// The condition that says whether requests get through.
pub const AVAILABLE: &str = "Available";
const STATES: &[&str] = &["True", "False", "Unknown"];
const MOST_GROUP_PRIORITY: i32 = 20_000;
const MOST_VERSION_PRIORITY: i32 = 1000;

/// `apiregistration.k8s.io/v1.APIService`
pub struct ApiServiceKind;

impl Kind for ApiServiceKind {
    type Object = APIService;
    const NAMES: Names = Names {
        categories: &["api-extensions"],
        subresources: &[Subresource::Status],
        ..names::cluster(names::GroupVersion::v1("apiregistration.k8s.io"), "APIService", "apiservices", "apiservice")
    };
    const NAME_RULE: NameRule = NameRule::PathSegment;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Service", "string", "Who serves the API."),
        cells::column("Available", "string", "Whether requests get through."),
        cells::AGE,
    ];

    fn default(service: &mut APIService) {
        let called = service.spec.as_mut().and_then(|spec| spec.service.as_mut());
        if let Some(called) = called {
            called.port.get_or_insert(webhook::DEFAULT_PORT);
        }
    }

    /// What this server serves is there from the start.
    fn prepare_for_create(service: &mut APIService) {
        let local = service.spec.as_ref().is_none_or(|spec| spec.service.is_none());
        let available = APIServiceCondition {
            type_: AVAILABLE.to_owned(),
            status: "True".to_owned(),
            reason: Some("Local".to_owned()),
            message: Some("Local APIServices are always available".to_owned()),
            last_transition_time: service.metadata.creation_timestamp.clone(),
        };
        service.status = Some(APIServiceStatus { conditions: local.then(|| vec![available]) });
    }

    fn prepare_for_status_update(new: &mut APIService, old: &APIService) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(service: &APIService) -> Vec<Cause> {
        let spec = service.spec.clone().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let required =
            format!("{}.{}", spec.version.as_deref().unwrap_or_default(), spec.group.as_deref().unwrap_or_default());
        let mut causes = Vec::new();
        if !name.is_empty() && name != required {
            let detail = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
            causes.push(field::invalid(&Path::new("metadata").child("name"), name, &detail));
        }
        causes.extend(validate(&spec, &Path::new("spec")));
        causes
    }

    fn validate_status_update(new: &APIService, _old: &APIService) -> Vec<Cause> {
        let path = Path::new("status").child("conditions");
        let unknown = conditions(new).iter().enumerate().filter(|(_, one)| !STATES.contains(&one.status.as_str()));
        unknown
            .map(|(index, one)| field::unsupported(&path.index(index).child("status"), &one.status, STATES))
            .collect()
    }

    fn cells(service: &APIService, now: Timestamp) -> Vec<Value> {
        let called = service.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let by = called
            .map_or_else(|| "Local".to_owned(), |called| format!("{}/{}", text(&called.namespace), text(&called.name)));
        vec![cells::name(&service.metadata), json!(by), json!(available(service)), cells::age(&service.metadata, now)]
    }
}

fn conditions(service: &APIService) -> &[APIServiceCondition] {
    service.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// Whether requests for the group version of an untyped APIService get through, as far as is known.
pub fn is_available(service: &Value) -> bool {
    let conditions = service.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == AVAILABLE && condition["status"] == "True")
}

/// `True`, or `False (FailedDiscoveryCheck)`.
fn available(service: &APIService) -> String {
    let Some(condition) = conditions(service).iter().find(|condition| condition.type_ == AVAILABLE) else {
        return "Unknown".to_owned();
    };
    if condition.status == "True" {
        return condition.status.clone();
    }
    format!("{} ({})", condition.status, condition.reason.as_deref().unwrap_or_default())
}

fn validate(spec: &APIServiceSpec, path: &Path) -> Vec<Cause> {
    let (group, version) = (spec.group.as_deref().unwrap_or_default(), spec.version.as_deref().unwrap_or_default());
    let mut causes = Vec::new();
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        causes.push(field::required(&path.child("group"), detail));
    }
    if !group.is_empty() {
        causes.extend(joined(&path.child("group"), group, &name::dns1123_subdomain(group)));
    }
    causes.extend(joined(&path.child("version"), version, &name::dns1035_label(version)));
    let priorities = [
        ("groupPriorityMinimum", spec.group_priority_minimum, MOST_GROUP_PRIORITY),
        ("versionPriority", spec.version_priority, MOST_VERSION_PRIORITY),
    ];
    for (name, priority, most) in priorities {
        if !(1..=most).contains(&priority) {
            let detail = format!("must be positive and less than {most}");
            causes.push(field::invalid(&path.child(name), priority, &detail));
        }
    }
    let bundle = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let insecure = spec.insecure_skip_tls_verify == Some(true);
    let insecure_path = path.child("insecureSkipTLSVerify");
    let Some(called) = &spec.service else {
        if bundle > 0 {
            let shown = format!("{bundle} bytes");
            causes.push(field::invalid(&path.child("caBundle"), shown, "local APIServices may not have a caBundle"));
        }
        if insecure {
            causes.push(field::invalid(&insecure_path, true, "local APIServices may not have insecureSkipTLSVerify"));
        }
        return causes;
    };
    for (name, text) in [("namespace", &called.namespace), ("name", &called.name)] {
        if text.as_deref().unwrap_or_default().is_empty() {
            causes.push(field::required(&path.child("service").child(name), ""));
        }
    }
    let port = called.port.unwrap_or(webhook::DEFAULT_PORT);
    let problems = network::port(port.into());
    if !problems.is_empty() {
        let detail = format!("port is not valid: {}", problems.join(", "));
        causes.push(field::invalid(&path.child("service").child("port"), port, &detail));
    }
    if insecure && bundle > 0 {
        causes.push(field::invalid(&insecure_path, true, "may not be true if caBundle is specified"));
    }
    causes
}

fn joined(path: &Path, text: &str, problems: &[String]) -> Option<Cause> {
    (!problems.is_empty()).then(|| field::invalid(path, text, &problems.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        decoded::Decoded,
        kind::{Strategy, Typed},
    };

    fn created(spec: Value) -> Decoded {
        let strategy = Typed::<ApiServiceKind>::default();
        let object = json!({"metadata": {"name": "v1.a.b", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec});
        strategy.prepare_for_create(object).unwrap()
    }

    #[test]
    fn what_the_server_serves_is_available_at_once() {
        let made = created(json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}));
        let strategy = Typed::<ApiServiceKind>::default();
        assert_eq!(strategy.validate(&made), []);
        assert_eq!(made["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(strategy.cells(&made, Timestamp::UNIX_EPOCH)[1..3], ["Local", "True"].map(Value::from));
    }

    #[test]
    fn a_service_behind_is_found_and_trusted() {
        let made = created(json!({"group": "x", "version": "v1", "groupPriorityMinimum": 0, "versionPriority": 1,
            "service": {"name": "s"}, "caBundle": "YQ==", "insecureSkipTLSVerify": true}));
        let causes = Typed::<ApiServiceKind>::default().validate(&made);
        let messages: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(
            messages,
            [
                "metadata.name: Invalid value: \"v1.a.b\": must be `spec.version+\".\"+spec.group`: \"v1.x\"",
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.service.namespace: Required value",
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is specified",
            ]
        );
        assert_eq!(made["spec"]["service"]["port"], 443);
    }
}
