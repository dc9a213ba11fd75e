//! Rules of a pod's volumes.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    EphemeralVolumeSource, GitRepoVolumeSource, HostPathVolumeSource, ISCSIVolumeSource, ImageVolumeSource, KeyToPath,
    PodSpec, RBDVolumeSource, SecretVolumeSource, Volume,
};

use super::{
    env, legacy_volumes,
    mounts::{local_descending, no_backsteps},
    projected, resources,
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
const ISCSI_NAME_LIMIT_BYTES: usize = 64;

/// What is found in the volumes of a pod.
pub struct Checked<'a> {
    /// All problems.
    pub causes: Vec<Cause>,
    /// Volumes without a problem, which alone can be mounted.
    pub sound: Vec<&'a Volume>,
}

/// Checks all volumes; `pod` is the pod's name, where there is one already.
pub fn check<'a>(spec: &'a PodSpec, pod: Option<&str>, path: &Path) -> Checked<'a> {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let pod = pod.filter(|pod| !pod.is_empty());
    let claimed = |claim: &str| {
        let name = |volume: &Volume| pod.map(|pod| format!("{pod}-{}", volume.name));
        volumes.iter().any(|volume| volume.ephemeral.is_some() && name(volume).as_deref() == Some(claim))
    };
    let mut checked = Checked { causes: Vec::new(), sound: Vec::new() };
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let mut causes = source(volume, pod, &path);
        match volume.name.as_str() {
            "" => causes.push(field::required(&path.child("name"), "")),
            text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
        }
        if checked.sound.iter().any(|other| other.name == volume.name) {
            causes.push(field::duplicate(&path.child("name"), &volume.name));
        }
        if causes.is_empty() {
            checked.sound.push(volume);
        }
        checked.causes.extend(causes);
        if let Some(source) = volume.persistent_volume_claim.as_ref().filter(|source| claimed(&source.claim_name)) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            checked.causes.push(field::invalid(&path, &source.claim_name, detail));
        }
    }
    checked
}

/// A volume has exactly one source, of which the first is looked at.
fn source(volume: &Volume, pod: Option<&str>, path: &Path) -> Vec<Cause> {
    let mut given = sources(volume, pod, path).into_iter().filter_map(|(name, causes)| Some((name, causes?)));
    let Some((_, mut causes)) = given.next() else { return vec![field::required(path, "must specify a volume type")] };
    let detail = "may not specify more than 1 volume type";
    causes.extend(given.map(|(name, _)| field::forbidden(&path.child(name), detail)));
    causes
}

