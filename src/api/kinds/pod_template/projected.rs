//! Rules of volumes that are put together from several sources.

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection,
    VolumeProjection,
};
use serde_json::json;

use super::volumes::{downward, file_path, files, mode};
use crate::api::{
    field::{self, Path},
    kinds::volume_source::required,
    status::Cause,
};

const LEAST_TOKEN_SECONDS: i64 = 600;
const MOST_TOKEN_SECONDS: i64 = 1 << 32;
const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const CONFLICT: &str = "conflicting duplicate paths";

/// Problems of the volume at `path`.
pub fn validate(source: &ProjectedVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = mode(source.default_mode, &path.child("defaultMode"));
    let mut paths: Vec<String> = Vec::new();
    for (index, projection) in source.sources.iter().flatten().enumerate() {
        causes.extend(self::projection(projection, &path.child("sources").index(index), path));
        for (file, owner) in files_of(projection) {
            if paths.contains(&file) {
                causes.push(field::invalid(path, owner, CONFLICT));
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
        causes.extend(token(source, &path.child("serviceAccountToken"), volume));
    }
    if let Some(source) = &projection.cluster_trust_bundle {
        causes.extend(trust_bundle(source, &path.child("clusterTrustBundle")));
    }
    if let Some(source) = &projection.pod_certificate {
        causes.extend(pod_certificate(source, &path.child("podCertificate")));
    }
    if json!(projection).as_object().map_or(0, serde_json::Map::len) > 1 {
        causes.push(field::forbidden(path, "may not specify more than 1 volume type per source"));
    }
    causes
}

fn token(source: &ServiceAccountTokenProjection, path: &Path, volume: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let seconds = source.expiration_seconds.unwrap_or_default();
    let own = path.child("expirationSeconds");
    if seconds < LEAST_TOKEN_SECONDS {
        causes.push(field::invalid(&own, seconds, "may not specify a duration less than 10 minutes"));
    } else if seconds > MOST_TOKEN_SECONDS {
        causes.push(field::invalid(&own, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    // Upstream names the volume's own field here.
    causes.extend(file_path(&source.path, &volume.child("path")));
    causes
}

fn trust_bundle(source: &ClusterTrustBundleProjection, path: &Path) -> Vec<Cause> {
    let mut causes = match (source.name.as_deref(), source.signer_name.as_deref()) {
        (Some(_), Some(_)) => vec![field::invalid(path, source, "only one of name and signerName may be used")],
        (Some(""), None) => vec![field::required(&path.child("name"), "must be a valid object name")],
        (None, Some("")) => vec![field::required(&path.child("signerName"), "must be a valid signer name")],
        (None, None) => vec![field::required(path, "either name or signerName must be specified")],
        _ => Vec::new(),
    };
    causes.extend(file_path(&source.path, &path.child("path")));
    causes
}

fn pod_certificate(source: &PodCertificateProjection, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !KEY_TYPES.contains(&source.key_type.as_str()) {
        causes.push(field::unsupported(&path.child("keyType"), &source.key_type, KEY_TYPES));
    }
    let paths = [
        ("credentialBundlePath", &source.credential_bundle_path),
        ("keyPath", &source.key_path),
        ("certificateChainPath", &source.certificate_chain_path),
    ];
    let given = paths.map(|(name, path)| (name, path.as_deref().unwrap_or_default()));
    for (name, file) in given.into_iter().filter(|(_, file)| !file.is_empty()) {
        causes.extend(file_path(file, &path.child(name)));
    }
    if given.iter().all(|(_, file)| file.is_empty()) {
        let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        causes.push(field::required(path, detail));
    }
    causes
}

/// Where a projection puts files as far as it says so itself, and what a conflict about each is told of.
fn files_of(projection: &VolumeProjection) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if let Some(source) = &projection.secret {
        all.extend(source.items.iter().flatten().map(|item| (item.path.clone(), source.name.clone())));
    }
    if let Some(source) = &projection.config_map {
        all.extend(source.items.iter().flatten().map(|item| (item.path.clone(), source.name.clone())));
    }
    let mut own = Vec::new();
    if let Some(source) = &projection.downward_api {
        own.extend(source.items.iter().flatten().map(|item| item.path.clone()));
    }
    own.extend(projection.cluster_trust_bundle.as_ref().map(|source| source.path.clone()));
    if let Some(source) = &projection.pod_certificate {
        let paths = [&source.credential_bundle_path, &source.key_path, &source.certificate_chain_path];
        own.extend(paths.into_iter().flatten().cloned());
    }
    all.extend(own.into_iter().map(|file| (file.clone(), file)));
    all.retain(|(file, _)| !file.is_empty());
    all
}
