//! Rules of volume mounts and devices of containers.

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume, VolumeDevice, VolumeMount};

use crate::api::{
    field::{self, Path},
    status::Cause,
};

const PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];
const RECURSIVE_READ_ONLY: &[&str] = &["Disabled", "Enabled", "IfPossible"];

/// Problems of a container's mounts and devices.
pub fn validate(container: &Container, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (index, one) in mounts.iter().enumerate() {
        let list = path.child("volumeMounts");
        let path = list.index(index);
        causes.extend(mount(one, spec, container, &path, &list));
        if mounts[..index].iter().any(|other| other.mount_path == one.mount_path) {
            causes.push(field::invalid(&path.child("mountPath"), &one.mount_path, "must be unique"));
        }
    }
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    for (index, one) in devices.iter().enumerate() {
        let path = path.child("volumeDevices").index(index);
        causes.extend(device(one, spec, &path));
        if devices[..index].iter().any(|other| other.name == one.name) {
            causes.push(field::invalid(&path.child("name"), &one.name, "must be unique"));
        }
        if devices[..index].iter().any(|other| other.device_path == one.device_path) {
            causes.push(field::invalid(&path.child("devicePath"), &one.device_path, "must be unique"));
        }
    }
    causes
}

/// A path that stays below where it starts.
pub fn local_descending(value: &str, path: &Path) -> Vec<Cause> {
    let absolute = value.starts_with('/').then(|| field::invalid(path, value, "must be a relative path"));
    absolute.into_iter().chain(no_backsteps(value, path)).collect()
}

/// A path without `..`.
pub fn no_backsteps(value: &str, path: &Path) -> Vec<Cause> {
    if value.split('/').any(|part| part == "..") {
        return vec![field::invalid(path, value, "must not contain '..'")];
    }
    Vec::new()
}

/// Problems of a mount at `path` of the `list`, which alone upstream names for some of them.
fn mount(mount: &VolumeMount, spec: &PodSpec, container: &Container, path: &Path, list: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if mount.name.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    }
    if volume(spec, &mount.name).is_none() {
        causes.push(field::not_found(&path.child("name"), &mount.name));
    }
    if mount.mount_path.is_empty() {
        causes.push(field::required(&path.child("mountPath"), ""));
    }
    for device in container.volume_devices.iter().flatten() {
        if device.name == mount.name {
            causes.push(field::invalid(&path.child("name"), &mount.name, "must not already exist in volumeDevices"));
        }
        if device.device_path == mount.mount_path {
            let detail = "must not already exist as a path in volumeDevices";
            causes.push(field::invalid(&path.child("mountPath"), &mount.mount_path, detail));
        }
    }
    causes.extend(sub_paths(mount, path, list));
    causes.extend(propagation(mount, container, list));
    causes
}

fn sub_paths(mount: &VolumeMount, path: &Path, list: &Path) -> Vec<Cause> {
    let plain = mount.sub_path.as_deref().filter(|path| !path.is_empty());
    let expanded = mount.sub_path_expr.as_deref().filter(|path| !path.is_empty());
    let mut causes = Vec::new();
    if let Some(plain) = plain {
        causes.extend(local_descending(plain, &list.child("subPath")));
    }
    if let Some(expanded) = expanded {
        if plain.is_some() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            causes.push(field::invalid(&path.child("subPathExpr"), expanded, detail));
        }
        causes.extend(local_descending(expanded, &list.child("subPathExpr")));
    }
    causes
}

fn propagation(mount: &VolumeMount, container: &Container, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged) == Some(true);
    let own = path.child("mountPropagation");
    match mount.mount_propagation.as_deref() {
        Some("Bidirectional") if !privileged => {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            causes.push(field::forbidden(&own, detail));
        }
        Some(word) if !PROPAGATIONS.contains(&word) => causes.push(field::unsupported(&own, word, PROPAGATIONS)),
        _ => {}
    }
    let own = path.child("recursiveReadOnly");
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                causes.push(field::forbidden(&own, "may only be specified when readOnly is true"));
            }
            if mount.mount_propagation.as_deref().is_some_and(|word| word != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                causes.push(field::forbidden(&own, detail));
            }
        }
        Some(word) => causes.push(field::unsupported(&own, word, RECURSIVE_READ_ONLY)),
    }
    causes
}

fn device(device: &VolumeDevice, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if device.name.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    }
    match volume(spec, &device.name) {
        None => causes.push(field::not_found(&path.child("name"), &device.name)),
        Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
            let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            causes.push(field::invalid(&path.child("name"), &device.name, detail));
        }
        Some(_) => {}
    }
    if device.device_path.is_empty() {
        causes.push(field::required(&path.child("devicePath"), ""));
    } else if !no_backsteps(&device.device_path, path).is_empty() {
        let detail = "can not contain backsteps ('..')";
        causes.push(field::invalid(&path.child("devicePath"), &device.device_path, detail));
    }
    causes
}

fn volume<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Volume> {
    spec.volumes.iter().flatten().find(|volume| volume.name == name)
}
