//! Making a pod's sandbox: its place in the network, its shim, its own `/etc/hosts` and
//! `/etc/resolv.conf`.

use std::{collections::BTreeMap, net::IpAddr, path::Path, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::{
    base::{file, log},
    kubelet::{
        container::config::annotation,
        dns,
        host::HostPort,
        names,
        resources::{self, Qos},
        shared::Shared,
    },
    oci::SandboxConfig,
};

/// A sandbox that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its ID.
    pub id: String,
    /// The pod's network namespace; `None` for the host's.
    pub netns: Option<PathBuf>,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
}

/// Files of a pod that containers get as `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.
pub const FILES: [(&str, &str); 3] =
    [("etc-hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname")];

/// Makes the sandbox. What was made before a failure is found and used again by the next try, or
/// removed with the pod.
pub async fn run(shared: Arc<Shared>, pod: Arc<Pod>) -> Result<Ready, String> {
    let _permit = shared.creations.acquire().await.expect("the semaphore is never closed");
    let uid = names::uid(&pod).to_owned();
    let spec = pod.spec.clone().unwrap_or_default();
    let (netns, addresses) = if spec.host_network == Some(true) {
        (None, shared.config.node_ips.clone())
    } else {
        let attached = shared.network.attach(&uid, &host_ports(&spec)).await;
        let attached = attached.map_err(|error| format!("failed to set up the pod network: {error}"))?;
        (Some(attached.netns), attached.addresses)
    };
    write_files(&shared, &pod, &addresses).await?;
    let config = sandbox_config(&shared, &pod, &spec, netns.as_deref(), &addresses);
    shared.containers.create_sandbox(config).await.map_err(|error| error.to_string())?;
    Ok(Ready { id: uid, netns, addresses })
}

fn sandbox_config(
    shared: &Shared,
    pod: &Pod,
    spec: &PodSpec,
    netns: Option<&Path>,
    addresses: &[IpAddr],
) -> SandboxConfig {
    let joined = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut annotations = BTreeMap::from([
        (annotation::POD_UID.to_owned(), names::uid(pod).to_owned()),
        (annotation::POD_NAMESPACE.to_owned(), names::namespace(pod).to_owned()),
        (annotation::POD_NAME.to_owned(), names::name(pod).to_owned()),
        (annotation::POD_IPS.to_owned(), joined),
    ]);
    annotations.extend(netns.map(|path| (annotation::NETNS.to_owned(), path.display().to_string())));
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    SandboxConfig {
        id: names::uid(pod).to_owned(),
        netns: netns.map(Path::to_owned),
        hostname: names::hostname(pod, &shared.config.cluster_domain),
        share_process_namespace: spec.share_process_namespace == Some(true),
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        sysctls: sysctls.map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone())).collect(),
        cgroup: resources::cgroup(pod, Qos::of(spec)),
        resources: resources::of_pod(spec),
        annotations,
    }
}

async fn write_files(shared: &Shared, pod: &Pod, addresses: &[IpAddr]) -> Result<(), String> {
    let config = shared.config.clone();
    let (pod, addresses) = (pod.clone(), addresses.to_vec());
    let write = move || {
        let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let host_hosts = host_network.then(|| std::fs::read_to_string("/etc/hosts").unwrap_or_default());
        let host_resolver = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
        let hostname =
            if host_network { config.node_name.clone() } else { names::hostname(&pod, &config.cluster_domain) };
        let resolver = dns::resolver(&pod, &config, &dns::Resolver::parse(&host_resolver));
        let texts = [
            dns::hosts(&pod, &addresses, &config.cluster_domain, host_hosts.as_deref()),
            resolver.render(),
            format!("{hostname}\n"),
        ];
        let directory = names::directory(&config, names::uid(&pod));
        file::create_directory(&directory, 0o700)?;
        for ((name, _), text) in FILES.iter().zip(texts) {
            // Made anew with every sandbox: nothing is lost if a power cut takes them.
            write_plain(&directory.join(name), &text)?;
        }
        Ok(())
    };
    shared.lane.run(write).await.map_err(|error: file::Error| log::chain(&error))
}

fn write_plain(path: &Path, text: &str) -> Result<(), file::Error> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(file::PUBLIC_MODE)))
        .map_err(|source| file::Error { action: "write", path: path.to_owned(), source })
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| crate::kubelet::record::is_sidecar(c));
    let ports = sidecars.chain(&spec.containers).flat_map(|container| container.ports.iter().flatten());
    let wanted = ports.filter_map(|port| {
        Some(HostPort {
            host_ip: port
                .host_ip
                .as_deref()
                .and_then(|address| address.parse().ok())
                .filter(|a: &IpAddr| !a.is_unspecified()),
            host_port: u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?,
            container_port: u16::try_from(port.container_port).ok()?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        })
    });
    wanted.collect()
}
