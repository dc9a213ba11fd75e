//! What clients are warned of in a pod or a template: what is deprecated, does nothing, or is hardly meant so
//! (`pkg/api/pod/warnings.go` upstream). Only valid objects come here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use k8s_openapi::{
    api::core::v1::{
        Affinity, Container, ContainerPort, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, PodTemplateSpec,
        WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{app_armor, containers, volume_warnings};
use crate::api::{
    field::Path,
    quantity::Quantity,
    validation::{name, network},
};

/// Pairs of things that do not go together are told of up to here; no client shows more.
pub const LIMIT: usize = 100;

const CONTAINER_SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const POD_SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const USE_SECCOMP_FIELD: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";
/// A container and where it is.
type Numbered<'a> = (Path, Cow<'a, Container>);

/// Amounts of these are whole bytes.
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
const NODE_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Warnings about a new pod.
pub fn pod(pod: &Pod) -> Vec<String> {
    pod.spec.as_ref().map(|spec| about(spec, &pod.metadata, &Path::default())).unwrap_or_default()
}

/// Warnings about a workload's template at `path`.
pub fn template(template: &PodTemplateSpec, path: &Path) -> Vec<String> {
    let Some(spec) = &template.spec else { return Vec::new() };
    let meta = template.metadata.clone().unwrap_or_default();
    let mut warnings = about(spec, &meta, path);
    for (_, container) in containers::with_paths(spec, &path.child("spec")) {
        warnings.extend(app_armor::warning(spec, &meta, &container, path));
    }
    warnings
}

/// What is to be used instead of a label of nodes, if it should not be used.
pub fn deprecated_node_label(label: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(known, _)| *known == label).map(|(_, advice)| *advice)
}

/// A warning about a name that pods take over, though it is no DNS label.
pub fn name_for_hosts(name: Option<&str>, used_in: &str) -> Option<String> {
    let problems = name::dns1123_label(name.unwrap_or_default());
    (!problems.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            problems.join(" ")
        )
    })
}

fn about(spec: &PodSpec, meta: &ObjectMeta, path: &Path) -> Vec<String> {
    let own = path.child("spec");
    let mut warnings = scheduling(spec, &own);
    let annotated = |key: &str| meta.annotations.as_ref().is_some_and(|all| all.contains_key(key));
    let annotations = path.child("metadata").child("annotations");
    for (key, advice) in ANNOTATIONS.iter().filter(|(key, _)| annotated(key)) {
        warnings.push(format!("{}: {advice}", annotations.key(key)));
    }
    warnings.extend(volume_warnings::all(spec, &own));
    warnings.extend(repeated(spec, &own));
    for (resource, amount) in spec.overhead.iter().flatten() {
        warnings.extend(fraction(resource, &amount.0, &own.child("overhead")));
    }
    let profile = spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    if profile.is_none() && annotated(POD_SECCOMP) {
        warnings.push(format!("{}: {USE_SECCOMP_FIELD}", annotations.key(POD_SECCOMP)));
    }
    let all = containers::with_paths(spec, &own);
    for (path, container) in &all {
        let key = format!("{CONTAINER_SECCOMP}{}", container.name);
        let profile = container.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
        if profile.is_none() && annotated(&key) {
            warnings.push(format!("{}: {USE_SECCOMP_FIELD}", annotations.key(&key)));
        }
        warnings.extend(self::container(container, path));
    }
    warnings.extend(ports(&all));
    warnings.extend(port_names(&all));
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let path = own.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings.extend(
        spec.affinity.as_ref().map(|affinity| pod_affinity(affinity, &own.child("affinity"))).into_iter().flatten(),
    );
    warnings.extend(addresses(spec, &own));
    warnings
}

fn scheduling(spec: &PodSpec, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for label in spec.node_selector.iter().flatten().map(|(label, _)| label) {
        let advice = deprecated_node_label(label);
        warnings.extend(advice.map(|advice| format!("{}: {advice}", path.child("nodeSelector").key(label))));
    }
    if let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) {
        let path = path.child("affinity").child("nodeAffinity");
        let required = affinity.required_during_scheduling_ignored_during_execution.iter();
        let terms = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
        for (index, term) in required.flat_map(|selector| &selector.node_selector_terms).enumerate() {
            warnings.extend(node_term(term, false, &terms.index(index)));
        }
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        for (index, term) in preferred.enumerate() {
            let path = path.child("preferredDuringSchedulingIgnoredDuringExecution").index(index);
            warnings.extend(node_term(&term.preference, true, &path.child("preference")));
        }
    }
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        let key = &constraint.topology_key;
        let advice = deprecated_node_label(key);
        warnings.extend(advice.map(|advice| format!("{}: {key} is {advice}", path.child("topologyKey"))));
        if constraint.label_selector.is_none() {
            warnings.push(format!("{}: {NULL_SELECTOR}", path.child("labelSelector")));
        }
    }
    warnings
}

