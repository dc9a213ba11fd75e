//! RuntimeClass: a pod gets the overhead of its runtime class, and is placed where the class can run
//! (KEP-585, KEP-688).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    api::{Status, kind::GroupResource, pod_resources},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        reader::Reader,
    },
};

const CLASSES: GroupResource<'static> = GroupResource { group: "node.k8s.io", resource: "runtimeclasses" };

pub struct RuntimeClass {
    reader: Arc<dyn Reader>,
}

impl RuntimeClass {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    /// The class of a new pod; `None` if it names none.
    fn class(&self, request: &Request<'_>, pod: &Value) -> Result<Option<Value>, Status> {
        let name = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
        if request.operation != Operation::Create || !request.is_for("", "pods") || name.is_empty() {
            return Ok(None);
        }
        let class = self.reader.get(CLASSES, "", name).and_then(|class| serde_json::from_slice(&class).ok());
        let missing = format!("pod rejected: RuntimeClass \"{name}\" not found");
        class.map(Some).ok_or_else(|| request.forbid(pod, &missing))
    }
}

impl Plugin for RuntimeClass {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<Warnings, Status> {
        if let Some(class) = self.class(request, pod)? {
            set_overhead(&mut pod["spec"], &class).map_err(|why| request.forbid(pod, &why))?;
            set_scheduling(&mut pod["spec"], &class).map_err(|why| request.forbid(pod, &why))?;
        }
        Ok(Warnings::new())
    }

    fn validate(&self, request: &Request<'_>, pod: &Value) -> Result<Warnings, Status> {
        let is_new = request.operation == Operation::Create && request.is_for("", "pods");
        let overhead = pod_resources::list(&pod["spec"]["overhead"]);
        if !is_new {
            return Ok(Warnings::new());
        }
        match self.class(request, pod)? {
            Some(class) if overhead != fixed(&class) => Err(request.forbid(pod, OVERHEAD_DIFFERS)),
            None if !overhead.is_empty() => Err(request
                .forbid(pod, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")),
            _ => Ok(Warnings::new()),
        }
    }
}

const OVERHEAD_DIFFERS: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn fixed(class: &Value) -> pod_resources::Amounts {
    pod_resources::list(&class["overhead"]["podFixed"])
}

fn set_overhead(spec: &mut Value, class: &Value) -> Result<(), String> {
    let (given, wanted) = (pod_resources::list(&spec["overhead"]), fixed(class));
    if !given.is_empty() && given != wanted {
        return Err(OVERHEAD_DIFFERS.to_owned());
    }
    if !wanted.is_empty() {
        spec["overhead"] = class["overhead"]["podFixed"].clone();
    }
    Ok(())
}

/// Adds the class's node selector, with which the pod's own must agree, and its tolerations.
fn set_scheduling(spec: &mut Value, class: &Value) -> Result<(), String> {
    for (key, value) in class["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
        let own = &spec["nodeSelector"][key];
        if own.is_string() && own != value {
            return Err(format!(
                "conflict: {key} is {own} in the pod's nodeSelector and {value} in the RuntimeClass's"
            ));
        }
        if !spec["nodeSelector"].is_object() {
            spec["nodeSelector"] = json!({});
        }
        spec["nodeSelector"][key] = value.clone();
    }
    let more = class["scheduling"]["tolerations"].as_array().into_iter().flatten();
    let own = spec["tolerations"].as_array().cloned().unwrap_or_default();
    let added: Vec<Value> = more.filter(|toleration| !own.contains(toleration)).cloned().collect();
    if !added.is_empty() {
        spec["tolerations"] = own.into_iter().chain(added).collect();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    fn admit(mut pod: Value) -> Result<Value, String> {
        let reader = FakeReader::default();
        let class = json!({"metadata": {"name": "vm"}, "handler": "vm",
            "overhead": {"podFixed": {"cpu": "250m", "memory": "120Mi"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
        reader.put("node.k8s.io", "runtimeclasses", class);
        let plugin = RuntimeClass::new(Arc::new(reader));
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", "", "pods", "a", "x");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        plugin.mutate(&request, &mut pod).map_err(|status| status.message)?;
        plugin.validate(&request, &pod).map_err(|status| status.message)?;
        Ok(pod["spec"].clone())
    }

    #[test]
    fn a_pod_takes_overhead_and_place_from_its_class() {
        let spec = json!({"runtimeClassName": "vm", "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a"}]});
        let spec = admit(json!({"spec": spec})).unwrap();
        assert_eq!(spec["overhead"], json!({"cpu": "250m", "memory": "120Mi"}));
        assert_eq!(spec["nodeSelector"], json!({"disk": "ssd", "vm": "yes"}));
        assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_contradicts_the_class_is_refused() {
        let outcome = |spec: Value| admit(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap_err();
        let refused = |why: &str| format!("pods \"x\" is forbidden: {why}");
        assert_eq!(
            outcome(json!({"runtimeClassName": "none"})),
            refused("pod rejected: RuntimeClass \"none\" not found")
        );
        assert_eq!(outcome(json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}})), refused(OVERHEAD_DIFFERS));
        assert_eq!(
            outcome(json!({"overhead": {"cpu": "1"}})),
            refused("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        );
        assert!(outcome(json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}})).contains("conflict"));
    }
}
