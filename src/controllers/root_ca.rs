//! The root CA publisher: every namespace has the config map `kube-root-ca.crt`, with which pods
//! verify the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams, runtime::watcher};

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, is_conflict, service_account},
};

const NAME: &str = "root-ca-cert-publisher";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let namespaces = service_account::watch_namespaces(&context.informers, &queue);
    let config = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let published: Informer<ConfigMap> =
        Informer::start(context.informers.supervisor(), Api::all(context.informers.client()), config);
    let nudged = queue.clone();
    published.on_change(move |delta| nudged.add(delta.latest().metadata.namespace.clone().unwrap_or_default()));
    namespaces.synced().await;
    published.synced().await;
    let client = context.client(NAME);
    let data = BTreeMap::from([(KEY.to_owned(), context.config.root_ca_pem.clone())]);
    let reconcile = |namespace: String| {
        let present = published.get(&ObjectKey::new(&*namespace, CONFIG_MAP));
        let wanted = service_account::wants(&namespaces, &namespace)
            && present.as_ref().is_none_or(|present| present.data.as_ref() != Some(&data));
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        let data = data.clone();
        async move {
            if !wanted {
                return Ok(Outcome::Done);
            }
            publish(&api, present.map(|present| (*present).clone()), data).await.map(|()| Outcome::Done)
        }
    };
    queue.run(NAME, 4, reconcile).await;
}

async fn publish(api: &Api<ConfigMap>, present: Option<ConfigMap>, data: BTreeMap<String, String>) -> kube::Result<()> {
    let exists = present.is_some();
    let mut object = present.unwrap_or_default();
    object.metadata.name = Some(CONFIG_MAP.into());
    object.data = Some(data);
    let written = if exists {
        api.replace(CONFIG_MAP, &PostParams::default(), &object).await
    } else {
        object.metadata.annotations = Some(BTreeMap::from([(
            "kubernetes.io/description".into(),
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
             such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
             distributions of Kubernetes clusters."
                .into(),
        )]));
        api.create(&PostParams::default(), &object).await
    };
    match written {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}