/// Preferred terms may name labels that cannot be; they are warned of alone.
pub fn node_term(term: &NodeSelectorTerm, check_values: bool, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let key = &expression.key;
        let advice = deprecated_node_label(key);
        warnings.extend(advice.map(|advice| format!("{}: {key} is {advice}", path.child("key"))));
        for (index, value) in expression.values.iter().flatten().enumerate().filter(|_| check_values) {
            let problems = name::label_value(value);
            let path = path.child("values").index(index);
            warnings.extend(problems.iter().map(|problem| format!("{path}: {value} is invalid, {problem}")));
        }
    }
    warnings
}

fn pod_affinity(affinity: &Affinity, path: &Path) -> Vec<String> {
    let terms =
        |required: Option<&Vec<PodAffinityTerm>>, preferred: Option<&Vec<WeightedPodAffinityTerm>>, path: Path| {
            let null = |term: &PodAffinityTerm, path: Path| {
                term.label_selector.is_none().then(|| format!("{}: {NULL_SELECTOR}", path.child("labelSelector")))
            };
            let own = path.child("requiredDuringSchedulingIgnoredDuringExecution");
            let required = required.into_iter().flatten().enumerate();
            let mut warnings: Vec<String> = required.filter_map(|(index, term)| null(term, own.index(index))).collect();
            let own = path.child("preferredDuringSchedulingIgnoredDuringExecution");
            for (index, term) in preferred.into_iter().flatten().enumerate() {
                warnings.extend(null(&term.pod_affinity_term, own.index(index).child("podAffinityTerm")));
            }
            warnings
        };
    let mut warnings = Vec::new();
    if let Some(near) = &affinity.pod_affinity {
        let (required, preferred) = (
            near.required_during_scheduling_ignored_during_execution.as_ref(),
            near.preferred_during_scheduling_ignored_during_execution.as_ref(),
        );
        warnings.extend(terms(required, preferred, path.child("podAffinity")));
    }
    if let Some(apart) = &affinity.pod_anti_affinity {
        let (required, preferred) = (
            apart.required_during_scheduling_ignored_during_execution.as_ref(),
            apart.preferred_during_scheduling_ignored_during_execution.as_ref(),
        );
        warnings.extend(terms(required, preferred, path.child("podAntiAffinity")));
    }
    warnings
}

/// Lists whose entries are merged by a key that they should not share.
fn repeated(spec: &PodSpec, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    for (index, alias) in aliases.iter().enumerate() {
        if aliases[..index].iter().any(|other| other.ip == alias.ip) {
            let path = path.child("hostAliases").index(index).child("ip");
            warnings.push(format!("{path}: duplicate ip {:?}", alias.ip));
        }
    }
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let own = |index: usize| path.child("imagePullSecrets").index(index).child("name");
    for (index, secret) in secrets.iter().enumerate() {
        if secrets[..index].iter().any(|other| other.name == secret.name) {
            warnings.push(format!("{}: duplicate name {:?}", own(index), secret.name));
        }
    }
    let empty = secrets.iter().enumerate().filter(|(_, secret)| secret.name.is_empty());
    warnings.extend(empty.map(|(index, _)| format!("{}: invalid empty name \"\"", own(index))));
    warnings
}

fn fraction(resource: &str, amount: &str, path: &Path) -> Option<String> {
    let parsed: Quantity = amount.parse().ok().filter(|_| BYTES.contains(&resource))?;
    let whole = parsed.whole().is_some();
    (!whole)
        .then(|| format!("{}: fractional byte value \"{parsed}\" is invalid, must be an integer", path.key(resource)))
}

