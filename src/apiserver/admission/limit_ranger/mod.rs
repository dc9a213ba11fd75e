//! LimitRanger: containers get the requests and limits that the namespace's LimitRanges have for
//! those that name none, and nothing is admitted outside their bounds (Kubernetes documentation,
//! "Limit Ranges").

mod constraint;
mod defaults;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::GroupResource,
        meta,
        pod_resources::{self, Side},
    },
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings, limit_ranger::constraint::Asked, one_of_many},
        reader::Reader,
    },
};

const LIMIT_RANGES: GroupResource<'static> = GroupResource { group: "", resource: "limitranges" };

pub struct LimitRanger {
    reader: Arc<dyn Reader>,
}

impl LimitRanger {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn ranges(&self, namespace: &str) -> Vec<Value> {
        let ranges = self.reader.list(LIMIT_RANGES, Some(namespace));
        ranges.iter().filter_map(|range| serde_json::from_slice(range).ok()).collect()
    }
}

impl Plugin for LimitRanger {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<Warnings, Status> {
        if request.operation != Operation::Create || !request.is_for("", "pods") {
            return Ok(Warnings::new());
        }
        let ranges = self.ranges(&request.attributes.namespace);
        if !ranges.is_empty() {
            // A limit is a request too, where none is named: that comes first.
            *pod = request.kind.strategy.decode(std::mem::take(pod))?.into_value();
        }
        ranges.iter().for_each(|range| defaults::apply(range, pod));
        Ok(Warnings::new())
    }

    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        let Some(problems) = checker(request) else { return Ok(Warnings::new()) };
        if meta::deletion_timestamp(object).is_some() {
            return Ok(Warnings::new());
        }
        for range in self.ranges(&request.attributes.namespace) {
            let items = range["spec"]["limits"].as_array().into_iter().flatten();
            let found: Vec<String> = items.flat_map(|item| problems(item, object)).collect();
            if !found.is_empty() {
                return Err(request.forbid(object, &one_of_many(found)));
            }
        }
        Ok(Warnings::new())
    }
}

type Checker = fn(&Value, &Value) -> Vec<String>;

/// What checks the object of a request; `None` for requests that limits have nothing to say about.
/// A pod's resources change through `/resize` alone.
fn checker(request: &Request<'_>) -> Option<Checker> {
    let creates_pod = request.operation == Operation::Create && request.is_for("", "pods");
    let resizes_pod = request.operation == Operation::Update && request.is_for("", "pods/resize");
    if creates_pod || resizes_pod {
        return Some(pod_problems);
    }
    request.writes("", "persistentvolumeclaims").then_some(claim_problems)
}

/// Problems of a pod with one item of a LimitRange.
fn pod_problems(item: &Value, pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    match item["type"].as_str() {
        Some("Container") => ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list| pod_resources::containers(spec, list))
            .flat_map(|container| {
                let of = |side| pod_resources::of_container(container, side);
                constraint::problems(item, &Asked { requests: of(Side::Requests), limits: of(Side::Limits) })
            })
            .collect(),
        Some("Pod") => {
            let of = |side| pod_resources::of_pod(spec, side);
            constraint::problems(item, &Asked { requests: of(Side::Requests), limits: of(Side::Limits) })
        }
        _ => Vec::new(),
    }
}

/// Problems of a claim with one item of a LimitRange: only what is requested counts.
fn claim_problems(item: &Value, claim: &Value) -> Vec<String> {
    if item["type"] != "PersistentVolumeClaim" {
        return Vec::new();
    }
    constraint::problems_of_requests(item, &pod_resources::list(&claim["spec"]["resources"]["requests"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::kinds,
        apiserver::{admission::fixture, reader::fake::FakeReader},
    };

    fn plugin(limits: Value) -> LimitRanger {
        let reader = FakeReader::default();
        reader.put("", "limitranges", json!({"metadata": {"name": "l", "namespace": "a"}, "spec": {"limits": limits}}));
        LimitRanger::new(Arc::new(reader))
    }

    fn outcome(limits: Value, operation: Operation, resource: &str, object: &Value) -> Result<(), String> {
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", "", resource, "a", "x");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, operation, &kind, None);
        plugin(limits).validate(&request, object).map(|_| ()).map_err(|status| status.message)
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn a_container_stays_within_its_bounds() {
        let limits = json!([{"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}}]);
        let check = |resources: Value| outcome(limits.clone(), Operation::Create, "pods", &pod(resources));
        assert_eq!(check(json!({"requests": {"cpu": "200m"}, "limits": {"cpu": "1"}})), Ok(()));
        assert_eq!(
            check(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "500m"}})),
            Err(r#"pods "x" is forbidden: minimum cpu usage per Container is 100m, but request is 50m"#.into())
        );
        assert_eq!(
            check(json!({})),
            Err("pods \"x\" is forbidden: [minimum cpu usage per Container is 100m.  No request is specified, \
                 maximum cpu usage per Container is 1.  No limit is specified]"
                .into())
        );
    }

    #[test]
    fn a_pod_is_measured_as_a_whole_and_when_it_is_resized() {
        let limits = json!([{"type": "Pod", "max": {"memory": "1Gi"}}]);
        let large = pod(json!({"limits": {"memory": "2Gi"}}));
        let refused = Err(r#"pods "x" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 2Gi"#.to_owned());
        assert_eq!(outcome(limits.clone(), Operation::Create, "pods", &large), refused);
        assert_eq!(outcome(limits.clone(), Operation::Update, "pods/resize", &large), refused);
        assert_eq!(outcome(limits, Operation::Update, "pods", &large), Ok(()));
    }

    #[test]
    fn a_claim_is_measured_by_its_request() {
        let limits = json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}}]);
        let claim = |size: &str| {
            let claim = json!({"metadata": {"name": "x"}, "spec": {"resources": {"requests": {"storage": size}}}});
            outcome(limits.clone(), Operation::Create, "persistentvolumeclaims", &claim)
        };
        assert_eq!(claim("2Gi"), Ok(()));
        assert_eq!(
            claim("6Gi"),
            Err(r#"persistentvolumeclaims "x" is forbidden: maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"#.into())
        );
    }

    #[test]
    fn a_new_pod_gets_the_namespaces_defaults() {
        let limits = json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
                             "defaultRequest": {"cpu": "500m", "memory": "1Mi"}}]);
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", "", "pods", "a", "x");
        let kind = kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        let mut pod = pod(json!({"limits": {"memory": "2Gi"}}));
        plugin(limits).mutate(&request, &mut pod).unwrap();
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "500m", "memory": "2Gi"}})
        );
    }
}
