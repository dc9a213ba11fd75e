//! Every kind, walked by one table: a minimal object decodes, is valid, keeps its defaults when
//! decoded again, and fills a row.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::api::kind::{STORED, Scope};

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn workload() -> Value {
    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}})
}

fn rule() -> Value {
    json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]})
}

/// A PKCS#10 request, PEM, as it stands in JSON.
fn certificate_request() -> Value {
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    json!(k8s_openapi::ByteString(pem.into_bytes()))
}

fn job() -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    json!({"spec": {"template": template}})
}

/// What a minimal object of a kind has beyond its metadata.
fn body(kind: &str) -> Value {
    match kind {
        "Pod" => json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
        "ControllerRevision" => json!({"data": {}}),
        "Service" => json!({"spec": {"ports": [{"port": 80}]}}),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => workload(),
        "ReplicationController" => json!({"spec": {"template": template()}}),
        "PodTemplate" => json!({"template": template()}),
        "Job" => job(),
        "CronJob" => json!({"spec": {"schedule": "* * * * *", "jobTemplate": job()}}),
        "EndpointSlice" => json!({"addressType": "IPv4", "endpoints": []}),
        "Event" => json!({"involvedObject": {"namespace": "b"}, "regarding": {"namespace": "b"}, "type": "Normal",
            "eventTime": "2026-01-01T00:00:00.000001Z", "reportingComponent": "c", "reportingController": "c",
            "reportingInstance": "i", "action": "a", "reason": "r"}),
        "RoleBinding" | "ClusterRoleBinding" => json!({"roleRef": {"kind": "ClusterRole", "name": "r"}}),
        "HorizontalPodAutoscaler" => {
            json!({"spec": {"maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
        }
        "Ingress" => json!({"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}}),
        "IngressClass" => json!({"spec": {"controller": "example.com/c"}}),
        "PersistentVolume" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/v"}}})
        }
        "PersistentVolumeClaim" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        }
        "StorageClass" => json!({"provisioner": "example.com/p"}),
        "RuntimeClass" => json!({"handler": "h"}),
        "CustomResourceDefinition" => json!({"spec": {"group": "b.example", "scope": "Cluster",
            "names": {"plural": "a", "kind": "A"}, "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
        "CertificateSigningRequest" => {
            json!({"spec": {"signerName": "a.b/c", "usages": ["any"], "request": certificate_request()}})
        }
        "APIService" => json!({"spec": {"version": "v1", "group": "b.example", "groupPriorityMinimum": 1,
            "versionPriority": 1}}),
        "ValidatingAdmissionPolicy" => json!({"spec": {"matchConstraints": {"resourceRules": [rule()]},
            "validations": [{"expression": "true"}]}}),
        "MutatingAdmissionPolicy" => json!({"spec": {"matchConstraints": {"resourceRules": [rule()]},
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: \"add\", path: \"/a\", value: \"b\"}]"}}]}}),
        "ValidatingAdmissionPolicyBinding" => json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
        "MutatingAdmissionPolicyBinding" => json!({"spec": {"policyName": "p"}}),
        "FlowSchema" => json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}}),
        "PriorityLevelConfiguration" => {
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}})
        }
        "CSIDriver" | "ResourceClaim" | "DeviceClass" => json!({"spec": {}}),
        "ResourceClaimTemplate" => json!({"spec": {"spec": {}}}),
        "ResourceSlice" => json!({"spec": {"driver": "d", "nodeName": "n",
            "pool": {"name": "p", "generation": 0, "resourceSliceCount": 1}}}),
        "CSINode" => json!({"spec": {"drivers": []}}),
        "CSIStorageCapacity" => json!({"storageClassName": "c"}),
        "VolumeAttachment" => {
            json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}})
        }
        "VolumeAttributesClass" => json!({"driverName": "d", "parameters": {"a": "b"}}),
        "IPAddress" => json!({"spec": {"parentRef": {"resource": "services", "name": "s"}}}),
        "ServiceCIDR" => json!({"spec": {"cidrs": ["10.0.0.0/24"]}}),
        _ => json!({}),
    }
}

