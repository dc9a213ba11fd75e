//! What a pod's spec says when it says nothing. [`spec`] holds for pods and for the templates of
//! workloads; [`pod`] adds what only a pod gets, so that a template stays as its author wrote it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, DownwardAPIVolumeFile, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle, ObjectFieldSelector,
        Pod, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, Volume,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::image::pull_policy;
use crate::api::quantity;

/// Seconds between the signals TERM and KILL.
pub const TERMINATION_GRACE_PERIOD_SECONDS: i64 = 30;
/// Scheduler of pods that name none.
pub const SCHEDULER: &str = "default-scheduler";
/// Where a container leaves its last words.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";
/// Mode of files in volumes made from API objects.
pub const FILE_MODE: i32 = 0o644;
/// Life of a projected service account token.
pub const TOKEN_EXPIRATION_SECONDS: i64 = 3600;

/// Defaults of a pod.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    self::spec(spec);
    let host_network = spec.host_network == Some(true);
    for container in all_containers(spec) {
        let resources = container.resources.get_or_insert_default();
        for (name, limit) in resources.limits.iter().flatten() {
            resources.requests.get_or_insert_default().entry(name.clone()).or_insert_with(|| limit.clone());
        }
        for port in container.ports.iter_mut().flatten().filter(|_| host_network) {
            port.host_port = port.host_port.filter(|port| *port != 0).or(Some(port.container_port));
        }
    }
    super::pod_level::default(spec);
    spec.enable_service_links.get_or_insert(true);
}

/// Defaults of a workload's template.
pub fn template(template: &mut PodTemplateSpec) {
    spec(template.spec.get_or_insert_default());
}

/// Defaults of any pod spec.
pub fn spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, SCHEDULER);
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(TERMINATION_GRACE_PERIOD_SECONDS);
    service_account(spec);
    for container in all_containers(spec) {
        self::container(container);
    }
    for ephemeral in spec.ephemeral_containers.iter_mut().flatten() {
        ephemeral_container(ephemeral);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        self::volume(volume);
    }
    if let Some(resources) = &mut spec.resources {
        canonical_resources(resources);
    }
    canonical(spec.overhead.as_mut());
}

/// Writes quantities in their canonical form, as clients read them back from upstream.
pub fn canonical(list: Option<&mut BTreeMap<String, Quantity>>) {
    for amount in list.into_iter().flat_map(BTreeMap::values_mut) {
        if let Ok(parsed) = amount.0.parse::<quantity::Quantity>() {
            amount.0 = parsed.to_string();
        }
    }
}

fn canonical_resources(resources: &mut ResourceRequirements) {
    canonical(resources.limits.as_mut());
    canonical(resources.requests.as_mut());
}

fn all_containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
}

/// The older field name is kept equal to the newer one.
fn service_account(spec: &mut PodSpec) {
    let name = spec.service_account_name.take().filter(|name| !name.is_empty());
    let name = name.or_else(|| spec.service_account.take()).filter(|name| !name.is_empty());
    spec.service_account.clone_from(&name);
    spec.service_account_name = name;
}

fn container(container: &mut Container) {
    let image = container.image.as_deref().unwrap_or_default();
    text(&mut container.image_pull_policy, pull_policy(image));
    text(&mut container.termination_message_path, TERMINATION_MESSAGE_PATH);
    text(&mut container.termination_message_policy, "File");
    canonical_resources(container.resources.get_or_insert_default());
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
    env(container.env.as_mut());
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    lifecycle(container.lifecycle.as_mut());
}

fn ephemeral_container(container: &mut EphemeralContainer) {
    let image = container.image.as_deref().unwrap_or_default();
    text(&mut container.image_pull_policy, pull_policy(image));
    text(&mut container.termination_message_path, TERMINATION_MESSAGE_PATH);
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
    env(container.env.as_mut());
}

fn env(variables: Option<&mut Vec<EnvVar>>) {
    for source in variables.into_iter().flatten().filter_map(|variable| variable.value_from.as_mut()) {
        field_ref(source.field_ref.as_mut());
        if let Some(resource) = &mut source.resource_field_ref {
            resource.divisor.get_or_insert_with(|| Quantity("0".to_owned()));
        }
    }
}

fn field_ref(selector: Option<&mut ObjectFieldSelector>) {
    if let Some(selector) = selector {
        text(&mut selector.api_version, "v1");
    }
}

