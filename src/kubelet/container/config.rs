//! The runtime's configuration of a container, put together from everything this folder computes.

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    image::RunConfig,
    kubelet::{
        Config,
        container::{expand::expand, identity::Identity, security::Security},
        names,
        resources::{self, Qos},
    },
    oci::{ContainerConfig, Mount},
};

/// Notes that the kubelet leaves with sandboxes and containers, to find them again by.
pub mod annotation {
    /// The pod's UID.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's addresses, separated by commas.
    pub const POD_IPS: &str = "io.nauplius.pod.ips";
    /// The pod's network namespace; absent with the host's network.
    pub const NETNS: &str = "io.nauplius.pod.netns";
    /// The container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// How often the container was restarted.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// The image as the spec names it.
    pub const IMAGE: &str = "io.nauplius.container.image";
    /// The image's ID as status reports it.
    pub const IMAGE_ID: &str = "io.nauplius.container.imageID";
    /// Number of the signal that asks the container to stop.
    pub const STOP_SIGNAL: &str = "io.nauplius.container.stopSignal";
}

/// Where programs are looked for unless the image says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
#[error("no command specified")]
pub struct NoCommand;

/// What a configuration is made of.
pub struct Inputs<'a> {
    /// The kubelet's settings.
    pub config: &'a Config,
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// ID of this run.
    pub id: &'a str,
    /// Number of this run, from 0.
    pub attempt: i32,
    /// How the image is run.
    pub image: &'a RunConfig,
    /// The mounted root file system.
    pub rootfs: PathBuf,
    /// The container's own variables.
    pub env: &'a [(String, String)],
    /// Whom to run as.
    pub identity: Identity,
    /// What it may do.
    pub security: Security,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Memory of the node.
    pub node_memory_bytes: u64,
    /// Notes for recovery.
    pub annotations: BTreeMap<String, String>,
}

/// The configuration.
pub fn build(inputs: Inputs<'_>) -> Result<ContainerConfig, NoCommand> {
    let Inputs { config, pod, container, image, identity, security, .. } = inputs;
    let qos = Qos::of(pod.spec.as_ref().unwrap_or(&k8s_openapi::api::core::v1::PodSpec::default()));
    let args = command_line(container, image, inputs.env);
    if args.is_empty() {
        return Err(NoCommand);
    }
    let own = container.working_dir.as_deref().filter(|directory| !directory.is_empty());
    let of_image = Some(image.working_directory.as_str()).filter(|directory| !directory.is_empty());
    Ok(ContainerConfig {
        id: inputs.id.to_owned(),
        rootfs: inputs.rootfs,
        args,
        env: environment(&inputs.config.node_name, pod, container, image, inputs.env, &identity, config),
        working_directory: own.or(of_image).unwrap_or("/").to_owned(),
        uid: identity.uid,
        gid: identity.gid,
        additional_gids: identity.groups,
        capabilities: security.capabilities,
        privileged: security.privileged,
        read_only_rootfs: security.read_only_rootfs,
        no_new_privileges: security.no_new_privileges,
        seccomp: security.seccomp,
        unmasked_proc: security.unmasked_proc,
        mounts: inputs.mounts,
        resources: resources::of_container(container),
        oom_score_adj: resources::oom_score_adj(pod, container, qos, inputs.node_memory_bytes),
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        log_path: names::log_path(config, pod, &container.name, inputs.attempt),
        log_limit_bytes: config.container_log_limit_bytes,
        log_files: config.container_log_files,
        annotations: inputs.annotations,
    })
}

/// Command and arguments over the image's (API reference, `Container.command` and `args`).
fn command_line(container: &Container, image: &RunConfig, env: &[(String, String)]) -> Vec<String> {
    let lookup = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let expanded = |list: &Vec<String>| list.iter().map(|word| expand(word, lookup)).collect::<Vec<_>>();
    let command = container.command.as_ref().filter(|list| !list.is_empty()).map(expanded);
    let args = container.args.as_ref().filter(|list| !list.is_empty()).map(expanded);
    match (command, args) {
        (Some(command), args) => [command, args.unwrap_or_default()].concat(),
        (None, Some(args)) => [image.entrypoint.clone(), args].concat(),
        (None, None) => [image.entrypoint.clone(), image.command.clone()].concat(),
    }
}

/// The image's variables, overridden by the container's, with what every process expects.
fn environment(
    node_name: &str,
    pod: &Pod,
    container: &Container,
    image: &RunConfig,
    own: &[(String, String)],
    identity: &Identity,
    config: &Config,
) -> Vec<String> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match variables.iter_mut().find(|(key, _)| key == name) {
        Some((_, existing)) => value.clone_into(existing),
        None => variables.push((name.to_owned(), value.to_owned())),
    };
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let hostname = if host_network { node_name.to_owned() } else { names::hostname(pod, &config.cluster_domain) };
    set("PATH", DEFAULT_PATH);
    set("HOSTNAME", &hostname);
    set("HOME", &identity.home);
    if container.tty == Some(true) {
        set("TERM", "xterm");
    }
    for variable in &image.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        set(name, value);
    }
    own.iter().for_each(|(name, value)| set(name, value));
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(container: Value) -> Vec<String> {
        let container: Container = serde_json::from_value(container).unwrap();
        let image =
            RunConfig { entrypoint: vec!["/entry".into()], command: vec!["cmd".into()], ..RunConfig::default() };
        command_line(&container, &image, &[("A".to_owned(), "1".to_owned())])
    }

    #[test]
    fn command_and_arguments_replace_the_images() {
        assert_eq!(line(json!({"name": "c"})), ["/entry", "cmd"]);
        assert_eq!(line(json!({"name": "c", "args": ["$(A)"]})), ["/entry", "1"]);
        assert_eq!(line(json!({"name": "c", "command": ["sh"]})), ["sh"]);
        assert_eq!(line(json!({"name": "c", "command": ["sh"], "args": ["-c"]})), ["sh", "-c"]);
    }

    #[test]
    fn the_containers_variables_come_before_the_images() {
        let image = RunConfig { env: vec!["PATH=/image".into(), "X=image".into()], ..RunConfig::default() };
        let identity = Identity { uid: 0, gid: 0, groups: vec![], home: "/root".into() };
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        let config = Config::new("edge", vec![]);
        let own = [("X".to_owned(), "own".to_owned())];
        let env = environment("edge", &pod, &Container::default(), &image, &own, &identity, &config);
        assert_eq!(env, ["PATH=/image", "HOSTNAME=p", "HOME=/root", "X=own"]);
    }
}
