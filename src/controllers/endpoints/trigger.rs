//! When the change happened that an object of endpoints was last written for, which measures how long the
//! network takes to follow (KEP-383, "EndpointsLastChangeTriggerTime").

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;

use crate::{
    client::{ObjectKey, pod::Pod},
    controllers::endpoints::Backend,
};

/// The annotation that tells it.
const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What was seen of each Service when it was last looked at.
#[derive(Default)]
pub struct Triggers(Mutex<HashMap<ObjectKey, Seen>>);

#[derive(Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: BTreeMap<Box<str>, Timestamp>,
}

impl Triggers {
    /// The earliest of the changes since the last call: that of the Service, or of a pod's readiness. `None` if
    /// nothing of that kind has changed.
    pub fn next(&self, key: &ObjectKey, service: &Service, backends: &[Backend]) -> Option<Timestamp> {
        let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let pods = backends.iter().filter_map(|backend| {
            let name = backend.pod.metadata.name.as_deref()?;
            Some((name.into(), ready_since(&backend.pod)?))
        });
        let seen = Seen { service: created, pods: pods.collect() };
        let mut all = self.0.lock();
        let Some(before) = all.get(key) else {
            all.insert(key.clone(), seen);
            return created;
        };
        let changed = seen.pods.iter().filter(|(name, time)| before.pods.get(*name).is_none_or(|known| *time > known));
        let changed = changed.map(|(_, time)| *time).chain(created.filter(|_| seen.service > before.service)).min();
        all.insert(key.clone(), seen);
        changed
    }

    /// The Service is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }
}

/// Sets or removes the annotation.
pub fn annotate(annotations: &mut Option<BTreeMap<String, String>>, trigger: Option<Timestamp>) {
    match trigger {
        Some(trigger) => {
            _ = annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), trigger.to_string());
        }
        None => {
            if let Some(annotations) = annotations {
                annotations.remove(ANNOTATION);
            }
        }
    }
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::controllers::endpoints;

    fn backends(service: &Service, pods: &[(&str, &str)]) -> Vec<Backend> {
        let pod = |(name, since): &(&str, &str)| {
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
            let pod = json!({"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"containers": []},
                             "status": {"podIPs": [{"ip": "10.0.0.1"}], "conditions": [ready]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let pods: Vec<Arc<Pod>> = pods.iter().map(pod).collect();
        endpoints::backends(service, &pods).unwrap()
    }

    #[test]
    fn the_earliest_of_new_changes_is_told() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:01Z"},
            "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]},
        }))
        .unwrap();
        let (triggers, key) = (Triggers::default(), ObjectKey::new("d", "web"));
        let next = |pods: &[(&str, &str)]| {
            triggers.next(&key, &service, &backends(&service, pods)).map(|time| time.to_string())
        };
        let first = [("x", "2026-01-01T00:00:05Z")];
        assert_eq!(next(&first).as_deref(), Some("2026-01-01T00:00:01Z"));
        assert_eq!(next(&first), None);
        let more = [("x", "2026-01-01T00:00:09Z"), ("y", "2026-01-01T00:00:07Z")];
        assert_eq!(next(&more).as_deref(), Some("2026-01-01T00:00:07Z"));
        assert_eq!(next(&more[..1]), None);
        triggers.forget(&key);
        assert_eq!(
            triggers.next(&key, &service, &[]).map(|time| time.to_string()).as_deref(),
            Some("2026-01-01T00:00:01Z")
        );
    }

    #[test]
    fn what_no_longer_holds_is_removed() {
        let mut annotations = None;
        annotate(&mut annotations, Some("2026-01-01T00:00:07Z".parse().unwrap()));
        assert_eq!(annotations.as_ref().unwrap()[ANNOTATION], "2026-01-01T00:00:07Z");
        annotate(&mut annotations, None);
        assert_eq!(annotations, Some(BTreeMap::new()));
    }
}