fn probe(probe: &mut Probe) {
    number(&mut probe.timeout_seconds, 1);
    number(&mut probe.period_seconds, 10);
    number(&mut probe.success_threshold, 1);
    number(&mut probe.failure_threshold, 3);
    http_get(probe.http_get.as_mut());
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn lifecycle(lifecycle: Option<&mut Lifecycle>) {
    let Some(lifecycle) = lifecycle else { return };
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        http_get(handler.http_get.as_mut());
    }
}

fn http_get(action: Option<&mut HTTPGetAction>) {
    if let Some(action) = action {
        text(&mut action.path, "/");
        text(&mut action.scheme, "HTTP");
    }
}

fn volume(volume: &mut Volume) {
    if *volume == (Volume { name: volume.name.clone(), ..Volume::default() }) {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        downward_files(source.items.as_mut());
    }
    if let Some(source) = &mut volume.projected {
        projected(source);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    legacy_volume(volume);
    if let Some(source) = &mut volume.image {
        let reference = source.reference.as_deref().unwrap_or_default();
        text(&mut source.pull_policy, pull_policy(reference));
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|source| source.volume_claim_template.as_mut()) {
        text(&mut claim.spec.volume_mode, "Filesystem");
    }
}

/// Defaults of volumes whose drivers are elsewhere.
fn legacy_volume(volume: &mut Volume) {
    if let Some(source) = &mut volume.iscsi {
        text(&mut source.iscsi_interface, "default");
    }
    if let Some(source) = &mut volume.rbd {
        text(&mut source.pool, "rbd");
        text(&mut source.user, "admin");
        text(&mut source.keyring, "/etc/ceph/keyring");
    }
    if let Some(source) = &mut volume.azure_disk {
        source.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
        source.fs_type.get_or_insert_with(|| "ext4".to_owned());
        source.kind.get_or_insert_with(|| "Shared".to_owned());
        source.read_only.get_or_insert(false);
    }
    if let Some(source) = &mut volume.scale_io {
        text(&mut source.storage_mode, "ThinProvisioned");
        text(&mut source.fs_type, "xfs");
    }
}

fn projected(source: &mut ProjectedVolumeSource) {
    source.default_mode.get_or_insert(FILE_MODE);
    for projection in source.sources.iter_mut().flatten() {
        if let Some(token) = &mut projection.service_account_token {
            token.expiration_seconds.get_or_insert(TOKEN_EXPIRATION_SECONDS);
        }
        if let Some(downward) = &mut projection.downward_api {
            downward_files(downward.items.as_mut());
        }
    }
}

fn downward_files(files: Option<&mut Vec<DownwardAPIVolumeFile>>) {
    for file in files.into_iter().flatten() {
        field_ref(file.field_ref.as_mut());
    }
}

fn text(value: &mut Option<String>, default: &str) {
    if value.as_deref().unwrap_or_default().is_empty() {
        *value = Some(default.to_owned());
    }
}

fn number(value: &mut Option<i32>, default: i32) {
    if value.unwrap_or_default() == 0 {
        *value = Some(default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_limits_in_pods_only() {
        let spec = serde_json::json!({"containers": [{"name": "a", "image": "b",
            "resources": {"limits": {"cpu": "1000m"}, "requests": {"memory": "1Mi"}}}]});
        let mut object = Pod { spec: serde_json::from_value(spec.clone()).unwrap(), ..Pod::default() };
        pod(&mut object);
        let resources = object.spec.unwrap().containers.remove(0).resources.unwrap();
        assert_eq!(resources.requests.unwrap()["cpu"].0, "1");
        let mut object = PodTemplateSpec { spec: serde_json::from_value(spec).unwrap(), ..Default::default() };
        template(&mut object);
        let spec = object.spec.unwrap();
        assert!(!spec.containers[0].resources.clone().unwrap().requests.unwrap().contains_key("cpu"));
        assert_eq!(spec.enable_service_links, None);
        assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    }

    #[test]
    fn host_network_ports_are_host_ports() {
        let spec = serde_json::json!({"hostNetwork": true,
            "containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 80}]}]});
        let mut object = Pod { spec: serde_json::from_value(spec).unwrap(), ..Pod::default() };
        pod(&mut object);
        assert_eq!(object.spec.unwrap().containers[0].ports.as_ref().unwrap()[0].host_port, Some(80));
    }
}
