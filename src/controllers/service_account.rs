//! The service account controller: every namespace has a `default` service account.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, api::PostParams};

use crate::{
    client::{
        ObjectKey,
        informer::{Informer, Informers},
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, is_conflict},
};

const NAME: &str = "service-account-controller";
const DEFAULT: &str = "default";

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let namespaces = watch_namespaces(&context.informers, &queue);
    let accounts = context.informers.of::<ServiceAccount>();
    let nudged = queue.clone();
    accounts.on_change(move |delta| {
        if delta.new.is_none() {
            nudged.add(delta.latest().metadata.namespace.clone().unwrap_or_default());
        }
    });
    namespaces.synced().await;
    accounts.synced().await;
    let client = context.client(NAME);
    let reconcile = |namespace: String| {
        let missing = wants(&namespaces, &namespace) && accounts.get(&ObjectKey::new(&*namespace, DEFAULT)).is_none();
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        async move {
            let mut account = ServiceAccount::default();
            account.metadata.name = Some(DEFAULT.into());
            if missing {
                match api.create(&PostParams::default(), &account).await {
                    Err(error) if !is_conflict(&error) => return Err(error),
                    _ => {}
                }
            }
            Ok(Outcome::Done)
        }
    };
    queue.run(NAME, 4, reconcile).await;
}

/// Feeds `queue` with the name of every namespace that comes or changes.
pub(super) fn watch_namespaces(informers: &Informers, queue: &WorkQueue<String>) -> Informer<Namespace> {
    let namespaces = informers.of::<Namespace>();
    let nudged = queue.clone();
    namespaces.on_change(move |delta| nudged.add(delta.latest().metadata.name.clone().unwrap_or_default()));
    namespaces
}

/// Whether the namespace is there and is not being deleted.
pub(super) fn wants(namespaces: &Informer<Namespace>, name: &str) -> bool {
    namespaces.get(&ObjectKey::new("", name)).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
}
