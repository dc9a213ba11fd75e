//! Facts about fields that the Kubernetes types do not carry: how lists are keyed and how patches
//! merge them (`x-kubernetes-list-type`, `-list-map-keys`, `-patch-strategy`, `-patch-merge-key`,
//! `-map-type` of the API reference). Definitions go by their names without the common prefix,
//! and every table is sorted, so that a fact is found by bisection.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::{Fact, ListType, MapType, PatchStrategy};

/// Nothing is known: lists and structures are replaced and owned as their types say.
pub const NONE: Fact =
    Fact { list: None, map: None, keys: &[], patch: PatchStrategy::Default, retain_keys: false, merge_key: None };
const SET: Fact = Fact { list: Some(ListType::Set), ..NONE };
const ATOMIC: Fact = Fact { list: Some(ListType::Atomic), ..NONE };

/// What is known about `field` of `definition` (`io.k8s.api.core.v1.PodSpec`).
pub fn of(definition: &str, field: &str) -> Fact {
    let definition = short(definition);
    if let Ok(at) = FIELDS.binary_search_by(|(owner, name, _)| (*owner, *name).cmp(&(definition, field))) {
        return FIELDS[at].2;
    }
    match ATOMIC_LISTS.binary_search_by(|(owner, _)| (*owner).cmp(definition)) {
        Ok(at) if ATOMIC_LISTS[at].1.contains(&field) => ATOMIC,
        _ => NONE,
    }
}

/// Keys of a list that a definition declares. Few lists of keys are in use (`name`, `type`, `port` and
/// `protocol`), so each is made once and kept for good.
pub fn interned_keys(keys: &[Box<str>]) -> &'static [&'static str] {
    static KNOWN: Mutex<BTreeSet<&'static [&'static str]>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock();
    if let Some(found) = known.iter().find(|found| found.iter().copied().eq(keys.iter().map(AsRef::as_ref))) {
        return found;
    }
    let leaked: Vec<&'static str> = keys.iter().map(|key| &*Box::leak(key.clone())).collect();
    let leaked: &'static [&'static str] = Box::leak(leaked.into_boxed_slice());
    known.insert(leaked);
    leaked
}

/// Whether appliers own values of `definition` only as a whole.
pub fn is_atomic_struct(definition: &str) -> bool {
    ATOMIC_STRUCTS.binary_search(&short(definition)).is_ok()
}

/// A definition's name as the tables spell it: `core.v1.PodSpec`.
pub fn short(definition: &str) -> &str {
    let prefixes = [
        "io.k8s.apimachinery.pkg.apis.",
        "io.k8s.apiextensions-apiserver.pkg.apis.",
        "io.k8s.kube-aggregator.pkg.apis.",
        "io.k8s.api.",
    ];
    prefixes.iter().find_map(|prefix| definition.strip_prefix(prefix)).unwrap_or(definition)
}

/// The full name of a definition that goes by its short one.
pub fn long(name: &str) -> String {
    let prefix = match name.split('.').next() {
        Some("meta") => "io.k8s.apimachinery.pkg.apis.",
        Some("apiextensions") => "io.k8s.apiextensions-apiserver.pkg.apis.",
        Some("apiregistration") => "io.k8s.kube-aggregator.pkg.apis.",
        _ => "io.k8s.api.",
    };
    format!("{prefix}{name}")
}

const fn keyed(keys: &'static [&'static str]) -> Fact {
    Fact { list: Some(ListType::Map), keys, ..NONE }
}

const fn map(kind: MapType) -> Fact {
    Fact { map: Some(kind), ..NONE }
}

impl Fact {
    const fn merged(self, merge_key: Option<&'static str>) -> Self {
        Self { patch: PatchStrategy::Merge, merge_key, ..self }
    }

    const fn replaced(self) -> Self {
        Self { patch: PatchStrategy::Replace, ..self }
    }

    const fn retaining(self) -> Self {
        Self { retain_keys: true, ..self }
    }
}

