//! Rules of a pod's volumes.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, PodSpec, ProjectedVolumeSource,
    Volume, VolumeProjection,
};
use serde_json::json;

use super::{
    env,
    mounts::{local_descending, no_backsteps},
    resources,
};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
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
        causes.extend(downward(source.items.as_deref().unwrap_or_default(), &path.child("items")));
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
    if let Some(source) = &volume.nfs {
        let path = path.child("nfs");
        causes.extend(required(Some(&source.server), &path.child("server")));
        causes.extend(required(Some(&source.path), &path.child("path")));
        if !source.path.is_empty() && !source.path.starts_with('/') {
            causes.push(field::invalid(&path.child("path"), &source.path, "must be an absolute path"));
        }
    }
    if let Some(source) = &volume.csi {
        causes.extend(required(Some(&source.driver), &path.child("csi").child("driver")));
    }
    if let Some(source) = &volume.ephemeral
        && source.volume_claim_template.is_none()
    {
        causes.push(field::required(&path.child("ephemeral").child("volumeClaimTemplate"), ""));
    }
    if let Some(source) = &volume.image {
        causes.extend(required(source.reference.as_deref(), &path.child("image").child("reference")));
    }
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
    let mut causes = required(Some(&source.path), &path.child("path"));
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
        let path = path.child("sources").index(index);
        causes.extend(self::projection(projection, &path));
        for file in files_of(projection) {
            if paths.contains(&file) {
                causes.push(field::invalid(&path, &file, "conflicting duplicate paths"));
            }
            paths.push(file);
        }
    }
    causes
}

fn projection(projection: &VolumeProjection, path: &Path) -> Vec<Cause> {
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
        causes.extend(downward(source.items.as_deref().unwrap_or_default(), &path.child("downwardAPI").child("items")));
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
        causes.extend(file_path(&source.path, &path.child("path")));
    }
    let count = json!(projection).as_object().map_or(0, serde_json::Map::len);
    match count {
        0 => causes.push(field::required(
            path,
            "must specify one of `configMap`, `downwardAPI`, `secret`, `serviceAccountToken` or `clusterTrustBundle`",
        )),
        1 => {}
        _ => causes.push(field::forbidden(path, "may not specify more than 1 volume type per source")),
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

fn downward(items: &[DownwardAPIVolumeFile], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        causes.extend(file_path(&item.path, &path.child("path")));
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field_ref), None) => {
                causes.extend(env::object_field(field_ref, FILE_FIELDS, &path.child("fieldRef")))
            }
            (Some(_), Some(_)) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                causes.push(field::invalid(&path, "resource", detail));
            }
            (None, Some(resource)) => {
                causes.extend(env::resource_field(resource, true, &path.child("resourceFieldRef")))
            }
            (None, None) => causes.push(field::required(&path, "one of fieldRef and resourceFieldRef is required")),
        }
        causes.extend(mode(item.mode, &path.child("mode")));
    }
    causes
}

/// A path of a file within its volume.
fn file_path(value: &str, path: &Path) -> Vec<Cause> {
    let mut causes = required(Some(value), path);
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

fn required(value: Option<&str>, path: &Path) -> Vec<Cause> {
    if value.unwrap_or_default().is_empty() { vec![field::required(path, "")] } else { Vec::new() }
}
