//! ServiceAccount: every pod runs as an account, which must be there; its token, the cluster's CA and
//! the namespace are mounted where client libraries look, and its pull secrets are used.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings, node_restriction},
        reader::Reader,
    },
};

mod secrets;

/// Where client libraries look for their credentials.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// The account of pods that name none.
const DEFAULT: &str = "default";
/// Annotation of pods that only mirror what a kubelet runs from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// An hour, and seven seconds by which upstream tells its own volumes from others'.
const TOKEN_SECONDS: i64 = 3607;
/// A namespace's default account appears shortly after the namespace: so often it is looked for.
const LOOKUPS: usize = 20;
const LOOKUP_PAUSE: Duration = Duration::from_millis(50);
/// Kubernetes' alphabet of random suffixes: no vowels, so no words.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub struct ServiceAccount {
    reader: Arc<dyn Reader>,
}

impl ServiceAccount {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Value> {
        let resource = GroupResource { group: "", resource: "serviceaccounts" };
        let account = self.reader.get(resource, namespace, name)?;
        serde_json::from_slice(&account).ok()
    }

    /// The account of a pod, or 403.
    fn account(&self, request: &Request<'_>, pod: &Value) -> Result<Value, Status> {
        let (namespace, name) = (&request.attributes.namespace, account_name(pod));
        self.find(namespace, name).ok_or_else(|| {
            let why =
                format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found");
            request.forbid(pod, &why)
        })
    }

    async fn wait_for(&self, namespace: &str, name: &str) {
        for _ in 0..LOOKUPS {
            if self.find(namespace, name).is_some() {
                return;
            }
            tokio::time::sleep(LOOKUP_PAUSE).await;
        }
    }
}

impl Plugin for ServiceAccount {
    fn wait<'a>(&'a self, request: &'a Request<'_>, pod: &'a Value) -> BoxFuture<'a, ()> {
        // Only the default account comes by itself.
        let is_awaited = is_new_pod(request) && meta::annotation(pod, MIRROR).is_none() && account_name(pod) == DEFAULT;
        if !is_awaited {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(self.wait_for(&request.attributes.namespace, account_name(pod)))
    }

    fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<Warnings, Status> {
        if !is_new_pod(request) {
            return Ok(Warnings::new());
        }
        if meta::annotation(pod, MIRROR).is_some() {
            return mirror(request, pod).map(|()| Warnings::new());
        }
        let name = account_name(pod).to_owned();
        let account = self.account(request, pod)?;
        pod["spec"]["serviceAccountName"] = name.clone().into();
        pod["spec"]["serviceAccount"] = name.into();
        use_pull_secrets(pod, &account);
        if wants_token(pod, &account) {
            mount_token(pod);
        }
        Ok(Warnings::new())
    }

    fn validate(&self, request: &Request<'_>, pod: &Value) -> Result<Warnings, Status> {
        if request.operation == Operation::Update && request.is_for("", "pods/ephemeralcontainers") {
            let account = self.account(request, pod)?;
            if secrets::are_limited(&account) {
                secrets::check_ephemeral(pod, &account).map_err(|why| request.forbid(pod, &why))?;
            }
        } else if is_new_pod(request) && meta::annotation(pod, MIRROR).is_none() {
            let account = self.account(request, pod)?;
            if secrets::are_limited(&account) {
                secrets::check_pod(pod, &account).map_err(|why| request.forbid(pod, &why))?;
            }
        } else if is_new_pod(request) {
            mirror(request, pod)?;
        }
        Ok(Warnings::new())
    }
}

fn is_new_pod(request: &Request<'_>) -> bool {
    request.operation == Operation::Create && request.is_for("", "pods")
}

/// A mirror pod must not get at anything through an account (upstream's wording).
fn mirror(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    let spec = &pod["spec"];
    let is_set = |field: &&str| spec[*field].as_str().is_some_and(|name| !name.is_empty());
    if ["serviceAccountName", "serviceAccount"].iter().any(is_set) {
        return Err(request.forbid(pod, "a mirror pod may not reference service accounts"));
    }
    if node_restriction::names_secrets(spec) {
        return Err(request.forbid(pod, "a mirror pod may not reference secrets"));
    }
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let mut sources = volumes.filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    if sources.any(|source| source["serviceAccountToken"].is_object()) {
        return Err(request.forbid(pod, "a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

fn account_name(pod: &Value) -> &str {
    let given = ["serviceAccountName", "serviceAccount"].iter().filter_map(|field| pod["spec"][*field].as_str());
    given.into_iter().find(|name| !name.is_empty()).unwrap_or(DEFAULT)
}

fn use_pull_secrets(pod: &mut Value, account: &Value) {
    let has_own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|secrets| !secrets.is_empty());
    if !has_own && let Some(secrets) = account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty()) {
        pod["spec"]["imagePullSecrets"] = secrets.clone().into();
    }
}

fn wants_token(pod: &Value, account: &Value) -> bool {
    let pod_says = pod["spec"]["automountServiceAccountToken"].as_bool();
    pod_says.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true)
}

fn mount_token(pod: &mut Value) {
    let existing = volumes(pod).find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix()));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            used |= mount_into(container, &name);
        }
    }
    if used && existing.is_none() {
        push(&mut pod["spec"]["volumes"], token_volume(&name));
    }
}

