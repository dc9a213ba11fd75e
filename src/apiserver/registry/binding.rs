//! Binding of a pod to a node: `POST …/pods/{name}/binding`, and the older `POST …/bindings`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{Status, field, meta, time},
    apiserver::registry::{CONFLICT_RETRIES, Call, MODIFIED, Registry, parse},
};

impl Registry {
    /// Sets a pod's node, once. `call` names the pod.
    pub async fn bind(&self, call: &Call<'_>, binding: &Value) -> Result<(), Status> {
        let binding = &self.admit_part(call, "v1", "Binding", binding).await?;
        let node = target(call, binding)?;
        let (cache, key) = self.locate(call)?;
        for _ in 0..CONFLICT_RETRIES {
            let current = cache.get(&key).ok_or_else(|| call.not_found())?;
            let old = parse(&current)?;
            check(call, binding, &old)?;
            let mut new = old.clone();
            assign(&mut new, binding, node);
            if self.replace(call, &current, (new, Value::Null), &old).await?.is_some() {
                return Ok(());
            }
        }
        Err(call.conflict(MODIFIED))
    }
}

fn target<'b>(call: &Call<'_>, binding: &'b Value) -> Result<&'b str, Status> {
    let text = |pointer: &str| binding.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let path = field::Path::new("target");
    let mut causes = Vec::new();
    if !matches!(text("/target/kind"), "" | "Node") {
        causes.push(field::unsupported(&path.child("kind"), text("/target/kind"), &["Node", "<empty>"]));
    }
    let node = text("/target/name");
    if node.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    }
    if causes.is_empty() { Ok(node) } else { Err(Status::invalid("", "Binding", &call.attributes.name, causes)) }
}

fn check(call: &Call<'_>, binding: &Value, pod: &Value) -> Result<(), Status> {
    let name = &call.attributes.name;
    let refuse = |why: String| Err(Status::conflict("", "pods/binding", name, &why));
    let uid = meta::uid(binding);
    if !uid.is_empty() && uid != meta::uid(pod) {
        let existing = meta::uid(pod);
        return refuse(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {existing}"));
    }
    if meta::deletion_timestamp(pod).is_some() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    match pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default() {
        "" => {}
        node => return refuse(format!("pod {name} is already assigned to node \"{node}\"")),
    }
    let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array).map_or(0, Vec::len);
    if gates > 0 {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    Ok(())
}

fn assign(pod: &mut Value, binding: &Value, node: &str) {
    pod["spec"]["nodeName"] = node.into();
    if meta::generation(pod) > 0 {
        meta::set(pod, "generation", meta::generation(pod) + 1);
    }
    let annotations: Vec<(String, String)> =
        meta::annotations(binding).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    for (key, value) in annotations {
        pod["metadata"]["annotations"][key] = value.into();
    }
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
                           "lastTransitionTime": time::format(Timestamp::now())});
    let conditions = &mut pod["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(list) => {
            list.retain(|condition| condition["type"] != "PodScheduled");
            list.push(scheduled);
        }
        None => *conditions = json!([scheduled]),
    }
}