/// Fields with more to say than "an atomic list".
#[rustfmt::skip]
const FIELDS: &[(&str, &str, Fact)] = &[
    ("admissionregistration.v1.MutatingAdmissionPolicySpec", "matchConditions", keyed(&["name"]).merged(Some("name"))),
    ("admissionregistration.v1.MutatingWebhook", "matchConditions", keyed(&["name"]).merged(Some("name"))),
    ("admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", keyed(&["name"]).merged(Some("name"))),
    ("admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec", "validationActions", SET),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", "matchConditions", keyed(&["name"]).merged(Some("name"))),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", "variables", keyed(&["name"]).merged(Some("name"))),
    ("admissionregistration.v1.ValidatingAdmissionPolicyStatus", "conditions", keyed(&["type"])),
    ("admissionregistration.v1.ValidatingWebhook", "matchConditions", keyed(&["name"]).merged(Some("name"))),
    ("admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", keyed(&["name"]).merged(Some("name"))),
    ("apiextensions.v1.CustomResourceDefinitionStatus", "conditions", keyed(&["type"])),
    ("apiextensions.v1.JSONSchemaProps", "x-kubernetes-validations", keyed(&["rule"]).merged(Some("rule"))),
    ("apiregistration.v1.APIServiceStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("apps.v1.DaemonSetStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("apps.v1.DeploymentSpec", "strategy", NONE.retaining()),
    ("apps.v1.DeploymentStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("apps.v1.ReplicaSetStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("apps.v1.StatefulSetStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("batch.v1.JobStatus", "conditions", ATOMIC.merged(Some("type"))),
    ("batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", SET),
    ("batch.v1.UncountedTerminatedPods", "failed", SET),
    ("batch.v1.UncountedTerminatedPods", "succeeded", SET),
    ("certificates.v1.CertificateSigningRequestStatus", "conditions", keyed(&["type"])),
    ("core.v1.ComponentStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.Container", "env", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.Container", "ports", keyed(&["containerPort", "protocol"]).merged(Some("containerPort"))),
    ("core.v1.Container", "volumeDevices", keyed(&["devicePath"]).merged(Some("devicePath"))),
    ("core.v1.Container", "volumeMounts", keyed(&["mountPath"]).merged(Some("mountPath"))),
    ("core.v1.ContainerRestartRuleOnExitCodes", "values", SET),
    ("core.v1.ContainerStatus", "allocatedResourcesStatus", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.ContainerStatus", "volumeMounts", keyed(&["mountPath"]).merged(Some("mountPath"))),
    ("core.v1.EphemeralContainer", "env", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.EphemeralContainer", "ports", keyed(&["containerPort", "protocol"]).merged(Some("containerPort"))),
    ("core.v1.EphemeralContainer", "volumeDevices", keyed(&["devicePath"]).merged(Some("devicePath"))),
    ("core.v1.EphemeralContainer", "volumeMounts", keyed(&["mountPath"]).merged(Some("mountPath"))),
    ("core.v1.NamespaceStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.NodeAllocatableResourceClaimStatus", "containers", SET),
    ("core.v1.NodeSpec", "podCIDRs", SET.merged(None)),
    ("core.v1.NodeStatus", "addresses", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.NodeStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.PersistentVolumeClaimStatus", "allocatedResourceStatuses", map(MapType::Granular)),
    ("core.v1.PersistentVolumeClaimStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.PersistentVolumeSpec", "claimRef", map(MapType::Granular)),
    ("core.v1.PodSpec", "containers", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.PodSpec", "ephemeralContainers", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.PodSpec", "hostAliases", keyed(&["ip"]).merged(Some("ip"))),
    ("core.v1.PodSpec", "imagePullSecrets", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.PodSpec", "initContainers", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.PodSpec", "nodeSelector", map(MapType::Atomic)),
    ("core.v1.PodSpec", "resourceClaims", keyed(&["name"]).merged(Some("name")).retaining()),
    ("core.v1.PodSpec", "schedulingGates", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.PodSpec", "topologySpreadConstraints", keyed(&["topologyKey", "whenUnsatisfiable"]).merged(Some("topologyKey"))),
    ("core.v1.PodSpec", "volumes", keyed(&["name"]).merged(Some("name")).retaining()),
    ("core.v1.PodStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.PodStatus", "hostIPs", ATOMIC.merged(Some("ip"))),
    ("core.v1.PodStatus", "podIPs", keyed(&["ip"]).merged(Some("ip"))),
    ("core.v1.PodStatus", "resourceClaimStatuses", keyed(&["name"]).merged(Some("name")).retaining()),
    ("core.v1.ReplicationControllerSpec", "selector", map(MapType::Atomic)),
    ("core.v1.ReplicationControllerStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("core.v1.ResourceRequirements", "claims", keyed(&["name"])),
    ("core.v1.ResourceStatus", "resources", keyed(&["resourceID"])),
    ("core.v1.ServiceAccount", "secrets", keyed(&["name"]).merged(Some("name"))),
    ("core.v1.ServiceSpec", "ports", keyed(&["port", "protocol"]).merged(Some("port"))),
    ("core.v1.ServiceSpec", "selector", map(MapType::Atomic)),
    ("core.v1.ServiceStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("discovery.v1.Endpoint", "addresses", SET),
    ("flowcontrol.v1.FlowSchemaStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("flowcontrol.v1.NonResourcePolicyRule", "nonResourceURLs", SET),
    ("flowcontrol.v1.NonResourcePolicyRule", "verbs", SET),
    ("flowcontrol.v1.PriorityLevelConfigurationStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("flowcontrol.v1.ResourcePolicyRule", "apiGroups", SET),
    ("flowcontrol.v1.ResourcePolicyRule", "namespaces", SET),
    ("flowcontrol.v1.ResourcePolicyRule", "resources", SET),
    ("flowcontrol.v1.ResourcePolicyRule", "verbs", SET),
    ("meta.v1.ObjectMeta", "finalizers", SET.merged(None)),
    ("meta.v1.ObjectMeta", "ownerReferences", keyed(&["uid"]).merged(Some("uid"))),
    ("networking.v1.ServiceCIDRStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("node.v1.Scheduling", "nodeSelector", map(MapType::Atomic)),
    ("policy.v1.PodDisruptionBudgetSpec", "selector", NONE.replaced()),
    ("policy.v1.PodDisruptionBudgetStatus", "conditions", keyed(&["type"]).merged(Some("type"))),
    ("resource.v1.AllocatedDeviceStatus", "conditions", keyed(&["type"])),
    ("resource.v1.ResourceClaimStatus", "devices", keyed(&["driver", "device", "pool", "shareID"])),
    ("resource.v1.ResourceClaimStatus", "reservedFor", keyed(&["uid"]).merged(Some("uid"))),
    ("storage.v1.CSIDriverSpec", "volumeLifecycleModes", SET),
    ("storage.v1.CSINodeSpec", "drivers", keyed(&["name"]).merged(Some("name"))),
];

/// Lists that are replaced as a whole.
#[rustfmt::skip]
const ATOMIC_LISTS: &[(&str, &[&str])] = &[
    ("admissionregistration.v1.MatchResources", &["excludeResourceRules", "resourceRules"]),
    ("admissionregistration.v1.MutatingAdmissionPolicySpec", &["mutations", "variables"]),
    ("admissionregistration.v1.MutatingWebhook", &["admissionReviewVersions", "rules"]),
    ("admissionregistration.v1.NamedRuleWithOperations", &["apiGroups", "apiVersions", "operations", "resourceNames", "resources"]),
    ("admissionregistration.v1.RuleWithOperations", &["apiGroups", "apiVersions", "operations", "resources"]),
    ("admissionregistration.v1.TypeChecking", &["expressionWarnings"]),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", &["auditAnnotations", "validations"]),
    ("admissionregistration.v1.ValidatingWebhook", &["admissionReviewVersions", "rules"]),
    ("apiextensions.v1.CustomResourceDefinitionNames", &["categories", "shortNames"]),
    ("apiextensions.v1.CustomResourceDefinitionSpec", &["versions"]),
    ("apiextensions.v1.CustomResourceDefinitionStatus", &["storedVersions"]),
    ("apiextensions.v1.CustomResourceDefinitionVersion", &["additionalPrinterColumns", "selectableFields"]),
    ("apiextensions.v1.JSONSchemaProps", &["allOf", "anyOf", "enum", "oneOf", "required", "x-kubernetes-list-map-keys"]),
    ("apiextensions.v1.WebhookConversion", &["conversionReviewVersions"]),
    ("apiregistration.v1.APIServiceSpec", &["caBundle"]),
    ("apps.v1.StatefulSetSpec", &["volumeClaimTemplates"]),
    ("authentication.v1.TokenRequestSpec", &["audiences"]),
    ("authentication.v1.TokenReviewSpec", &["audiences"]),
    ("authentication.v1.TokenReviewStatus", &["audiences"]),
    ("authentication.v1.UserInfo", &["groups"]),
    ("authorization.v1.FieldSelectorAttributes", &["requirements"]),
    ("authorization.v1.LabelSelectorAttributes", &["requirements"]),
    ("authorization.v1.NonResourceRule", &["nonResourceURLs", "verbs"]),
    ("authorization.v1.ResourceRule", &["apiGroups", "resourceNames", "resources", "verbs"]),
    ("authorization.v1.SubjectAccessReviewSpec", &["groups"]),
    ("authorization.v1.SubjectRulesReviewStatus", &["nonResourceRules", "resourceRules"]),
    ("autoscaling.v2.HPAScalingRules", &["policies"]),
    ("autoscaling.v2.HorizontalPodAutoscalerSpec", &["metrics"]),
    ("autoscaling.v2.HorizontalPodAutoscalerStatus", &["currentMetrics"]),
    ("batch.v1.CronJobStatus", &["active"]),
    ("batch.v1.PodFailurePolicy", &["rules"]),
    ("batch.v1.PodFailurePolicyRule", &["onPodConditions"]),
    ("batch.v1.SuccessPolicy", &["rules"]),
    ("certificates.v1.CertificateSigningRequestSpec", &["groups", "usages"]),
    ("core.v1.Capabilities", &["add", "drop"]),
    ("core.v1.CephFSPersistentVolumeSource", &["monitors"]),
    ("core.v1.CephFSVolumeSource", &["monitors"]),
    ("core.v1.ConfigMapProjection", &["items"]),
    ("core.v1.ConfigMapVolumeSource", &["items"]),
    ("core.v1.Container", &["args", "command", "envFrom", "resizePolicy", "restartPolicyRules"]),
    ("core.v1.ContainerImage", &["names"]),
    ("core.v1.DownwardAPIProjection", &["items"]),
    ("core.v1.DownwardAPIVolumeSource", &["items"]),
    ("core.v1.EndpointSubset", &["addresses", "notReadyAddresses", "ports"]),
    ("core.v1.Endpoints", &["subsets"]),
    ("core.v1.EphemeralContainer", &["args", "command", "envFrom", "resizePolicy", "restartPolicyRules"]),
    ("core.v1.ExecAction", &["command"]),
    ("core.v1.FCVolumeSource", &["targetWWNs", "wwids"]),
    ("core.v1.HTTPGetAction", &["httpHeaders"]),
    ("core.v1.HostAlias", &["hostnames"]),
    ("core.v1.ISCSIPersistentVolumeSource", &["portals"]),
    ("core.v1.ISCSIVolumeSource", &["portals"]),
    ("core.v1.LimitRangeSpec", &["limits"]),
    ("core.v1.LinuxContainerUser", &["supplementalGroups"]),
    ("core.v1.LoadBalancerIngress", &["ports"]),
    ("core.v1.LoadBalancerStatus", &["ingress"]),
    ("core.v1.NamespaceSpec", &["finalizers"]),
    ("core.v1.NodeAffinity", &["preferredDuringSchedulingIgnoredDuringExecution"]),
    ("core.v1.NodeSelector", &["nodeSelectorTerms"]),
    ("core.v1.NodeSelectorRequirement", &["values"]),
    ("core.v1.NodeSelectorTerm", &["matchExpressions", "matchFields"]),
    ("core.v1.NodeSpec", &["taints"]),
    ("core.v1.NodeStatus", &["declaredFeatures", "images", "runtimeHandlers", "volumesAttached", "volumesInUse"]),
    ("core.v1.PersistentVolumeClaimSpec", &["accessModes"]),
    ("core.v1.PersistentVolumeClaimStatus", &["accessModes"]),
    ("core.v1.PersistentVolumeSpec", &["accessModes", "mountOptions"]),
    ("core.v1.PodAffinity", &["preferredDuringSchedulingIgnoredDuringExecution", "requiredDuringSchedulingIgnoredDuringExecution"]),
    ("core.v1.PodAffinityTerm", &["matchLabelKeys", "mismatchLabelKeys", "namespaces"]),
    ("core.v1.PodAntiAffinity", &["preferredDuringSchedulingIgnoredDuringExecution", "requiredDuringSchedulingIgnoredDuringExecution"]),
    ("core.v1.PodDNSConfig", &["nameservers", "options", "searches"]),
    ("core.v1.PodExtendedResourceClaimStatus", &["requestMappings"]),
    ("core.v1.PodSecurityContext", &["supplementalGroups", "sysctls"]),
    ("core.v1.PodSpec", &["readinessGates", "tolerations"]),
    ("core.v1.PodStatus", &["containerStatuses", "ephemeralContainerStatuses", "initContainerStatuses", "nodeAllocatableResourceClaimStatuses"]),
    ("core.v1.ProjectedVolumeSource", &["sources"]),
    ("core.v1.RBDPersistentVolumeSource", &["monitors"]),
    ("core.v1.RBDVolumeSource", &["monitors"]),
    ("core.v1.ResourceQuotaSpec", &["scopes"]),
    ("core.v1.ScopeSelector", &["matchExpressions"]),
    ("core.v1.ScopedResourceSelectorRequirement", &["values"]),
    ("core.v1.SecretProjection", &["items"]),
    ("core.v1.SecretVolumeSource", &["items"]),
    ("core.v1.ServiceAccount", &["imagePullSecrets"]),
    ("core.v1.ServiceSpec", &["clusterIPs", "externalIPs", "ipFamilies", "loadBalancerSourceRanges"]),
    ("core.v1.TopologySelectorLabelRequirement", &["values"]),
    ("core.v1.TopologySelectorTerm", &["matchLabelExpressions"]),
    ("core.v1.TopologySpreadConstraint", &["matchLabelKeys"]),
    ("discovery.v1.EndpointHints", &["forNodes", "forZones"]),
    ("discovery.v1.EndpointSlice", &["endpoints", "ports"]),
    ("flowcontrol.v1.FlowSchemaSpec", &["rules"]),
    ("flowcontrol.v1.PolicyRulesWithSubjects", &["nonResourceRules", "resourceRules", "subjects"]),
    ("meta.v1.APIGroup", &["serverAddressByClientCIDRs", "versions"]),
    ("meta.v1.APIGroupList", &["groups"]),
    ("meta.v1.APIResource", &["categories", "shortNames"]),
    ("meta.v1.APIResourceList", &["resources"]),
    ("meta.v1.APIVersions", &["serverAddressByClientCIDRs", "versions"]),
    ("meta.v1.DeleteOptions", &["dryRun"]),
    ("meta.v1.FieldSelectorRequirement", &["values"]),
    ("meta.v1.LabelSelector", &["matchExpressions"]),
    ("meta.v1.LabelSelectorRequirement", &["values"]),
    ("meta.v1.ObjectMeta", &["managedFields"]),
    ("meta.v1.StatusDetails", &["causes"]),
    ("networking.v1.HTTPIngressRuleValue", &["paths"]),
    ("networking.v1.IPBlock", &["except"]),
    ("networking.v1.IngressLoadBalancerIngress", &["ports"]),
    ("networking.v1.IngressLoadBalancerStatus", &["ingress"]),
    ("networking.v1.IngressSpec", &["rules", "tls"]),
    ("networking.v1.IngressTLS", &["hosts"]),
    ("networking.v1.NetworkPolicyEgressRule", &["ports", "to"]),
    ("networking.v1.NetworkPolicyIngressRule", &["from", "ports"]),
    ("networking.v1.NetworkPolicySpec", &["egress", "ingress", "policyTypes"]),
    ("networking.v1.ServiceCIDRSpec", &["cidrs"]),
    ("node.v1.Scheduling", &["tolerations"]),
    ("rbac.v1.AggregationRule", &["clusterRoleSelectors"]),
    ("rbac.v1.ClusterRole", &["rules"]),
    ("rbac.v1.ClusterRoleBinding", &["subjects"]),
    ("rbac.v1.PolicyRule", &["apiGroups", "nonResourceURLs", "resourceNames", "resources", "verbs"]),
    ("rbac.v1.Role", &["rules"]),
    ("rbac.v1.RoleBinding", &["subjects"]),
    ("resource.v1.CapacityRequestPolicy", &["validValues"]),
    ("resource.v1.Device", &["bindingConditions", "bindingFailureConditions", "consumesCounters", "taints"]),
    ("resource.v1.DeviceAllocationConfiguration", &["requests"]),
    ("resource.v1.DeviceAllocationResult", &["config", "results"]),
    ("resource.v1.DeviceAttribute", &["bools", "ints", "strings", "versions"]),
    ("resource.v1.DeviceClaim", &["config", "constraints", "requests"]),
    ("resource.v1.DeviceClaimConfiguration", &["requests"]),
    ("resource.v1.DeviceClassSpec", &["config", "selectors"]),
    ("resource.v1.DeviceConstraint", &["requests"]),
    ("resource.v1.DeviceRequest", &["firstAvailable"]),
    ("resource.v1.DeviceRequestAllocationResult", &["bindingConditions", "bindingFailureConditions", "tolerations"]),
    ("resource.v1.DeviceSubRequest", &["selectors", "tolerations"]),
    ("resource.v1.ExactDeviceRequest", &["selectors", "tolerations"]),
    ("resource.v1.NetworkDeviceData", &["ips"]),
    ("resource.v1.ResourceSliceSpec", &["devices", "sharedCounters"]),
    ("storage.v1.CSIDriverSpec", &["tokenRequests"]),
    ("storage.v1.CSINodeDriver", &["topologyKeys"]),
    ("storage.v1.StorageClass", &["allowedTopologies", "mountOptions"]),
];

/// Structures that are owned as a whole.
#[rustfmt::skip]
const ATOMIC_STRUCTS: &[&str] = &[
    "admissionregistration.v1.MatchResources", "admissionregistration.v1.NamedRuleWithOperations",
    "admissionregistration.v1.ParamKind", "admissionregistration.v1.ParamRef", "admissionregistration.v1.Variable",
    "autoscaling.v1.CrossVersionObjectReference", "core.v1.ConfigMapKeySelector", "core.v1.EndpointAddress",
    "core.v1.EndpointPort", "core.v1.FileKeySelector", "core.v1.LocalObjectReference", "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm", "core.v1.ObjectFieldSelector", "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector", "core.v1.ScopeSelector", "core.v1.SecretKeySelector", "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm", "core.v1.TypedLocalObjectReference", "discovery.v1.EndpointPort",
    "meta.v1.LabelSelector", "meta.v1.OwnerReference", "networking.v1.ServiceBackendPort", "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(FIELDS.is_sorted_by_key(|(definition, field, _)| (*definition, *field)));
        assert!(ATOMIC_LISTS.is_sorted_by_key(|(definition, _)| *definition));
        assert!(ATOMIC_STRUCTS.is_sorted());
    }

    #[test]
    fn facts_are_found() {
        let containers = of("io.k8s.api.core.v1.PodSpec", "containers");
        assert_eq!((containers.list, containers.merge_key), (Some(ListType::Map), Some("name")));
        assert!(of("io.k8s.api.core.v1.PodSpec", "volumes").retain_keys);
        assert_eq!(of("io.k8s.api.core.v1.Container", "args").list, Some(ListType::Atomic));
        assert_eq!(of("io.k8s.api.core.v1.Container", "image"), NONE);
        assert!(is_atomic_struct("io.k8s.api.core.v1.LocalObjectReference"));
    }
}
