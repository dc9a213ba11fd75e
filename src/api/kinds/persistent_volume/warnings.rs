//! What clients are warned of in a volume that is valid (`GetWarningsForPersistentVolume` upstream).

use k8s_openapi::api::core::v1::PersistentVolume;

use crate::api::{field::Path, kinds::pod_template::warnings::node_term};

const ANNOTATIONS: [(&str, &str); 2] = [
    ("volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead"),
    ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
];

/// All warnings, in upstream's order.
pub fn of(volume: &PersistentVolume) -> Vec<String> {
    let spec = volume.spec.clone().unwrap_or_default();
    let annotated = |key: &str| volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key));
    let given = ANNOTATIONS.iter().filter(|(key, _)| annotated(key));
    let mut warnings: Vec<String> =
        given.map(|(key, message)| format!("metadata.annotations[{key}]: {message}")).collect();
    if spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle") {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    let path = Path::new("spec.nodeAffinity.required.nodeSelectorTerms");
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    for (index, term) in required.iter().flat_map(|required| &required.node_selector_terms).enumerate() {
        warnings.extend(node_term(term, false, &path.index(index)));
    }
    let gone = [
        (spec.cephfs.is_some(), "cephfs: deprecated in v1.28, non-functional in v1.31+"),
        (spec.photon_persistent_disk.is_some(), "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"),
        (spec.scale_io.is_some(), "scaleIO: deprecated in v1.16, non-functional in v1.22+"),
        (spec.storageos.is_some(), "storageOS: deprecated in v1.22, non-functional in v1.25+"),
        (spec.glusterfs.is_some(), "glusterfs: deprecated in v1.25, non-functional in v1.26+"),
        (spec.rbd.is_some(), "rbd: deprecated in v1.28, non-functional in v1.31+"),
    ];
    warnings.extend(gone.iter().filter(|(is_used, _)| *is_used).map(|(_, what)| format!("spec.{what}")));
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn recycling_and_old_sources_are_warned_of() {
        let spec = json!({"persistentVolumeReclaimPolicy": "Recycle",
                          "rbd": {"image": "i", "monitors": []}});
        let warnings = of(&serde_json::from_value(json!({"spec": spec})).unwrap());
        assert_eq!(warnings.len(), 2);
        assert_eq!(warnings[1], "spec.rbd: deprecated in v1.28, non-functional in v1.31+");
    }
}
