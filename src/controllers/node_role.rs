//! The role of the server's own node: the label by which `kubectl get nodes` shows that a node is part
//! of the control plane. The node itself may not set it, since roles decide what is scheduled where.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use crate::{
    api::kinds::node::ROLE_PREFIX,
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found},
};

const ROLE: &str = "control-plane";

pub(super) async fn run(context: Context) {
    let Some(own) = context.config.own_node.clone() else { return };
    let queue = WorkQueue::<ObjectKey>::new();
    let (nodes, nudged) = (context.informers.of::<Node>(), queue.clone());
    nodes.on_change(move |delta| {
        if delta.new.is_some_and(|node| node.metadata.name.as_deref() == Some(&own) && lacks_role(node)) {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let api: Api<Node> = Api::all(context.own_client.clone());
    let reconcile = |key: ObjectKey| {
        let (nodes, api) = (nodes.clone(), api.clone());
        async move {
            if nodes.get(&key).is_some_and(|node| lacks_role(&node)) {
                let patch = serde_json::json!({"metadata": {"labels": {label(): "true"}}});
                ignore_not_found(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
            }
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run("node role", 1, reconcile).await;
}

fn label() -> String {
    format!("{ROLE_PREFIX}{ROLE}")
}

/// A label that somebody has set to another value is left alone.
fn lacks_role(node: &Node) -> bool {
    node.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(&label()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_there_is_left_alone() {
        let mut node = Node::default();
        assert!(lacks_role(&node));
        node.metadata.labels = Some([(label(), String::new())].into());
        assert!(!lacks_role(&node));
    }
}
