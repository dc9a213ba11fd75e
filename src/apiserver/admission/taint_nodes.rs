//! TaintNodesByCondition: a new node takes no pods until its conditions have been looked at.

use serde_json::{Value, json};

use crate::{
    api::Status,
    apiserver::admission::{Operation, Plugin, Request, Warnings},
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn mutate(&self, request: &Request<'_>, node: &mut Value) -> Result<Warnings, Status> {
        if request.operation == Operation::Create && request.is_for("", "nodes") {
            taint(&mut node["spec"]);
        }
        Ok(Warnings::new())
    }
}

fn taint(spec: &mut Value) {
    if !spec.is_object() {
        *spec = json!({});
    }
    let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
    match spec["taints"].as_array_mut() {
        None => spec["taints"] = json!([taint]),
        Some(taints) if taints.iter().any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule") => {}
        Some(taints) => taints.push(taint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_once() {
        let mut spec = Value::Null;
        taint(&mut spec);
        taint(&mut spec);
        assert_eq!(spec, json!({"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]}));
    }
}
