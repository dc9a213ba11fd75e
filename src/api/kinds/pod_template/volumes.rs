//! Rules of a pod's volumes.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, DownwardAPIVolumeFile, EmptyDirVolumeSource, EphemeralVolumeSource, HostPathVolumeSource,
    KeyToPath, PodSpec, ProjectedVolumeSource, Volume, VolumeProjection,
};
use serde_json::json;

use super::{
    env,
    mounts::{local_descending, no_backsteps},
    resources,
};
use crate::api::{
    field::{self, Path},
    kinds::{
        persistent_volume_claim,
        volume_source::{self, required},
    },
    status::Cause,
    validation::{metadata, name},
};

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
/// Fields of the pod that a file may hold.
const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const LEAST_TOKEN_SECONDS: i64 = 600;
const MOST_TOKEN_SECONDS: i64 = 1 << 32;

/// Problems of all volumes.
pub fn validate(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        match volume.name.as_str() {
            "" => causes.push(field::required(&path.child("name"), "")),
            text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
        }
        if volumes[..index].iter().any(|other| other.name == volume.name) {
            causes.push(field::duplicate(&path.child("name"), &volume.name));
        }
        causes.extend(one_source(volume, &path));
        causes.extend(source(volume, &path));
    }
    causes
}

/// A volume has exactly one source.
fn one_source(volume: &Volume, path: &Path) -> Vec<Cause> {
    let fields = json!(volume);
    let names = fields.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "name");
    let names: Vec<&String> = names.collect();
    match names.as_slice() {
        [] => vec![field::required(path, "must specify a volume type")],
        [_, more @ ..] => {
            let detail = "may not specify more than 1 volume type";
            more.iter().map(|name| field::forbidden(&path.child(name), detail)).collect()
        }
    }
}

fn source(volume: &Volume, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &volume.empty_dir {
        causes.extend(empty_dir(source, &path.child("emptyDir")));
    }
    if let Some(source) = &volume.host_path {
        causes.extend(host_path(source, &path.child("hostPath")));
    }
    if let Some(source) = &volume.secret {
        let path = path.child("secret");
        causes.extend(required(source.secret_name.as_deref(), &path.child("secretName")));
        causes.extend(files(source.default_mode, source.items.as_ref(), &path));
    }
    if let Some(source) = &volume.config_map {
        let path = path.child("configMap");
        causes.extend(required(Some(&source.name), &path.child("name")));
        causes.extend(files(source.default_mode, source.items.as_ref(), &path));
    }
    if let Some(source) = &volume.downward_api {
        let path = path.child("downwardAPI");
        causes.extend(mode(source.default_mode, &path.child("defaultMode")));
        causes.extend(downward(source.items.as_deref().unwrap_or_default(), &path));
    }
    if let Some(source) = &volume.projected {
        causes.extend(projected(source, &path.child("projected")));
    }
    causes.extend(from_elsewhere(volume, path));
    causes
}

/// Sources outside the API and the node.
fn from_elsewhere(volume: &Volume, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &volume.persistent_volume_claim {
        causes.extend(required(Some(&source.claim_name), &path.child("persistentVolumeClaim").child("claimName")));
    }
    if let Some(source) = &volume.csi {
        causes.extend(csi(source, &path.child("csi")));
    }
    if let Some(source) = &volume.ephemeral {
        causes.extend(ephemeral(source, &path.child("ephemeral")));
    }
    if let Some(source) = &volume.image {
        let path = path.child("image");
        causes.extend(required(source.reference.as_deref(), &path.child("reference")));
        if let Some(policy) = source.pull_policy.as_deref().filter(|policy| !PULL_POLICIES.contains(policy)) {
            causes.push(field::unsupported(&path.child("pullPolicy"), policy, PULL_POLICIES));
        }
    }
    if let Some(source) = &volume.git_repo {
        let path = path.child("gitRepo");
        causes.extend(required(Some(&source.repository), &path.child("repository")));
        let directory = source.directory.as_deref().unwrap_or_default();
        causes.extend(local_descending(directory, &path.child("directory")));
    }
    causes.extend(from_network(volume, path));
    causes
}

/// Sources behind the network that the API knows by name.
fn from_network(volume: &Volume, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &volume.nfs {
        causes.extend(volume_source::nfs(&source.server, &source.path, &path.child("nfs")));
    }
    if let Some(source) = &volume.iscsi {
        let asks = source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true);
        let target = volume_source::Iscsi {
            portal: &source.target_portal,
            iqn: &source.iqn,
            lun: source.lun,
            lacks_secret: asks && source.secret_ref.is_none(),
            initiator: source.initiator_name.as_deref(),
            unknown_form: "must be valid format starting with iqn, eui, or naa",
        };
        causes.extend(target.validate(&path.child("iscsi")));
    }
    if let Some(source) = &volume.fc {
        causes.extend(volume_source::fibre_channel(source, &path.child("fc")));
    }
    if let Some(source) = &volume.rbd {
        let path = path.child("rbd");
        causes.extend(source.monitors.is_empty().then(|| field::required(&path.child("monitors"), "")));
        causes.extend(required(Some(&source.image), &path.child("image")));
    }
    if let Some(source) = &volume.cephfs {
        let path = path.child("cephfs").child("monitors");
        causes.extend(source.monitors.is_empty().then(|| field::required(&path, "")));
    }
    causes
}

fn csi(source: &CSIVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = volume_source::csi_driver(&source.driver, &path.child("driver"));
    match source.node_publish_secret_ref.as_ref().map(|secret| secret.name.as_str()) {
        None => {}
        Some("") => causes.push(field::required(&path.child("nodePublishSecretRef").child("name"), "")),
        Some(text) => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_subdomain(text))),
    }
    causes
}