fn container(container: &Container, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(resources) = &container.resources {
        let path = path.child("resources");
        for resource in BYTES {
            for (side, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
                let amount = list.as_ref().and_then(|list| list.get(resource));
                warnings.extend(amount.and_then(|amount| fraction(resource, &amount.0, &path.child(side))));
            }
        }
    }
    let variables = container.env.as_deref().unwrap_or_default();
    for (index, variable) in variables.iter().enumerate() {
        let reference = format!("$({})", variable.name);
        let value = variable.value.as_deref().unwrap_or_default();
        let extends = variable.value_from.is_none() && value != reference && value.contains(&reference);
        if !extends && variables[..index].iter().any(|other| other.name == variable.name) {
            let path = path.child("env").index(index);
            let name = &variable.name;
            warnings
                .push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
    warnings
}

/// Ports that several containers, or one of them twice, want to have.
fn ports(all: &[Numbered<'_>]) -> Vec<String> {
    let mut seen: BTreeMap<String, Vec<(Path, &ContainerPort)>> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (path, port) in ports_of(all) {
        if warnings.len() >= LIMIT {
            break;
        }
        let (host_ip, host_port) = (host_ip(port), port.host_port.unwrap_or_default());
        if !host_ip.is_empty() && host_port == 0 {
            warnings.push(format!("{path}: hostIP set without hostPort: {}", shown(port)));
        }
        let others = seen.entry(format!("{}/{}", port.container_port, protocol(port))).or_default();
        for (other_path, other) in others.iter() {
            let (other_ip, other_port) = (self::host_ip(other), other.host_port.unwrap_or_default());
            let what = if host_ip == other_ip && host_port == other_port {
                "duplicate"
            } else if host_port == 0 || other_port == 0 {
                "overlapping"
            } else if host_port == other_port && host_ip.is_empty() != other_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            warnings.push(format!("{path}: {what} port definition with {other_path}"));
        }
        others.push((path, port));
    }
    warnings
}

fn port_names(all: &[Numbered<'_>]) -> Vec<String> {
    let mut seen: BTreeMap<&str, Path> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (path, port) in ports_of(all) {
        let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        match seen.entry(name) {
            Entry::Vacant(entry) => _ = entry.insert(path),
            Entry::Occupied(first) => {
                let first = first.get();
                warnings.push(format!(
                    "{path}: duplicate port name {name:?} with {first}, services and probes that select ports by name \
                     will use {first}"
                ));
            }
        }
    }
    warnings
}

fn ports_of<'a>(all: &'a [Numbered<'_>]) -> impl Iterator<Item = (Path, &'a ContainerPort)> {
    all.iter().flat_map(|(path, container)| {
        let ports = container.ports.iter().flatten().enumerate();
        ports.map(|(index, port)| (path.child("ports").index(index), port))
    })
}

fn host_ip(port: &ContainerPort) -> &str {
    port.host_ip.as_deref().unwrap_or_default()
}

fn protocol(port: &ContainerPort) -> &str {
    port.protocol.as_deref().unwrap_or_default()
}

/// A port as Go shows structures.
fn shown(port: &ContainerPort) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        port.name.as_deref().unwrap_or_default(),
        port.host_port.unwrap_or_default(),
        port.container_port,
        protocol(port),
        host_ip(port)
    )
}

fn addresses(spec: &PodSpec, path: &Path) -> Vec<String> {
    let servers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten()).enumerate();
    let own = path.child("dnsConfig").child("nameservers");
    let mut warnings: Vec<String> =
        servers.filter_map(|(index, server)| network::ip_warning(server, &own.index(index))).collect();
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        warnings.extend(network::ip_warning(&alias.ip, &path.child("hostAliases").index(index).child("ip")));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn warned(spec: Value) -> Vec<String> {
        pod(&Pod { spec: serde_json::from_value(spec).unwrap(), ..Pod::default() })
    }

    #[test]
    fn what_is_hardly_meant_so_is_told() {
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "imagePullSecrets": [{"name": ""}],
            "volumes": [{"name": "v", "gitRepo": {"repository": "r"}}],
            "containers": [{"name": "a",
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}],
                "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 80, "hostPort": 8080}]},
                {"name": "b", "resources": {"limits": {"memory": "1m"}}, "ports": [{"containerPort": 81, "name": "web"}]}],
        });
        assert_eq!(
            warned(spec),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "spec.imagePullSecrets[0].name: invalid empty name \"\"",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[1].resources.limits[memory]: fractional byte value \"1m\" is invalid, must be an integer",
                "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[1].ports[0]: duplicate port name \"web\" with spec.containers[0].ports[0], services and \
                 probes that select ports by name will use spec.containers[0].ports[0]",
            ]
        );
        assert_eq!(warned(json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]})), [""; 0]);
    }
}
