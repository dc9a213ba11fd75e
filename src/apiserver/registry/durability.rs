//! Which writes need not survive a power cut: those that are worthless afterwards, because whoever wrote them
//! does so again. They spare the disk of an idle machine.

use serde_json::Value;

use crate::{api::kind::Descriptor, store::Durability};

/// Resources whose changes are all of that kind.
const RELAXED: [(&str, &str); 3] = [("coordination.k8s.io", "leases"), ("", "events"), ("events.k8s.io", "events")];
const NODES: (&str, &str) = ("", "nodes");

/// Of the creation or removal of an object.
pub fn of(kind: &Descriptor) -> Durability {
    if RELAXED.contains(&(&*kind.group, &*kind.plural)) { Durability::Relaxed } else { Durability::Strict }
}

/// Of a change of an object.
pub fn of_change(kind: &Descriptor, old: &Value, new: &Value) -> Durability {
    if NODES == (&*kind.group, &*kind.plural) && is_heartbeat(old, new) { Durability::Relaxed } else { of(kind) }
}

/// Whether a node says no more than that it is still there.
fn is_heartbeat(old: &Value, new: &Value) -> bool {
    let silent = |node: &Value| {
        let mut node = node.clone();
        let conditions = node.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
            condition.remove("lastHeartbeatTime");
        }
        node
    };
    silent(old) == silent(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kinds;

    fn change(plural: &str, old: Value, new: Value) -> Durability {
        let kind = kinds::all().into_iter().find(|kind| kind.plural == plural).unwrap();
        of_change(&kind, &old, &new)
    }

    #[test]
    fn only_the_heartbeat_of_a_node_may_be_lost() {
        let node = |status: &str, beat: &str| {
            json!({"metadata": {"name": "n"}, "status": {"conditions": [
                {"type": "Ready", "status": status, "lastHeartbeatTime": beat}]}})
        };
        assert_eq!(change("nodes", node("True", "1"), node("True", "2")), Durability::Relaxed);
        assert_eq!(change("nodes", node("True", "1"), node("False", "2")), Durability::Strict);
        let labelled = json!({"metadata": {"name": "n", "labels": {"a": "b"}}});
        assert_eq!(change("nodes", json!({"metadata": {"name": "n"}}), labelled), Durability::Strict);
        assert_eq!(change("pods", node("True", "1"), node("True", "2")), Durability::Strict);
        assert_eq!(change("leases", json!({}), json!({"spec": {}})), Durability::Relaxed);
    }
}
