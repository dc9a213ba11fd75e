//! Node secrets: a node's name belongs to the machine that first joined under it, which proves
//! itself by a secret whose hash the server keeps. With the Node object the name becomes free again.

use k8s_openapi::api::core::v1::{Node, Secret};
use kube::{Api, api::DeleteParams};

use crate::{
    api::kinds::node,
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found},
};

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let (nodes, nudged) = (context.informers.of::<Node>(), queue.clone());
    nodes.on_change(move |delta| {
        if delta.new.is_none() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    let api: Api<Secret> = Api::namespaced(context.own_client.clone(), node::SECRET_NAMESPACE);
    let reconcile = |key: ObjectKey| {
        let (nodes, api) = (nodes.clone(), api.clone());
        async move {
            // A node that lives has registered again.
            if nodes.get(&key).is_none() {
                ignore_not_found(api.delete(&node::secret_name(&key.name), &DeleteParams::default()).await)?;
            }
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run("node secrets", 1, reconcile).await;
}