/// Kinds whose names follow from what they hold.
fn name(kind: &str) -> &'static str {
    match kind {
        "CustomResourceDefinition" => "a.b.example",
        "APIService" => "v1.b.example",
        "IPAddress" => "10.0.0.1",
        _ => "a",
    }
}

fn minimal(kind: &Descriptor) -> Value {
    let mut object = body(&kind.kind);
    object["metadata"] = json!({"name": name(&kind.kind), "uid": "u"});
    if kind.scope == Scope::Namespaced {
        object["metadata"]["namespace"] = json!("b");
    }
    object
}

#[test]
fn every_kind_decodes_defaults_validates_and_shows_a_minimal_object() {
    for kind in all() {
        let name = format!("{}.{}", kind.plural, kind.group);
        let decoded = kind.strategy.decode(minimal(&kind)).unwrap();
        assert_eq!(decoded["kind"], *kind.kind, "{name}");
        assert_eq!(decoded["apiVersion"], kind.api_version(), "{name}");
        assert_eq!(*kind.strategy.decode(decoded.clone()).unwrap(), *decoded, "defaults of {name} are stable");
        let created = kind.strategy.prepare_for_create(decoded.into_value()).unwrap();
        assert_eq!(*kind.strategy.decode(created.clone()).unwrap(), *created, "a new object of {name} is complete");
        assert_eq!(kind.strategy.validate(&created), [], "{name}");
        let updated = kind.strategy.prepare_for_update(created.clone(), &created).unwrap();
        assert_eq!(*updated, *created, "an update of {name} that changes nothing");
        assert_eq!(kind.strategy.validate_update(&updated, &created), [], "{name}");
        let cells = kind.strategy.cells(&created, Timestamp::UNIX_EPOCH);
        assert_eq!(cells.len(), kind.strategy.columns().len(), "columns of {name}");
        assert!(cells.iter().all(|cell| !cell.is_object()), "{name}: {cells:?}");
    }
}

#[test]
fn every_selectable_field_has_a_value() {
    for kind in all() {
        let object = kind.strategy.decode(minimal(&kind)).unwrap();
        let fields = kind.strategy.selectable_fields(&object);
        let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, *kind.strategy.selectable_field_names(), "{}", kind.plural);
    }
}

#[test]
fn names_are_distinct_and_well_formed() {
    let kinds = all();
    let resources: BTreeSet<(String, &str)> = kinds.iter().map(|kind| (kind.api_version(), &*kind.plural)).collect();
    assert_eq!(resources.len(), kinds.len());
    let mut short = BTreeSet::new();
    for kind in kinds.iter().filter(|kind| shared_storage(kind).is_none()) {
        assert_eq!(kind.singular, kind.kind.to_lowercase(), "{}", kind.plural);
        assert!(kind.verbs.iter().all(|verb| STORED.contains(verb)), "{}", kind.plural);
        for name in kind.short_names.iter() {
            assert!(short.insert(&**name), "{name} is taken");
        }
    }
}

#[test]
fn primary_columns_hold_the_name() {
    for kind in all() {
        let columns = kind.strategy.columns();
        let primary = columns.iter().position(|column| column.format == "name").expect("a table has a primary column");
        let object = kind.strategy.decode(minimal(&kind)).unwrap();
        assert_eq!(kind.strategy.cells(&object, Timestamp::UNIX_EPOCH)[primary], name(&kind.kind), "{}", kind.plural);
    }
}

#[test]
fn events_of_both_groups_are_stored_as_one() {
    let shared = shared_storage(&descriptor::<event::regarding::EventKind>()).unwrap();
    assert_eq!(shared.stored.group, "");
    let event = json!({"metadata": {"name": "a", "namespace": "b"}, "note": "hello", "regarding": {"name": "p"}});
    let stored = (shared.to_stored)(event).unwrap();
    assert_eq!((&stored["apiVersion"], &stored["message"]), (&json!("v1"), &json!("hello")));
    assert_eq!((shared.from_stored)(stored).unwrap()["note"], "hello");
    assert!(shared_storage(&descriptor::<pod::PodKind>()).is_none());
}
