//! Rules of volumes of clouds and storage systems whose drivers left Kubernetes, but not its API.

use k8s_openapi::api::core::v1::{
    AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, AzureFileVolumeSource, CinderVolumeSource,
    FlexVolumeSource, FlockerVolumeSource, GCEPersistentDiskVolumeSource, GlusterfsVolumeSource, QuobyteVolumeSource,
    ScaleIOVolumeSource, StorageOSVolumeSource, Volume,
};

use super::volumes::Source;
use crate::api::{
    field::{self, Path},
    kinds::volume_source::required,
    status::Cause,
    validation::{self, name},
};

const CACHING_MODES: &[&str] = &["None", "ReadOnly", "ReadWrite"];
const AZURE_DISK_KINDS: &[&str] = &["Dedicated", "Managed", "Shared"];
const MANAGED_DISK_URIS: &[&str] =
    &["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"];
const BLOB_URIS: &[&str] = &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"];
const QUOBYTE_TENANT_LIMIT_BYTES: usize = 64;
const QUOBYTE_REGISTRY: &str = "must be a host:port pair or multiple pairs separated by commas";

/// These sources of a volume, in upstream's order among all others.
pub fn sources(volume: &Volume, path: &Path) -> [Source; 14] {
    let at = |name: &str| path.child(name);
    [
        (
            "gcePersistentDisk",
            volume.gce_persistent_disk.as_ref().map(|source| gce_disk(source, &at("persistentDisk"))),
        ),
        (
            "awsElasticBlockStore",
            volume.aws_elastic_block_store.as_ref().map(|source| aws_disk(source, &at("awsElasticBlockStore"))),
        ),
        ("glusterfs", volume.glusterfs.as_ref().map(|source| glusterfs(source, &at("glusterfs")))),
        ("flocker", volume.flocker.as_ref().map(|source| flocker(source, &at("flocker")))),
        ("cinder", volume.cinder.as_ref().map(|source| cinder(source, &at("cinder")))),
        ("quobyte", volume.quobyte.as_ref().map(|source| quobyte(source, &at("quobyte")))),
        ("flexVolume", volume.flex_volume.as_ref().map(|source| flex(source, &at("flexVolume")))),
        ("azureFile", volume.azure_file.as_ref().map(|source| azure_file(source, &at("azureFile")))),
        (
            "vsphereVolume",
            volume
                .vsphere_volume
                .as_ref()
                .map(|source| all_required(&[("volumePath", &source.volume_path)], &at("vsphereVolume"))),
        ),
        (
            "photonPersistentDisk",
            volume
                .photon_persistent_disk
                .as_ref()
                .map(|source| all_required(&[("pdID", &source.pd_id)], &at("photonPersistentDisk"))),
        ),
        (
            "portworxVolume",
            volume
                .portworx_volume
                .as_ref()
                .map(|source| all_required(&[("volumeID", &source.volume_id)], &at("portworxVolume"))),
        ),
        ("azureDisk", volume.azure_disk.as_ref().map(|source| azure_disk(source, &at("azureDisk")))),
        ("storageos", volume.storageos.as_ref().map(|source| storageos(source, &at("storageos")))),
        ("scaleIO", volume.scale_io.as_ref().map(|source| scale_io(source, &at("scaleIO")))),
    ]
}

fn all_required(texts: &[(&str, &str)], path: &Path) -> Vec<Cause> {
    texts.iter().filter_map(|(name, text)| required(Some(text), &path.child(name))).collect()
}

fn gce_disk(source: &GCEPersistentDiskVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = all_required(&[("pdName", &source.pd_name)], path);
    causes.extend(partition(source.partition, path));
    causes
}

fn aws_disk(source: &AWSElasticBlockStoreVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = all_required(&[("volumeID", &source.volume_id)], path);
    causes.extend(partition(source.partition, path));
    causes
}

/// 0 is the whole disk, though the message does not say so.
fn partition(number: Option<i32>, path: &Path) -> Option<Cause> {
    let number = number.filter(|number| !(0..=255).contains(number))?;
    Some(field::invalid(&path.child("partition"), number, &validation::between(1, 255)))
}

fn glusterfs(source: &GlusterfsVolumeSource, path: &Path) -> Vec<Cause> {
    all_required(&[("endpoints", &source.endpoints), ("path", &source.path)], path)
}