fn volumes(pod: &Value) -> impl Iterator<Item = &str> {
    pod["spec"]["volumes"].as_array().into_iter().flatten().filter_map(|volume| volume["name"].as_str())
}

fn mount_into(container: &mut Value, volume: &str) -> bool {
    let mounts = container["volumeMounts"].as_array();
    if mounts.into_iter().flatten().any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    push(&mut container["volumeMounts"], json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
    true
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    })
}

fn suffix() -> String {
    (0..5).map(|_| char::from(SUFFIX_ALPHABET[rand::random_range(0..SUFFIX_ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

    async fn admit(account: Option<Value>, mut pod: Value) -> Result<Value, Status> {
        let reader = FakeReader::default();
        if let Some(account) = account {
            reader.put("", "serviceaccounts", account);
        }
        let plugin = ServiceAccount::new(Arc::new(reader));
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", "", "pods", "a", "web");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        plugin.wait(&request, &pod).await;
        plugin.mutate(&request, &mut pod)?;
        Ok(pod)
    }

    fn default_account(more: Value) -> Option<Value> {
        let mut account = json!({"metadata": {"namespace": "a", "name": "default"}});
        account.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(account)
    }

    #[tokio::test]
    async fn a_plain_pod_gets_account_token_and_secrets() {
        let account = default_account(json!({"imagePullSecrets": [{"name": "registry"}]}));
        let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c"}]}});
        let pod = admit(account, pod).await.unwrap();
        assert_eq!(pod["spec"]["serviceAccountName"], "default");
        assert_eq!(pod["spec"]["imagePullSecrets"][0]["name"], "registry");
        let volume = pod["spec"]["volumes"][0]["name"].as_str().unwrap();
        assert!(volume.starts_with(VOLUME_PREFIX) && volume.len() == VOLUME_PREFIX.len() + 5);
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
    }

    #[tokio::test]
    async fn a_pod_can_do_without_a_token() {
        let pod =
            json!({"metadata": {"name": "web"}, "spec": {"automountServiceAccountToken": false, "containers": [{}]}});
        assert!(admit(default_account(json!({})), pod.clone()).await.unwrap()["spec"].get("volumes").is_none());
        let account = default_account(json!({"automountServiceAccountToken": false}));
        let mut pod = pod;
        pod["spec"].as_object_mut().unwrap().remove("automountServiceAccountToken");
        assert!(admit(account, pod).await.unwrap()["spec"].get("volumes").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_does_not_come_is_named() {
        let status = admit(None, json!({"metadata": {"name": "web"}, "spec": {}})).await.unwrap_err();
        assert_eq!(
            status.message,
            r#"pods "web" is forbidden: error looking up service account a/default: serviceaccount "default" not found"#
        );
    }
}
