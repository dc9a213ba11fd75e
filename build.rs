//! Writes what the API reference says of every type that built-in kinds consist of, as the Kubernetes
//! types document it, for the executable to carry compressed. Were it asked of the types when it is
//! needed, their code to tell it would be a tenth of the executable.
//!
//! `definitions.zlib` holds one line for each definition, sorted: its name, a space, its JSON schema. What the
//! columns of every table show is a file of its own: `metadata-name.txt` and its like.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
};

use flate2::{Compression, write::ZlibEncoder};
use k8s_openapi::{
    api::{
        admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
        authorization::v1 as authorization, autoscaling::v1 as autoscaling1, autoscaling::v2 as autoscaling2,
        batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flowcontrol, networking::v1 as networking,
        node::v1 as node, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource,
        scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions,
    apimachinery::pkg::{apis::meta::v1 as meta, version},
    kube_aggregator::pkg::apis::apiregistration::v1 as registration,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

type WatchEvent = meta::WatchEvent<Value>;

macro_rules! add {
    ($generator:expr => $($module:ident { $($kind:ident)* })*) => {
        $($($generator.subschema_for::<$module::$kind>();)*)*
    };
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut generator = SchemaSettings::draft07().into_generator();
    add_kinds(&mut generator);
    add_meta(&mut generator);
    let mut definitions: Vec<(String, Value)> = generator.take_definitions(false).into_iter().collect();
    definitions.sort_by(|a, b| a.0.cmp(&b.0));
    let directory = env::var_os("OUT_DIR").expect("cargo names the folder for what is made");
    let file = File::create(Path::new(&directory).join("definitions.zlib")).expect("the folder can be written to");
    write_columns(Path::new(&directory), &definitions);
    let mut out = ZlibEncoder::new(file, Compression::best());
    for (name, definition) in definitions {
        writeln!(out, "{name} {definition}").expect("the disk has space");
    }
    out.finish().expect("the disk has space");
}

/// What is said of fields of `metadata` that tables show.
fn write_columns(directory: &Path, definitions: &[(String, Value)]) {
    let metadata = definitions.iter().find(|(name, _)| name.ends_with(".meta.v1.ObjectMeta"));
    let (_, metadata) = metadata.expect("every kind has metadata");
    for field in ["name", "creationTimestamp"] {
        let text = metadata["properties"][field]["description"].as_str().expect("the field is documented");
        fs::write(directory.join(format!("metadata-{field}.txt")), text).expect("the disk has space");
    }
}

/// The built-in kinds, and what their subresources take.
fn add_kinds(generator: &mut SchemaGenerator) {
    add!(generator =>
        admission {
            MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
            ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
        }
        apps { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        authentication { SelfSubjectReview TokenRequest TokenReview }
        authorization {
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        }
        autoscaling1 { HorizontalPodAutoscaler Scale }
        autoscaling2 { HorizontalPodAutoscaler }
        batch { CronJob Job }
        certificates { CertificateSigningRequest }
        coordination { Lease }
        core {
            Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
            PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
        }
        discovery { EndpointSlice }
        events { Event }
        extensions { CustomResourceDefinition }
        flowcontrol { FlowSchema PriorityLevelConfiguration }
        networking { IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR }
        node { RuntimeClass }
        policy { Eviction PodDisruptionBudget }
        rbac { ClusterRole ClusterRoleBinding Role RoleBinding }
        registration { APIService }
        resource { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
        scheduling { PriorityClass }
        storage {
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
        }
    );
}

/// What requests and answers of every kind consist of.
fn add_meta(generator: &mut SchemaGenerator) {
    add!(generator =>
        meta { APIGroup APIGroupList APIResourceList APIVersions DeleteOptions ListMeta ObjectMeta Patch Status }
        version { Info }
    );
    generator.subschema_for::<WatchEvent>();
}