fn flocker(source: &FlockerVolumeSource, path: &Path) -> Vec<Cause> {
    let name = source.dataset_name.as_deref().unwrap_or_default();
    let uuid = source.dataset_uuid.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => causes.push(field::required(path, "one of datasetName and datasetUUID is required")),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            causes.push(field::invalid(path, "resource", detail));
        }
        _ => {}
    }
    if name.contains('/') {
        causes.push(field::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
    causes
}

fn cinder(source: &CinderVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = all_required(&[("volumeID", &source.volume_id)], path);
    let secret = source.secret_ref.as_ref();
    causes.extend(secret.and_then(|secret| required(Some(&secret.name), &path.child("secretRef").child("name"))));
    causes
}

fn quobyte(source: &QuobyteVolumeSource, path: &Path) -> Vec<Cause> {
    let registry = path.child("registry");
    let tenant = source.tenant.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if source.registry.is_empty() {
        causes.push(field::required(&registry, QUOBYTE_REGISTRY));
    } else if tenant.len() > QUOBYTE_TENANT_LIMIT_BYTES {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        causes.push(field::required(&path.child("tenant"), detail));
    } else {
        let bad = source.registry.split(',').filter(|pair| !is_host_and_port(pair));
        causes.extend(bad.map(|_| field::invalid(&registry, &source.registry, QUOBYTE_REGISTRY)));
    }
    causes.extend(all_required(&[("volume", &source.volume)], path));
    causes
}

/// `host:port` or `[address]:port`, whatever the two are.
fn is_host_and_port(pair: &str) -> bool {
    let Some((host, _)) = pair.rsplit_once(':') else { return false };
    match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| !address.contains(['[', ']'])),
        None => !host.contains([':', '[', ']']),
    }
}

fn flex(source: &FlexVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = all_required(&[("driver", &source.driver)], path);
    for key in source.options.iter().flatten().map(|(key, _)| key) {
        let namespace = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            causes.push(field::invalid(&path.child("options").key(key), key, detail));
        }
    }
    causes
}

fn azure_file(source: &AzureFileVolumeSource, path: &Path) -> Vec<Cause> {
    all_required(&[("secretName", &source.secret_name), ("shareName", &source.share_name)], path)
}

fn azure_disk(source: &AzureDiskVolumeSource, path: &Path) -> Vec<Cause> {
    let mut causes = all_required(&[("diskName", &source.disk_name), ("diskURI", &source.disk_uri)], path);
    if let Some(mode) = source.caching_mode.as_deref() {
        causes.extend(field::one_of(&path.child("cachingMode"), mode, CACHING_MODES));
    }
    let Some(kind) = source.kind.as_deref() else { return causes };
    causes.extend(field::one_of(&path.child("kind"), kind, AZURE_DISK_KINDS));
    let (start, form) =
        if kind == "Managed" { ("/subscriptions/", MANAGED_DISK_URIS) } else { ("https://", BLOB_URIS) };
    if !source.disk_uri.starts_with(start) {
        causes.push(field::unsupported(&path.child("diskURI"), &source.disk_uri, form));
    }
    causes
}

fn storageos(source: &StorageOSVolumeSource, path: &Path) -> Vec<Cause> {
    let own = path.child("volumeName");
    let mut causes = match source.volume_name.as_deref().unwrap_or_default() {
        "" => vec![field::required(&own, "")],
        text => field::invalid_each(&own, text, &name::dns1123_label(text)),
    };
    if let Some(text) = source.volume_namespace.as_deref().filter(|text| !text.is_empty()) {
        causes.extend(field::invalid_each(&path.child("volumeNamespace"), text, &name::dns1123_label(text)));
    }
    let secret = source.secret_ref.as_ref();
    causes.extend(secret.and_then(|secret| required(Some(&secret.name), &path.child("secretRef").child("name"))));
    causes
}

fn scale_io(source: &ScaleIOVolumeSource, path: &Path) -> Vec<Cause> {
    let volume = source.volume_name.as_deref().unwrap_or_default();
    all_required(&[("gateway", &source.gateway), ("system", &source.system), ("volumeName", volume)], path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_azure_is_where_its_kind_is() {
        let disk = |kind: &str, uri: &str| {
            let source = AzureDiskVolumeSource {
                disk_name: "d".to_owned(),
                disk_uri: uri.to_owned(),
                kind: Some(kind.to_owned()),
                ..AzureDiskVolumeSource::default()
            };
            azure_disk(&source, &Path::new("d")).into_iter().map(|cause| cause.field).collect::<Vec<_>>()
        };
        assert_eq!(disk("Managed", "/subscriptions/a"), [""; 0]);
        assert_eq!(disk("Shared", "https://a"), [""; 0]);
        assert_eq!(disk("other", "a"), ["d.kind", "d.diskURI"]);
    }

    #[test]
    fn registries_are_hosts_with_ports() {
        for (pair, valid) in [("a:1", true), ("[::1]:1", true), ("a", false), ("::1:1", false), ("[a:1", false)] {
            assert_eq!(is_host_and_port(pair), valid, "{pair}");
        }
    }
}
