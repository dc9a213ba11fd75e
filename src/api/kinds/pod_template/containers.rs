//! Rules of containers: regular, init and ephemeral.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerRestartRule, EphemeralContainer, PodSpec, ResourceRequirements,
};
use serde_json::{Value, json};

use super::{env, mounts, probe, resources, security};
use crate::api::{
    field::{self, Path},
    kinds::pod::columns::is_sidecar,
    status::Cause,
    validation::{name, network},
};

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const CONTAINER_RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const RESTART_ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
const EXIT_CODE_OPERATORS: &[&str] = &["In", "NotIn"];
const RESTART_RULES_LIMIT: usize = 20;
const EXIT_CODES_LIMIT: usize = 255;
const RESIZE_POLICIES: &[&str] = &["NotRequired", "RestartContainer"];
const RESIZABLE: &[&str] = &["cpu", "memory"];
/// Fields that an ephemeral container may have (KEP-277).
const EPHEMERAL_FIELDS: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "volumeMounts",
    "volumeDevices",
    "imagePullPolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

/// Problems of all containers of a pod.
pub fn validate(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = regular(spec, &path.child("containers"));
    causes.extend(init(spec, &path.child("initContainers")));
    causes.extend(ephemeral(spec, &path.child("ephemeralContainers")));
    causes
}

/// All containers with their places below the spec's `path`, in the order in which upstream visits them.
pub fn with_paths<'a>(spec: &'a PodSpec, path: &Path) -> Vec<(Path, Cow<'a, Container>)> {
    let lists = [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))];
    let mut all: Vec<(Path, Cow<'a, Container>)> = Vec::new();
    for (name, list) in lists {
        let list = list.into_iter().flatten().enumerate();
        all.extend(list.map(|(index, container)| (path.child(name).index(index), Cow::Borrowed(container))));
    }
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        all.push((path.child("ephemeralContainers").index(index), Cow::Owned(as_container(container))));
    }
    all
}

fn regular(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    if spec.containers.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = path.index(index);
        causes.extend(any(container, spec, &path));
        if spec.containers[..index].iter().any(|other| other.name == container.name) {
            causes.push(field::duplicate(&path.child("name"), &container.name));
        }
        causes.extend(probe::of_container(container, spec, &path));
        causes.extend(restarts(container, &path));
    }
    causes.extend(host_ports(&spec.containers, path));
    causes
}

fn init(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, container) in inits.iter().enumerate() {
        let path = path.index(index);
        causes.extend(any(container, spec, &path));
        let mut others = spec.containers.iter().chain(&inits[..index]);
        if others.any(|other| other.name == container.name) {
            causes.push(field::duplicate(&path.child("name"), &container.name));
        }
        causes.extend(restarts(container, &path));
        causes.extend(host_ports(std::slice::from_ref(container), &path));
        if is_sidecar(container) {
            causes.extend(probe::of_container(container, spec, &path));
        } else {
            causes.extend(only_for_sidecars(container, &path));
        }
    }
    causes
}

/// When a container is restarted, other than its pod says.
fn restarts(container: &Container, path: &Path) -> Vec<Cause> {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let own = path.child("restartPolicy");
    let mut causes = Vec::new();
    match container.restart_policy.as_deref() {
        None if rules.is_empty() => return causes,
        None => causes.push(field::required(&own, "must specify restartPolicy when restart rules are used")),
        Some(policy) if !CONTAINER_RESTART_POLICIES.contains(&policy) => {
            causes.push(field::unsupported(&own, policy, CONTAINER_RESTART_POLICIES));
        }
        Some(_) => {}
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RESTART_RULES_LIMIT {
        causes.push(field::too_many(&path, rules.len(), RESTART_RULES_LIMIT));
    }
    for (index, rule) in rules.iter().enumerate() {
        causes.extend(restart_rule(rule, &path.index(index)));
    }
    causes
}

fn restart_rule(rule: &ContainerRestartRule, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !RESTART_ACTIONS.contains(&rule.action.as_str()) {
        causes.push(field::unsupported(&path.child("action"), &rule.action, RESTART_ACTIONS));
    }
    let path = path.child("exitCodes");
    let Some(codes) = &rule.exit_codes else {
        causes.push(field::required(&path, "must be specified"));
        return causes;
    };
    if !EXIT_CODE_OPERATORS.contains(&codes.operator.as_str()) {
        causes.push(field::unsupported(&path.child("operator"), &codes.operator, EXIT_CODE_OPERATORS));
    }
    let count = codes.values.as_ref().map_or(0, Vec::len);
    if count > EXIT_CODES_LIMIT {
        causes.push(field::too_many(&path.child("values"), count, EXIT_CODES_LIMIT));
    }
    causes
}

fn only_for_sidecars(container: &Container, path: &Path) -> Vec<Cause> {
    let detail = "may not be set for init containers without restartPolicy=Always";
    let given = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    given.iter().filter(|(_, given)| *given).map(|(name, _)| field::forbidden(&path.child(name), detail)).collect()
}

fn ephemeral(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let all = spec.ephemeral_containers.as_deref().unwrap_or_default();
    let others: Vec<&str> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|container| container.name.as_str())
        .collect();
    let mut causes = Vec::new();
    for (index, container) in all.iter().enumerate() {
        let path = path.index(index);
        causes.extend(any(&as_container(container), spec, &path));
        let earlier = all[..index].iter().any(|other| other.name == container.name);
        if earlier || others.contains(&container.name.as_str()) {
            causes.push(field::duplicate(&path.child("name"), &container.name));
        }
        let target = container.target_container_name.as_deref().unwrap_or_default();
        if !target.is_empty() && !others.contains(&target) {
            causes.push(field::not_found(&path.child("targetContainerName"), target));
        }
        causes.extend(not_for_ephemeral(container, &path));
    }
    causes
}

