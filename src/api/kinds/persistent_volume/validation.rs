//! What is wrong with a volume (`ValidatePersistentVolumeSpec` of core's validation).

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, HostPathVolumeSource, ISCSIPersistentVolumeSource, PersistentVolumeSpec,
};

use super::transition::sources;
use crate::api::{
    field::{self, Path},
    kinds::{
        persistent_volume_claim,
        pod_template::{mounts::no_backsteps, scheduling},
        volume_source,
    },
    status::Cause,
};

const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
const MODES: &[&str] = &["Block", "Filesystem"];
const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// Most bytes of a volume's name and its portal, where the initiator has a name.
const PORTAL_LIMIT_BYTES: usize = 64;

/// Problems of the spec of the volume called `name`.
pub fn validate(name: &str, spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        causes.push(field::required(&path.child("accessModes"), ""));
    }
    causes.extend(persistent_volume_claim::access_modes(modes, &path.child("accessModes")));
    causes.extend(capacity(spec, &path.child("capacity")));
    let policy = spec.persistent_volume_reclaim_policy.as_deref().filter(|policy| !policy.is_empty());
    causes.extend(
        policy.and_then(|policy| field::one_of(&path.child("persistentVolumeReclaimPolicy"), policy, RECLAIM_POLICIES)),
    );
    causes.extend(node_affinity(spec, &path.child("nodeAffinity")));
    causes.extend(source(name, spec, path));
    match sources(spec).len() {
        0 => causes.push(field::required(path, "must specify a volume type")),
        1 => {}
        _ => causes.push(field::forbidden(path, "may not specify more than 1 volume type")),
    }
    if spec.local.is_some() && spec.node_affinity.is_none() {
        causes.push(field::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
    }
    let class = spec.storage_class_name.as_deref();
    causes.extend(persistent_volume_claim::class_name(class, &path.child("storageClassName")));
    let mode = spec.volume_mode.as_deref();
    causes.extend(mode.and_then(|mode| field::one_of(&path.child("volumeMode"), mode, MODES)));
    causes.extend(attributes_class(spec, path));
    causes
}

fn capacity(spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let all = spec.capacity.as_ref();
    let mut causes = Vec::new();
    if all.is_none_or(|all| all.is_empty()) {
        causes.push(field::required(path, ""));
    }
    if all.is_none_or(|all| !all.contains_key("storage") || all.len() > 1) {
        causes.push(field::unsupported(path, all, &["storage"]));
    }
    let amounts = all.into_iter().flatten();
    causes.extend(amounts.filter_map(|(name, amount)| persistent_volume_claim::positive(amount, &path.key(name))));
    causes
}

fn node_affinity(spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let Some(affinity) = &spec.node_affinity else { return Vec::new() };
    match &affinity.required {
        Some(required) => scheduling::node_selector(required, &path.child("required")),
        None => vec![field::required(&path.child("required"), "must specify required node constraints")],
    }
}

fn attributes_class(spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let Some(class) = spec.volume_attributes_class_name.as_deref() else { return Vec::new() };
    let own = path.child("volumeAttributesClassName");
    let mut causes = persistent_volume_claim::class_name(Some(class), &own);
    if class.is_empty() {
        causes.push(field::required(&own, "an empty string is disallowed"));
    }
    if spec.csi.is_none() {
        causes.push(field::required(&path.child("csi"), "has to be specified when using volumeAttributesClassName"));
    }
    causes
}

/// Problems of the source, for the sources whose content is looked at.
fn source(name: &str, spec: &PersistentVolumeSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(source) = &spec.host_path {
        causes.extend(host_path(source, &path.child("hostPath")));
    }
    if let Some(source) = &spec.nfs {
        causes.extend(volume_source::nfs(&source.server, &source.path, &path.child("nfs")));
    }
    if let Some(source) = &spec.iscsi {
        causes.extend(iscsi(name, source, &path.child("iscsi")));
    }
    if let Some(source) = &spec.fc {
        causes.extend(volume_source::fibre_channel(source, &path.child("fc")));
    }
    if let Some(source) = &spec.local {
        let path = path.child("local").child("path");
        causes.extend(volume_source::required(Some(&source.path), &path));
        causes.extend(no_backsteps(&source.path, &path));
    }
    if let Some(source) = &spec.csi {
        causes.extend(csi(source, &path.child("csi")));
    }
    causes
}

fn host_path(source: &HostPathVolumeSource, path: &Path) -> Vec<Cause> {
    if source.path.is_empty() {
        return vec![field::required(&path.child("path"), "")];
    }
    let mut causes: Vec<Cause> = no_backsteps(&source.path, &path.child("path")).into_iter().collect();
    let kind = source.type_.as_deref();
    causes.extend(kind.and_then(|kind| field::one_of(&path.child("type"), kind, HOST_PATHS)));
    causes
}

fn iscsi(name: &str, source: &ISCSIPersistentVolumeSource, path: &Path) -> Vec<Cause> {
    let asks = source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true);
    let target = volume_source::Iscsi {
        portal: &source.target_portal,
        iqn: &source.iqn,
        lun: source.lun,
        lacks_secret: asks && source.secret_ref.is_none(),
        initiator: source.initiator_name.as_deref(),
        unknown_form: "must be valid format",
    };
    let mut causes = target.validate(path);
    let length = name.len() + ":".len() + source.target_portal.len();
    if source.initiator_name.is_some() && length > PORTAL_LIMIT_BYTES {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                      iscsi.initiatorName is specified.";
        causes.push(field::invalid(&path.child("targetportal"), &source.target_portal, detail));
    }
    let secret = source.secret_ref.as_ref();
    causes
        .extend(secret.and_then(|secret| {
            volume_source::required(secret.name.as_deref(), &path.child("secretRef").child("name"))
        }));
    causes
}

fn csi(source: &CSIPersistentVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = volume_source::csi_driver(&source.driver, &path.child("driver"));
    causes.extend(volume_source::required(Some(&source.volume_handle), &path.child("volumeHandle")));
    let secrets = [
        ("controllerPublishSecretRef", &source.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &source.controller_expand_secret_ref),
        ("nodePublishSecretRef", &source.node_publish_secret_ref),
        ("nodeExpandSecretRef", &source.node_expand_secret_ref),
    ];
    for (name, secret) in secrets {
        let problems = |secret| volume_source::secret_reference(secret, &path.child(name));
        causes.extend(secret.as_ref().map(problems).unwrap_or_default());
    }
    causes
}
