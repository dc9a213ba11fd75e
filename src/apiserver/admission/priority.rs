//! Priority: the name of a pod's priority class becomes the number that the scheduler compares.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        admission::{Plugin, Request, Warnings},
        reader::Reader,
    },
};

const CLASSES: GroupResource<'static> = GroupResource { group: "scheduling.k8s.io", resource: "priorityclasses" };
/// Classes that are there before any object of the kind is.
const BUILT_IN: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const PREEMPT: &str = "PreemptLowerPriority";

pub struct Priority {
    reader: Arc<dyn Reader>,
}

#[derive(Debug, PartialEq, Eq)]
struct Class {
    name: String,
    value: i64,
    preemption: String,
}

impl Priority {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn named(&self, name: &str) -> Option<Class> {
        let stored = self.reader.get(CLASSES, "", name).and_then(|class| serde_json::from_slice(&class).ok());
        stored.map(|class| parse(&class)).or_else(|| {
            let (name, value) = BUILT_IN.into_iter().find(|(built_in, _)| *built_in == name)?;
            Some(Class { name: name.into(), value, preemption: PREEMPT.into() })
        })
    }

    /// The class of pods that name none: the lowest of those marked so, as upstream chooses.
    fn default_class(&self) -> Class {
        let classes = self.reader.list(CLASSES, None);
        classes
            .iter()
            .filter_map(|class| serde_json::from_slice::<Value>(class).ok())
            .filter(|class| class["globalDefault"] == true)
            .map(|class| parse(&class))
            .min_by_key(|class| class.value)
            .unwrap_or_else(|| Class { name: String::new(), value: 0, preemption: PREEMPT.into() })
    }
}

impl Plugin for Priority {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<Warnings, Status> {
        if !request.writes("", "pods") || !pod["spec"].is_object() {
            return Ok(Warnings::new());
        }
        if let Some(old) = request.old {
            keep(&mut pod["spec"], &old["spec"]);
            return Ok(Warnings::new());
        }
        let class = match pod["spec"]["priorityClassName"].as_str().unwrap_or_default() {
            "" => self.default_class(),
            name => match self.named(name) {
                Some(class) => class,
                None => return Err(request.forbid(pod, &format!("no PriorityClass with name {name} was found"))),
            },
        };
        if let Some(given) = pod["spec"]["priority"].as_i64().filter(|given| *given != class.value) {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; \
                 priority admission controller computed {} from the given PriorityClass name",
                class.value
            );
            return Err(request.forbid(pod, &why));
        }
        if let Some(given) = pod["spec"]["preemptionPolicy"].as_str().filter(|given| *given != class.preemption) {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
                 priority admission controller computed {} from the given PriorityClass name",
                class.preemption
            );
            return Err(request.forbid(pod, &why));
        }
        apply(&mut pod["spec"], class);
        Ok(Warnings::new())
    }

    fn validate(&self, request: &Request<'_>, class: &Value) -> Result<Warnings, Status> {
        if !request.writes(CLASSES.group, CLASSES.resource) || class["globalDefault"] != true {
            return Ok(Warnings::new());
        }
        let classes = self.reader.list(CLASSES, None);
        let classes = classes.iter().filter_map(|class| serde_json::from_slice::<Value>(class).ok());
        let mut defaults = classes.filter(|other| other["globalDefault"] == true);
        if let Some(other) = defaults.find(|other| meta::name(other) != meta::name(class)) {
            let name = meta::name(&other);
            let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            return Err(request.forbid(class, &why));
        }
        Ok(Warnings::new())
    }
}

/// Clients that write a pod back as they once made it do not know what was computed.
fn keep(spec: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if spec[field].is_null() && !old[field].is_null() {
            spec[field] = old[field].clone();
        }
    }
}

fn apply(spec: &mut Value, class: Class) {
    if !class.name.is_empty() {
        spec["priorityClassName"] = class.name.into();
    }
    spec["priority"] = class.value.into();
    if spec["preemptionPolicy"].as_str().is_none() {
        spec["preemptionPolicy"] = class.preemption.into();
    }
}

fn parse(class: &Value) -> Class {
    Class {
        name: class["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        value: class["value"].as_i64().unwrap_or_default(),
        preemption: class["preemptionPolicy"].as_str().unwrap_or(PREEMPT).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{
        admission::{Operation, fixture},
        reader::fake::FakeReader,
    };

    async fn admit(spec: Value) -> Result<Value, Status> {
        let reader = FakeReader::default();
        reader.put(CLASSES.group, CLASSES.resource, json!({"metadata": {"name": "high"}, "value": 1000}));
        reader.put(
            CLASSES.group,
            CLASSES.resource,
            json!({"metadata": {"name": "usual"}, "value": 10, "globalDefault": true}),
        );
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", "", "pods", "a", "web");
        let kind = fixture::any_kind();
        let mut pod = json!({"metadata": {"name": "web"}, "spec": spec});
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        Priority::new(Arc::new(reader)).mutate(&request, &mut pod)?;
        Ok(pod["spec"].clone())
    }

    #[tokio::test]
    async fn names_become_numbers() {
        assert_eq!(admit(json!({"priorityClassName": "high"})).await.unwrap()["priority"], 1000);
        assert_eq!(
            admit(json!({"priorityClassName": "system-node-critical"})).await.unwrap()["priority"],
            2_000_001_000
        );
        let usual = admit(json!({})).await.unwrap();
        assert_eq!((&usual["priority"], &usual["priorityClassName"]), (&json!(10), &json!("usual")));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused() {
        let unknown = admit(json!({"priorityClassName": "x"})).await.unwrap_err();
        assert_eq!(unknown.message, r#"pods "web" is forbidden: no PriorityClass with name x was found"#);
        assert!(admit(json!({"priority": 5})).await.unwrap_err().message.contains("must not be provided"));
    }

    #[tokio::test]
    async fn preemption_is_the_classs_business() {
        let refused = admit(json!({"priorityClassName": "high", "preemptionPolicy": "Never"})).await.unwrap_err();
        assert!(refused.message.contains("the string value of PreemptionPolicy (Never) must not be provided"));
    }

    #[test]
    fn an_update_keeps_what_was_computed() {
        let mut spec = json!({"containers": []});
        keep(&mut spec, &json!({"priority": 7, "preemptionPolicy": "Never"}));
        assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(7), &json!("Never")));
    }

    #[test]
    fn there_is_one_default_class() {
        let reader = FakeReader::default();
        let class = |name: &str| json!({"metadata": {"name": name}, "value": 10, "globalDefault": true});
        reader.put(CLASSES.group, CLASSES.resource, class("usual"));
        let user = fixture::user("jane", &[]);
        let attributes = fixture::attributes(user, "create", CLASSES.group, CLASSES.resource, "", "other");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        let plugin = Priority::new(Arc::new(reader));
        let refused = plugin.validate(&request, &class("other")).unwrap_err();
        assert!(refused.message.contains("PriorityClass usual is already marked as default"));
        assert!(plugin.validate(&request, &class("usual")).is_ok());
    }
}