fn not_for_ephemeral(container: &EphemeralContainer, path: &Path) -> Vec<Cause> {
    let detail = "cannot be set for an Ephemeral Container";
    let mut bare = container.clone();
    bare.resources = bare.resources.filter(|resources| *resources != ResourceRequirements::default());
    let fields = json!(bare);
    let names = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(name, _)| name);
    let mut causes: Vec<Cause> = names
        .filter(|name| !EPHEMERAL_FIELDS.contains(&name.as_str()))
        .map(|name| field::forbidden(&path.child(name), detail))
        .collect();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.child("volumeMounts").index(index);
        if mount.sub_path.as_ref().is_some_and(|path| !path.is_empty()) {
            causes.push(field::forbidden(&path.child("subPath"), detail));
        }
        if mount.sub_path_expr.as_ref().is_some_and(|path| !path.is_empty()) {
            causes.push(field::forbidden(&path.child("subPathExpr"), detail));
        }
    }
    causes
}

/// Rules of every kind of container.
fn any(container: &Container, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match container.name.as_str() {
        "" => causes.push(field::required(&path.child("name"), "")),
        text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
    }
    if container.image.as_deref().unwrap_or_default().is_empty() {
        causes.push(field::required(&path.child("image"), ""));
    }
    let words = [
        ("terminationMessagePolicy", container.termination_message_policy.as_deref(), MESSAGE_POLICIES),
        ("imagePullPolicy", container.image_pull_policy.as_deref(), PULL_POLICIES),
    ];
    for (name, word, supported) in words {
        causes.extend(super::chosen(word, supported, &path.child(name)));
    }
    causes.extend(ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports")));
    causes.extend(env::variables(container.env.as_deref().unwrap_or_default(), &path.child("env")));
    causes.extend(env::sources(container.env_from.as_deref().unwrap_or_default(), &path.child("envFrom")));
    causes.extend(mounts::validate(container, spec, path));
    if let Some(requirements) = &container.resources {
        let path = path.child("resources");
        causes.extend(resources::validate(requirements, &path));
        let claims = requirements.claims.as_deref().unwrap_or_default();
        causes.extend(super::claims::of_container(claims, spec, &path.child("claims")));
    }
    causes.extend(resize_policy(container, spec, &path.child("resizePolicy")));
    if let Some(context) = &container.security_context {
        causes.extend(security::container(context, &path.child("securityContext")));
    }
    causes
}

fn resize_policy(container: &Container, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let all = container.resize_policy.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, policy) in all.iter().enumerate() {
        if all[..index].iter().any(|other| other.resource_name == policy.resource_name) {
            causes.push(field::duplicate(&path.index(index), &policy.resource_name));
        }
        causes.extend(super::chosen(Some(&policy.resource_name), RESIZABLE, path));
        causes.extend(super::chosen(Some(&policy.restart_policy), RESIZE_POLICIES, path));
        if spec.restart_policy.as_deref() == Some("Never") && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            causes.push(field::invalid(path, &policy.restart_policy, detail));
        }
    }
    causes
}

fn ports(ports: &[ContainerPort], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let text = port.name.as_deref().unwrap_or_default();
        if !text.is_empty() {
            let problems = network::port_name(text);
            if problems.is_empty() && ports[..index].iter().any(|other| other.name == port.name) {
                causes.push(field::duplicate(&path.child("name"), text));
            }
            causes.extend(field::invalid_each(&path.child("name"), text, &problems));
        }
        match port.container_port {
            0 => causes.push(field::required(&path.child("containerPort"), "")),
            number => {
                causes.extend(field::invalid_each(&path.child("containerPort"), number, &network::port(number.into())))
            }
        }
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            causes.extend(field::invalid_each(&path.child("hostPort"), number, &network::port(number.into())));
        }
        causes.extend(super::chosen(port.protocol.as_deref(), PROTOCOLS, &path.child("protocol")));
    }
    causes
}

/// Two containers of a pod cannot listen at the same place of the host.
fn host_ports(containers: &[Container], path: &Path) -> Vec<Cause> {
    let mut seen: Vec<String> = Vec::new();
    let mut causes = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for (number, port) in container.ports.iter().flatten().enumerate() {
            let Some(host) = port.host_port.filter(|host| *host != 0) else { continue };
            let (protocol, ip) =
                (port.protocol.as_deref().unwrap_or_default(), port.host_ip.as_deref().unwrap_or_default());
            let place = format!("{protocol}/{ip}/{host}");
            if seen.contains(&place) {
                let path = path.index(index).child("ports").index(number).child("hostPort");
                causes.push(field::duplicate(&path, &place));
            }
            seen.push(place);
        }
    }
    causes
}

/// The same container without its target: both types have the same fields otherwise.
fn as_container(container: &EphemeralContainer) -> Container {
    let mut fields = json!(container);
    if let Value::Object(fields) = &mut fields {
        fields.remove("targetContainerName");
    }
    serde_json::from_value(fields).unwrap_or_default()
}