/// A kind of source by the name that upstream gives it in errors, with its problems if it is given.
pub type Source = (&'static str, Option<Vec<Cause>>);

/// All kinds of sources, in upstream's order.
fn sources(volume: &Volume, pod: Option<&str>, path: &Path) -> Vec<Source> {
    let at = |name: &str| path.child(name);
    let [
        gce,
        aws,
        glusterfs,
        flocker,
        cinder,
        quobyte,
        flex,
        azure_file,
        vsphere,
        photon,
        portworx,
        azure_disk,
        storageos,
        scale_io,
    ] = legacy_volumes::sources(volume, path);
    vec![
        ("emptyDir", volume.empty_dir.as_ref().map(|source| empty_dir(source, &at("emptyDir")))),
        ("hostPath", volume.host_path.as_ref().map(|source| host_path(source, &at("hostPath")))),
        ("gitRepo", volume.git_repo.as_ref().map(|source| git_repo(source, &at("gitRepo")))),
        gce,
        aws,
        ("secret", volume.secret.as_ref().map(|source| secret(source, &at("secret")))),
        ("nfs", volume.nfs.as_ref().map(|source| volume_source::nfs(&source.server, &source.path, &at("nfs")))),
        ("iscsi", volume.iscsi.as_ref().map(|source| iscsi(source, volume, path))),
        glusterfs,
        flocker,
        (
            "persistentVolumeClaim",
            volume.persistent_volume_claim.as_ref().map(|source| {
                required(Some(&source.claim_name), &at("persistentVolumeClaim").child("claimName"))
                    .into_iter()
                    .collect()
            }),
        ),
        ("rbd", volume.rbd.as_ref().map(|source| rbd(source, &at("rbd")))),
        cinder,
        (
            "cephFS",
            volume.cephfs.as_ref().map(|source| {
                let path = at("cephfs").child("monitors");
                source.monitors.is_empty().then(|| field::required(&path, "")).into_iter().collect()
            }),
        ),
        quobyte,
        // The name is upstream's.
        ("downwarAPI", volume.downward_api.as_ref().map(|source| downward_volume(source, &at("downwardAPI")))),
        ("fc", volume.fc.as_ref().map(|source| volume_source::fibre_channel(source, &at("fc")))),
        flex,
        ("configMap", volume.config_map.as_ref().map(|source| config_map(source, &at("configMap")))),
        azure_file,
        vsphere,
        photon,
        portworx,
        azure_disk,
        storageos,
        ("projected", volume.projected.as_ref().map(|source| projected::validate(source, &at("projected")))),
        scale_io,
        ("csi", volume.csi.as_ref().map(|source| csi(source, &at("csi")))),
        ("ephemeral", volume.ephemeral.as_ref().map(|source| ephemeral(source, &volume.name, pod, path))),
        ("image", volume.image.as_ref().map(|source| image(source, &at("image")))),
    ]
}

fn secret(source: &SecretVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> =
        required(source.secret_name.as_deref(), &path.child("secretName")).into_iter().collect();
    causes.extend(files(source.default_mode, source.items.as_ref(), path));
    causes
}

fn config_map(source: &ConfigMapVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(Some(&source.name), &path.child("name")).into_iter().collect();
    causes.extend(files(source.default_mode, source.items.as_ref(), path));
    causes
}

fn downward_volume(source: &DownwardAPIVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = mode(source.default_mode, &path.child("defaultMode"));
    causes.extend(downward(source.items.as_deref().unwrap_or_default(), path));
    causes
}

fn image(source: &ImageVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(source.reference.as_deref(), &path.child("reference")).into_iter().collect();
    if let Some(policy) = source.pull_policy.as_deref().filter(|policy| !PULL_POLICIES.contains(policy)) {
        causes.push(field::unsupported(&path.child("pullPolicy"), policy, PULL_POLICIES));
    }
    causes
}

fn git_repo(source: &GitRepoVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(Some(&source.repository), &path.child("repository")).into_iter().collect();
    let directory = source.directory.as_deref().unwrap_or_default();
    causes.extend(local_descending(directory, &path.child("directory")));
    causes
}

fn iscsi(source: &ISCSIVolumeSource, volume: &Volume, path: &Path) -> Vec<Cause> {
    let asks = source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true);
    let target = volume_source::Iscsi {
        portal: &source.target_portal,
        iqn: &source.iqn,
        lun: source.lun,
        lacks_secret: asks && source.secret_ref.is_none(),
        initiator: source.initiator_name.as_deref(),
        unknown_form: "must be valid format starting with iqn, eui, or naa",
    };
    let mut causes = target.validate(&path.child("iscsi"));
    let length = volume.name.len() + 1 + source.target_portal.len();
    if source.initiator_name.is_some() && length > ISCSI_NAME_LIMIT_BYTES {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                      iscsi.initiatorName is specified.";
        causes.push(field::invalid(&path.child("name"), &volume.name, detail));
    }
    causes
}

fn rbd(source: &RBDVolumeSource, path: &Path) -> Vec<Cause> {
    let monitors = source.monitors.is_empty().then(|| field::required(&path.child("monitors"), ""));
    monitors.into_iter().chain(required(Some(&source.image), &path.child("image"))).collect()
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

/// The claim is called after the pod and the volume.
fn ephemeral(source: &EphemeralVolumeSource, volume: &str, pod: Option<&str>, path: &Path) -> Vec<Cause> {
    let mut causes = claim_template(source, &path.child("ephemeral").child("volumeClaimTemplate"));
    if let Some(pod) = pod.filter(|_| !volume.is_empty()) {
        let claim = format!("{pod}-{volume}");
        let problems = name::dns1123_subdomain(&claim).into_iter();
        let details: Vec<String> = problems.map(|problem| format!("PVC name {claim:?}: {problem}")).collect();
        causes.extend(field::invalid_each(&path.child("name"), volume, &details));
    }
    causes
}

fn claim_template(source: &EphemeralVolumeSource, path: &Path) -> Vec<Cause> {
    let Some(template) = &source.volume_claim_template else { return vec![field::required(path, "")] };
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
    if source.path.is_empty() {
        return vec![field::required(&path.child("path"), "")];
    }
    let mut causes = no_backsteps(&source.path, &path.child("path"));
    let kind = source.type_.as_deref().unwrap_or_default();
    if !HOST_PATH_TYPES.contains(&kind) {
        causes.push(field::unsupported(&path.child("type"), kind, HOST_PATH_TYPES));
    }
    causes
}

/// Problems of files that are made of keys.
pub fn files(default_mode: Option<i32>, items: Option<&Vec<KeyToPath>>, path: &Path) -> Vec<Cause> {
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
pub fn downward(items: &[DownwardAPIVolumeFile], path: &Path) -> Vec<Cause> {
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
pub fn file_path(value: &str, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(Some(value), path).into_iter().collect();
    causes.extend(local_descending(value, path));
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        causes.push(field::invalid(path, value, "must not start with '..'"));
    }
    causes
}

/// Problems of permissions of files.
pub fn mode(mode: Option<i32>, path: &Path) -> Vec<Cause> {
    match mode {
        Some(mode) if !(0..=0o777).contains(&mode) => {
            vec![field::invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")]
        }
        _ => Vec::new(),
    }
}
