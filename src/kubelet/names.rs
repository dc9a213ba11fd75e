//! Names and paths that follow from a pod: for messages, logs, files, and what the pod calls itself.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::kubelet::Config;

/// Longest host name the kernel takes in a pod.
const HOSTNAME_LIMIT: usize = 63;

/// The pod's UID; empty only for objects that no API server has seen.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, as upstream's messages name pods.
pub fn full(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// What events about the pod regard.
pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// What events about one of its containers regard.
pub fn container_reference(pod: &Pod, container: &str) -> ObjectReference {
    let in_list = |list: &str| format!("spec.{list}{{{container}}}");
    let spec = pod.spec.as_ref();
    let is_init = spec.is_some_and(|spec| spec.init_containers.iter().flatten().any(|c| c.name == container));
    let is_main = spec.is_some_and(|spec| spec.containers.iter().any(|c| c.name == container));
    let field_path = match (is_init, is_main) {
        (true, _) => in_list("initContainers"),
        (false, true) => in_list("containers"),
        (false, false) => in_list("ephemeralContainers"),
    };
    ObjectReference { field_path: Some(field_path), ..reference(pod) }
}

/// The pod's own directory.
pub fn directory(config: &Config, uid: &str) -> PathBuf {
    config.pods_dir().join(uid)
}

/// Where the logs of a pod are.
pub fn log_directory(config: &Config, pod: &Pod) -> PathBuf {
    config.pod_logs_dir.join(format!("{}_{}_{}", namespace(pod), name(pod), uid(pod)))
}

/// The log of one run of a container.
pub fn log_path(config: &Config, pod: &Pod, container: &str, attempt: i32) -> PathBuf {
    log_directory(config, pod).join(container).join(format!("{attempt}.log"))
}

/// The link that log collectors look for.
pub fn log_link(config: &Config, pod: &Pod, container: &str, id: &str) -> PathBuf {
    config.container_logs_dir.join(format!("{}_{}_{container}-{id}.log", name(pod), namespace(pod)))
}

/// The file behind a container's `terminationMessagePath`.
pub fn termination_file(directory: &Path, container: &str, id: &str) -> PathBuf {
    directory.join("containers").join(container).join(&id[..id.len().min(12)])
}

/// The pod's host name: its own wish or its name, cut to what the kernel takes.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> String {
    let spec = pod.spec.as_ref();
    if let Some(wish) = spec.and_then(|spec| spec.hostname_override.clone()).filter(|wish| !wish.is_empty()) {
        return wish;
    }
    let short = short_hostname(pod);
    let as_fqdn = spec.is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    match domain(pod, cluster_domain).filter(|_| as_fqdn) {
        Some(domain) => format!("{short}.{domain}"),
        None => short,
    }
}

/// The host name without a domain.
pub fn short_hostname(pod: &Pod) -> String {
    let wish = pod.spec.as_ref().and_then(|spec| spec.hostname.clone()).filter(|wish| !wish.is_empty());
    wish.unwrap_or_else(|| {
        let cut = &name(pod)[..name(pod).len().min(HOSTNAME_LIMIT)];
        cut.trim_end_matches(['-', '.']).to_owned()
    })
}

/// The domain that `subdomain` puts the pod into.
pub fn domain(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty())?;
    Some(format!("{subdomain}.{}.svc.{cluster_domain}", namespace(pod)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn host_names_follow_the_spec() {
        let pod = |spec: serde_json::Value| -> Pod {
            let metadata = json!({"name": format!("{}-x", "a".repeat(62)), "namespace": "n"});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
        };
        assert_eq!(hostname(&pod(json!({"containers": []})), "cluster.local"), "a".repeat(62));
        let named = json!({"containers": [], "hostname": "web", "subdomain": "db", "setHostnameAsFQDN": true});
        assert_eq!(hostname(&pod(named), "cluster.local"), "web.db.n.svc.cluster.local");
    }

    #[test]
    fn containers_are_referred_to_by_their_list() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}}))
        .unwrap();
        assert_eq!(container_reference(&pod, "i").field_path.as_deref(), Some("spec.initContainers{i}"));
        assert_eq!(container_reference(&pod, "c").field_path.as_deref(), Some("spec.containers{c}"));
    }
}
