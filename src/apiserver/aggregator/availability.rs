//! Whether the server behind an APIService can be asked: its service must be there with the port and
//! endpoints, and the path of the group version must answer (upstream's availability controllers).

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    target::{ServicePort, Target},
    way::{Wanted, Way},
};
use crate::{
    api::{kind::GroupResource, kinds::api_service::AVAILABLE, time},
    apiserver::{nodes::endpoints, reader::Reader},
};

pub(super) const SERVICES: GroupResource<'static> = GroupResource { group: "", resource: "services" };
/// How many more endpoints are tried at once when the first does not answer.
const FURTHER_ATTEMPTS: usize = 4;

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether requests get through.
    pub is_available: bool,
    /// In one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What there is of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    service: Option<Value>,
    slices: Vec<Value>,
}

impl Circumstances {
    /// Looks for the service and its endpoints.
    pub fn of(reader: &dyn Reader, wanted: &ServicePort) -> Self {
        let service = reader.get(SERVICES, &wanted.namespace, &wanted.name);
        Self {
            service: service.and_then(|json| serde_json::from_slice(&json).ok()),
            slices: endpoints::slices(reader, &wanted.namespace, &wanted.name),
        }
    }

    /// What keeps requests from getting through, as far as it can be seen from here.
    fn obstacle(&self, wanted: &ServicePort) -> Option<Verdict> {
        let ServicePort { namespace, name, port } = wanted;
        let no = |reason, message| Some(Verdict { is_available: false, reason, message });
        let Some(service) = &self.service else {
            return no("ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
        };
        if service["spec"]["type"].as_str().unwrap_or("ClusterIP") != "ClusterIP" {
            return None;
        }
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let Some(found) = ports.find(|one| one["port"] == *port) else {
            let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
            return no("ServicePortError", message);
        };
        if self.slices.is_empty() {
            let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return no("EndpointsNotFound", message);
        }
        let port_name = found["name"].as_str().unwrap_or_default();
        if self.slices.iter().any(|slice| has_endpoint(slice, port_name)) {
            return None;
        }
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        no("MissingEndpoints", message)
    }
}

impl Verdict {
    /// What is said of group versions that this server serves itself.
    pub fn local() -> Self {
        let message = "Local APIServices are always available".to_owned();
        Self { is_available: true, reason: "Local", message }
    }

    fn passed() -> Self {
        Self { is_available: true, reason: "Passed", message: "all checks passed".to_owned() }
    }

    /// The status that says so; `None` if `object` has it.
    pub fn status(&self, object: &Value, now: Timestamp) -> Option<Value> {
        let holds = if self.is_available { "True" } else { "False" };
        let mut conditions =
            object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let before = conditions.iter().position(|condition| condition["type"] == AVAILABLE);
        let mut condition = json!({"type": AVAILABLE, "status": holds, "reason": self.reason,
                                   "message": self.message, "lastTransitionTime": time::format(now)});
        match before {
            Some(at) => {
                let known = &conditions[at];
                if known["status"] == holds {
                    if known["reason"] == self.reason && known["message"] == *self.message {
                        return None;
                    }
                    condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
                }
                conditions[at] = condition;
            }
            None => conditions.push(condition),
        }
        Some(json!({"conditions": conditions}))
    }
}

/// Checks a server: what there is of its service, then whether it answers.
pub async fn check(way: &Way, target: &Target, circumstances: &Circumstances) -> Verdict {
    if let Some(obstacle) = circumstances.obstacle(&target.service) {
        return obstacle;
    }
    match answers(way, target).await {
        Ok(()) => Verdict::passed(),
        Err(message) => Verdict { is_available: false, reason: "FailedDiscoveryCheck", message },
    }
}

/// Another endpoint may answer where one does not: one attempt that succeeds is enough.
async fn answers(way: &Way, target: &Target) -> Result<(), String> {
    let Err(mut last) = attempt(way, target).await else { return Ok(()) };
    let mut further: FuturesUnordered<_> = (0..FURTHER_ATTEMPTS).map(|_| attempt(way, target)).collect();
    while let Some(outcome) = further.next().await {
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn attempt(way: &Way, target: &Target) -> Result<(), String> {
    let path = target.path();
    let url = format!("https://{}{path}", way.peer(target).place.authority());
    let failed = |error: String| format!("failing or missing response from {url}: {error}");
    let wanted = Wanted { path: &path, accept: "", etag: "" };
    let answer = way.get(target, wanted).await.map_err(|error| failed(format!("Get {url:?}: {error}")))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(failed(format!("bad status from {url}: {}", status.as_u16())))
}

fn has_endpoint(slice: &Value, port_name: &str) -> bool {
    let mut endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    endpoints.any(|endpoint| endpoint["conditions"]["ready"] != false)
        && ports.any(|port| port["name"].as_str().unwrap_or_default() == port_name && !port["port"].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    fn found(reader: &FakeReader) -> &'static str {
        let wanted = ServicePort { namespace: "n".into(), name: "s".into(), port: 443 };
        Circumstances::of(reader, &wanted).obstacle(&wanted).map_or("", |verdict| verdict.reason)
    }

    fn slice(ready: bool, port: &str) -> Value {
        json!({"metadata": {"name": "s-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "s"}},
               "ports": [{"name": port, "port": 8443}], "endpoints": [{"conditions": {"ready": ready}}]})
    }

    #[test]
    fn what_is_missing_is_named() {
        let reader = FakeReader::default();
        assert_eq!(found(&reader), "ServiceNotFound");
        let service = |port: u16| {
            json!({"metadata": {"name": "s", "namespace": "n"},
                   "spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": port}]}})
        };
        reader.put("", "services", service(80));
        assert_eq!(found(&reader), "ServicePortError");
        reader.put("", "services", service(443));
        assert_eq!(found(&reader), "EndpointsNotFound");
        reader.put("discovery.k8s.io", "endpointslices", slice(false, "https"));
        assert_eq!(found(&reader), "MissingEndpoints");
        reader.put("discovery.k8s.io", "endpointslices", slice(true, "http"));
        assert_eq!(found(&reader), "MissingEndpoints");
        reader.put("discovery.k8s.io", "endpointslices", slice(true, "https"));
        assert_eq!(found(&reader), "");
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_turn() {
        let now = Timestamp::UNIX_EPOCH;
        let verdict = Verdict::passed();
        let status = verdict.status(&json!({}), now).unwrap();
        let object = json!({"status": status});
        assert_eq!(verdict.status(&object, Timestamp::now()), None);
        let local = Verdict::local().status(&object, Timestamp::now()).unwrap();
        assert_eq!(local["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(local["conditions"][0]["reason"], "Local");
        let no = Verdict { is_available: false, reason: "ServiceNotFound", message: String::new() };
        let status = no.status(&object, Timestamp::now()).unwrap();
        assert_ne!(status["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
    }
}