fn ephemeral(source: &EphemeralVolumeSource, path: &Path) -> Vec<Cause> {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else { return vec![field::required(&path, "")] };
    let meta = template.metadata.clone().unwrap_or_default();
    let own = path.child("metadata");
    let pairs = meta.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut causes = metadata::annotations(pairs, &own.child("annotations"));
    let pairs = meta.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    causes.extend(metadata::labels(pairs, &own.child("labels")));
    causes.extend(persistent_volume_claim::validate(&template.spec, &path.child("spec")));
    causes
}

fn empty_dir(source: &EmptyDirVolumeSource, path: &Path) -> Vec<Cause> {
    let limit = source.size_limit.as_ref();
    let bad = limit.is_some_and(|limit| resources::quantity(limit, path).is_some());
    if !bad {
        return Vec::new();
    }
    vec![field::forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity")]
}

fn host_path(source: &HostPathVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(Some(&source.path), &path.child("path")).into_iter().collect();
    causes.extend(no_backsteps(&source.path, &path.child("path")));
    let kind = source.type_.as_deref().unwrap_or_default();
    if !HOST_PATH_TYPES.contains(&kind) {
        causes.push(field::unsupported(&path.child("type"), kind, HOST_PATH_TYPES));
    }
    causes
}

fn projected(source: &ProjectedVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = mode(source.default_mode, &path.child("defaultMode"));
    let mut paths: Vec<String> = Vec::new();
    for (index, projection) in source.sources.iter().flatten().enumerate() {
        causes.extend(self::projection(projection, &path.child("sources").index(index), path));
        for file in files_of(projection) {
            if paths.contains(&file) {
                causes.push(field::invalid(path, &file, "conflicting duplicate paths"));
            }
            paths.push(file);
        }
    }
    causes
}

fn projection(projection: &VolumeProjection, path: &Path, volume: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &projection.secret {
        let path = path.child("secret");
        causes.extend(required(Some(&source.name), &path.child("name")));
        causes.extend(files(None, source.items.as_ref(), &path));
    }
    if let Some(source) = &projection.config_map {
        let path = path.child("configMap");
        causes.extend(required(Some(&source.name), &path.child("name")));
        causes.extend(files(None, source.items.as_ref(), &path));
    }
    if let Some(source) = &projection.downward_api {
        causes.extend(downward(source.items.as_deref().unwrap_or_default(), &path.child("downwardAPI")));
    }
    if let Some(source) = &projection.service_account_token {
        let path = path.child("serviceAccountToken");
        let seconds = source.expiration_seconds.unwrap_or_default();
        let own = path.child("expirationSeconds");
        if seconds < LEAST_TOKEN_SECONDS {
            causes.push(field::invalid(&own, seconds, "may not specify a duration less than 10 minutes"));
        } else if seconds > MOST_TOKEN_SECONDS {
            causes.push(field::invalid(&own, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
        // Upstream names the volume's own field here.
        causes.extend(file_path(&source.path, &volume.child("path")));
    }
    if json!(projection).as_object().map_or(0, serde_json::Map::len) > 1 {
        causes.push(field::forbidden(path, "may not specify more than 1 volume type per source"));
    }
    causes
}

/// Where a projection puts files, as far as it says so itself.
fn files_of(projection: &VolumeProjection) -> Vec<String> {
    let keys =
        |items: Option<&Vec<KeyToPath>>| items.into_iter().flatten().map(|item| item.path.clone()).collect::<Vec<_>>();
    let mut all = keys(projection.secret.as_ref().and_then(|source| source.items.as_ref()));
    all.extend(keys(projection.config_map.as_ref().and_then(|source| source.items.as_ref())));
    let downward = projection.downward_api.as_ref().and_then(|source| source.items.as_ref());
    all.extend(downward.into_iter().flatten().map(|item| item.path.clone()));
    all.extend(projection.service_account_token.as_ref().map(|source| source.path.clone()));
    all
}

fn files(default_mode: Option<i32>, items: Option<&Vec<KeyToPath>>, path: &Path) -> Vec<Cause> {
    let mut causes = mode(default_mode, &path.child("defaultMode"));
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = path.child("items").index(index);
        causes.extend(required(Some(&item.key), &path.child("key")));
        causes.extend(file_path(&item.path, &path.child("path")));
        causes.extend(mode(item.mode, &path.child("mode")));
    }
    causes
}

/// Files of the downward API; upstream does not say which of them has a problem.
fn downward(items: &[DownwardAPIVolumeFile], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for item in items {
        causes.extend(file_path(&item.path, &path.child("path")));
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field_ref), None) => {
                causes.extend(env::object_field(field_ref, FILE_FIELDS, &path.child("fieldRef")));
            }
            (Some(_), Some(_)) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                causes.push(field::invalid(path, "resource", detail));
            }
            (None, Some(resource)) => {
                causes.extend(env::resource_field(resource, true, &path.child("resourceFieldRef")))
            }
            (None, None) => causes.push(field::required(path, "one of fieldRef and resourceFieldRef is required")),
        }
        causes.extend(mode(item.mode, &path.child("mode")));
    }
    causes
}

/// A path of a file within its volume.
fn file_path(value: &str, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(Some(value), path).into_iter().collect();
    causes.extend(local_descending(value, path));
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        causes.push(field::invalid(path, value, "must not start with '..'"));
    }
    causes
}

fn mode(mode: Option<i32>, path: &Path) -> Vec<Cause> {
    match mode {
        Some(mode) if !(0..=0o777).contains(&mode) => {
            vec![field::invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")]
        }
        _ => Vec::new(),
    }
}
