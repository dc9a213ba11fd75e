//! What clients are warned of in the volumes of a pod: drivers that are no longer there, and files of one volume
//! that cover each other.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, PodSpec, Volume, VolumeProjection};

use super::warnings::LIMIT;
use crate::api::field::Path;

/// A file or folder within a volume, and what puts it there if several may.
struct Place {
    path: String,
    source: String,
}

impl Place {
    fn covers(&self, other: &Self) -> bool {
        let below = |inner: &str, outer: &str| format!("{inner}/").starts_with(&format!("{outer}/"));
        !self.path.is_empty()
            && !other.path.is_empty()
            && (below(&self.path, &other.path) || below(&other.path, &self.path))
    }

    fn shown(&self) -> String {
        if self.source.is_empty() { format!("{:?}", self.path) } else { format!("{:?} ({})", self.path, self.source) }
    }
}

/// Warnings about all volumes of the spec at `path`.
pub fn all(spec: &PodSpec, path: &Path) -> Vec<String> {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let mut warnings = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.child("volumes").index(index);
        let gone = gone(volume).into_iter().filter(|(_, used, _)| *used);
        warnings.extend(gone.map(|(field, _, since)| format!("{}: {since}", path.child(field))));
    }
    warnings.extend(volumes.iter().flat_map(overlaps));
    warnings
}

/// Drivers that went away, in upstream's order.
fn gone(volume: &Volume) -> [(&'static str, bool, &'static str); 9] {
    const IN_1_25: &str = "deprecated in v1.22, non-functional in v1.25+";
    const IN_1_31: &str = "deprecated in v1.28, non-functional in v1.31+";
    [
        (
            "photonPersistentDisk",
            volume.photon_persistent_disk.is_some(),
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        ("gitRepo", volume.git_repo.is_some(), "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", volume.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", volume.flocker.is_some(), IN_1_25),
        ("storageOS", volume.storageos.is_some(), IN_1_25),
        ("quobyte", volume.quobyte.is_some(), IN_1_25),
        ("glusterfs", volume.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", volume.cephfs.is_some(), IN_1_31),
        ("rbd", volume.rbd.is_some(), IN_1_31),
    ]
}

fn overlaps(volume: &Volume) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(source) = &volume.config_map {
        let kind = format!("ConfigMap {:?}", source.name);
        warnings.extend(covered(&volume.name, &kind, of_keys(source.items.as_deref(), "")));
    }
    if let Some(source) = &volume.secret {
        let kind = format!("Secret {:?}", source.secret_name.as_deref().unwrap_or_default());
        warnings.extend(covered(&volume.name, &kind, of_keys(source.items.as_deref(), "")));
    }
    if let Some(source) = &volume.downward_api {
        warnings.extend(covered(&volume.name, "DownwardAPI", of_files(source.items.as_deref(), "")));
    }
    if let Some(source) = &volume.projected {
        let sources = source.sources.as_deref().unwrap_or_default();
        let empty = sources.iter().filter(|source| **source == VolumeProjection::default());
        warnings.extend(empty.map(|_| format!("volume {:?} (Projected) has no sources provided", volume.name)));
        warnings.extend(covered(&volume.name, "Projected", sources.iter().flat_map(of_projection).collect()));
    }
    warnings
}

/// A warning for each pair of places of a volume of which one is within the other.
fn covered(volume: &str, kind: &str, mut places: Vec<Place>) -> Vec<String> {
    for place in &mut places {
        place.path.truncate(place.path.trim_end_matches('/').len());
    }
    let mut warnings = Vec::new();
    for (index, place) in places.iter().enumerate().take_while(|(index, _)| *index < LIMIT) {
        for other in places[..index].iter().filter(|other| other.covers(place)) {
            let (place, other) = (place.shown(), other.shown());
            warnings.push(format!("volume {volume:?} ({kind}): overlapping paths: {place} with {other}"));
        }
    }
    warnings
}

fn of_projection(projection: &VolumeProjection) -> Vec<Place> {
    let place = |path: Option<&str>, source: &str| {
        path.filter(|path| !path.is_empty()).map(|path| Place { path: path.to_owned(), source: source.to_owned() })
    };
    if let Some(source) = projection.config_map.as_ref().filter(|source| source.items.is_some()) {
        of_keys(source.items.as_deref(), &format!("ConfigMap {:?}", source.name))
    } else if let Some(source) = projection.secret.as_ref().filter(|source| source.items.is_some()) {
        of_keys(source.items.as_deref(), &format!("Secret {:?}", source.name))
    } else if let Some(source) = projection.downward_api.as_ref().filter(|source| source.items.is_some()) {
        of_files(source.items.as_deref(), "DownwardAPI")
    } else if let Some(source) = &projection.service_account_token {
        place(Some(&source.path), "ServiceAccountToken").into_iter().collect()
    } else if let Some(source) = &projection.cluster_trust_bundle {
        let name = source.name.as_ref().or(source.signer_name.as_ref()).map(String::as_str).unwrap_or_default();
        place(Some(&source.path), &format!("ClusterTrustBundle {name:?}")).into_iter().collect()
    } else if let Some(source) = &projection.pod_certificate {
        let places = [
            place(source.certificate_chain_path.as_deref(), "PodCertificate chain"),
            place(source.key_path.as_deref(), "PodCertificate key"),
            place(source.credential_bundle_path.as_deref(), "PodCertificate credential bundle"),
        ];
        places.into_iter().flatten().collect()
    } else {
        Vec::new()
    }
}

fn of_keys(items: Option<&[KeyToPath]>, source: &str) -> Vec<Place> {
    let items = items.into_iter().flatten();
    items.map(|item| Place { path: item.path.clone(), source: source.to_owned() }).collect()
}

fn of_files(items: Option<&[DownwardAPIVolumeFile]>, source: &str) -> Vec<Place> {
    let items = items.into_iter().flatten();
    items.map(|item| Place { path: item.path.clone(), source: source.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_that_cover_each_other_are_told() {
        let spec = json!({"containers": [], "volumes": [
            {"name": "map", "configMap": {"name": "m", "items": [{"key": "a", "path": "p"}, {"key": "b", "path": "p/q/"}]}},
            {"name": "both", "projected": {"sources": [
                {"secret": {"name": "s", "items": [{"key": "a", "path": "x"}]}},
                {"serviceAccountToken": {"path": "x"}}, {}]}}]});
        let warnings = all(&serde_json::from_value(spec).unwrap(), &Path::new("spec"));
        assert_eq!(
            warnings,
            [
                "volume \"map\" (ConfigMap \"m\"): overlapping paths: \"p/q\" with \"p\"",
                "volume \"both\" (Projected) has no sources provided",
                "volume \"both\" (Projected): overlapping paths: \"x\" (ServiceAccountToken) with \"x\" (Secret \"s\")",
            ]
        );
    }
}
