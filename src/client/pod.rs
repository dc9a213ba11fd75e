//! A pod as controllers and the scheduler know it: the fields that they read, and no others. A server holds
//! every pod of the cluster in memory this way, and most of a whole one (volumes, probes, environments, what
//! its containers do) concerns its node alone. Whoever writes pods uses the whole type.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Affinity, ContainerPort, Pod as Whole, PodCondition, PodIP, PodSchedulingGate, Toleration},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

/// Amounts by resource name. A map would take half a kilobyte for two of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Quantity>", into = "BTreeMap<String, Quantity>")]
pub struct ResourceList(Box<[(String, Quantity)]>);

impl ResourceList {
    /// The amounts.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Quantity)> {
        self.0.iter().map(|(name, amount)| (name, amount))
    }

    /// Whether there is an amount of a resource.
    pub fn names(&self, resource: &str) -> bool {
        self.0.iter().any(|(name, _)| name == resource)
    }
}

impl From<BTreeMap<String, Quantity>> for ResourceList {
    fn from(list: BTreeMap<String, Quantity>) -> Self {
        Self(list.into_iter().collect())
    }
}

impl From<ResourceList> for BTreeMap<String, Quantity> {
    fn from(list: ResourceList) -> Self {
        list.0.into_iter().collect()
    }
}

/// See [`Whole`], as everything here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata, all of it.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: Option<PodSpec>,
    /// What is.
    pub status: Option<PodStatus>,
}

/// What a pod is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that it is bound to.
    pub node_name: Option<String>,
    /// Who binds it.
    pub scheduler_name: Option<String>,
    /// Its place in line.
    pub priority: Option<i32>,
    /// What gave it its priority.
    pub priority_class_name: Option<String>,
    /// How long it may run.
    pub active_deadline_seconds: Option<i64>,
    /// Its name in the DNS.
    pub hostname: Option<String>,
    /// The service under which it has that name.
    pub subdomain: Option<String>,
    /// Labels that its node has.
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Which nodes it wants.
    pub affinity: Option<Box<Affinity>>,
    /// Taints that it bears.
    pub tolerations: Option<Box<[Toleration]>>,
    /// What holds it back.
    pub scheduling_gates: Option<Box<[PodSchedulingGate]>>,
    /// What it needs in addition to its containers.
    pub overhead: Option<ResourceList>,
    /// What it needs in the place of what its containers do.
    pub resources: Option<Resources>,
    /// Its containers.
    pub containers: Box<[Container]>,
    /// Containers that run before, or beside, these.
    pub init_containers: Option<Box<[Container]>>,
    /// Volumes that have claims.
    #[serde(deserialize_with = "claims_alone")]
    pub volumes: Option<Box<[Volume]>>,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: Option<String>,
    /// Whether an init container is a sidecar.
    pub restart_policy: Option<String>,
    /// Ports that it has.
    pub ports: Option<Box<[ContainerPort]>>,
    /// What it needs.
    pub resources: Option<Resources>,
}

/// What is needed, and what may be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What is set aside.
    pub requests: Option<ResourceList>,
    /// What may be used at most.
    pub limits: Option<ResourceList>,
}

/// A volume that has a claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The claim, if it is another object's.
    pub persistent_volume_claim: Option<ClaimSource>,
    /// The claim is the pod's own.
    pub ephemeral: Option<EphemeralSource>,
}

/// Which claim a volume has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSource {
    /// Its name.
    pub claim_name: String,
}

/// That a volume's claim is made for its pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EphemeralSource {}

/// What a pod is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// How far it has come.
    pub phase: Option<String>,
    /// Why it is there.
    pub reason: Option<String>,
    /// Its quality of service.
    pub qos_class: Option<String>,
    /// What is true of it.
    pub conditions: Option<Box<[PodCondition]>>,
    /// Its first address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// Its addresses.
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Box<[PodIP]>>,
    /// What is true of its containers.
    pub container_statuses: Option<Box<[ContainerStatus]>>,
}

/// What a container is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// How often it has ended and begun again.
    pub restart_count: i32,
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(by: &()) -> Cow<'_, str> {
        Whole::kind(by)
    }

    fn group(by: &()) -> Cow<'_, str> {
        Whole::group(by)
    }

    fn version(by: &()) -> Cow<'_, str> {
        Whole::version(by)
    }

    fn plural(by: &()) -> Cow<'_, str> {
        Whole::plural(by)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A volume of any kind; those without a claim are forgotten at once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyVolume {
    name: String,
    persistent_volume_claim: Option<ClaimSource>,
    ephemeral: Option<IgnoredAny>,
}

fn claims_alone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<[Volume]>>, D::Error> {
    let all: Option<Vec<AnyVolume>> = Option::deserialize(deserializer)?;
    let claims = all.into_iter().flatten().filter_map(|AnyVolume { name, persistent_volume_claim, ephemeral }| {
        let ephemeral = ephemeral.map(|_| EphemeralSource {});
        (persistent_volume_claim.is_some() || ephemeral.is_some()).then_some(Volume {
            name,
            persistent_volume_claim,
            ephemeral,
        })
    });
    let claims: Box<[Volume]> = claims.collect();
    Ok((!claims.is_empty()).then_some(claims))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_of_a_pod_reads_as_the_whole_one_does() {
        let whole = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}},
            "spec": {
                "nodeName": "n", "priority": 7, "tolerations": [{"key": "k", "operator": "Exists"}],
                "containers": [{"name": "c", "image": "i", "command": ["x"], "env": [{"name": "A", "value": "1"}],
                    "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}],
                "volumes": [{"name": "t", "emptyDir": {}}, {"name": "d", "persistentVolumeClaim": {"claimName": "x"}},
                    {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}],
            },
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}],
                "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 3}]},
        });
        let pod: Pod = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(ObjectMeta::default(), Pod::default().metadata);
        let (spec, status) = (pod.spec.as_ref().unwrap(), pod.status.as_ref().unwrap());
        let claims: Vec<&str> = spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        assert_eq!(claims, ["d", "e"]);
        assert_eq!(status.container_statuses.as_ref().unwrap()[0].restart_count, 3);
        // Every field that is known stands where the API has it.
        let known = serde_json::to_value(&pod).unwrap();
        for field in ["nodeName", "priority", "tolerations"] {
            assert_eq!(known["spec"][field], whole["spec"][field], "{field}");
        }
        assert_eq!(known["spec"]["containers"][0]["resources"], whole["spec"]["containers"][0]["resources"]);
        assert_eq!(known["status"]["podIPs"], whole["status"]["podIPs"]);
        assert_eq!(
            (Pod::kind(&()), Pod::api_version(&()), Pod::plural(&())),
            ("Pod".into(), "v1".into(), "pods".into())
        );
    }

    #[test]
    fn a_pod_without_anything_is_one() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"volumes": null}})).unwrap();
        assert_eq!(pod.spec, Some(PodSpec::default()));
    }
}
