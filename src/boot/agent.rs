//! The start of a node, alone or beside a server: membership, images, containers, kubelet, pod
//! network, service proxy, DNS, tunnel. All of it comes up without the server if it must: a machine
//! that has joined once starts what it last knew.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context;
use http::Uri;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{Api, Client, runtime::watcher};
use tokio::net::TcpListener;

use crate::{
    apiserver::server::ApiServer,
    base::{
        file,
        log::chain,
        task::{OnFailure, Supervisor},
    },
    boot::{
        cleanup::Paths,
        config::{self, Cluster, Secret},
        control,
        join::Joiner,
        server,
    },
    client::{
        informer::{Informer, Informers},
        transport,
    },
    dns,
    http::{
        self as transport_http,
        body::{self, Body},
        client::BoxStream,
        identity::{AUTHENTICATED, MASTERS, User},
        server::PeerCertificate,
        tunnel,
    },
    image::{self, ImageStore},
    kubelet::{
        self, Host,
        adapters::{LateNetwork, Shims, Store as Images},
        serve,
    },
    net::{self, NodeNetwork},
    oci,
    pki::{
        agent::{Membership, Store},
        serving::Presenting,
        tls,
    },
    proxy,
    sys::mount,
};

/// Group of all nodes.
const NODES: &str = "system:nodes";
/// Port of the kubelet's own listener.
const KUBELET_PORT: u16 = 10250;
/// Port of DNS.
const DNS_PORT: u16 = 53;

/// Starts `nauplius agent`.
pub async fn start(config: config::Agent, supervisor: Supervisor) -> anyhow::Result<()> {
    let joiner = joiner(&config.node, config.server.clone(), config.token.clone(), &supervisor)?;
    let membership = joiner.membership().await?;
    let presenting = Arc::new(Presenting::new(&membership.client())?);
    let tls = membership.client_tls(&[], presenting.clone())?;
    let client = transport::tls(&config.server, (*tls).clone());
    let cluster = Cluster::from_settings(&membership.response.settings).context("the cluster's settings")?;
    let parts = Parts { config: config.node, cluster, client, server: config.server, membership, presenting };
    parts.start(joiner, supervisor).await?;
    super::process::notify_ready();
    Ok(())
}

/// Starts the node of a server's own machine. It is a node like any other, but reaches the API
/// inside the process.
pub async fn start_beside_server(
    config: config::Server,
    token: String,
    api: &ApiServer,
    supervisor: Supervisor,
) -> anyhow::Result<()> {
    let server: Uri = config.local_url().parse().context("the server's own address")?;
    let joiner = joiner(&config.node, server.clone(), Some(Secret(token)), &supervisor)?;
    let membership = joiner.membership().await?;
    let presenting = Arc::new(Presenting::new(&membership.client())?);
    let user = User {
        name: format!("system:node:{}", config.node.name),
        groups: vec![NODES.into(), AUTHENTICATED.into()],
        ..User::default()
    };
    let client = server::client(api, user);
    Parts { cluster: config.cluster, config: config.node, client, server, membership, presenting }
        .start(joiner, supervisor)
        .await
}

fn joiner(node: &config::Node, server: Uri, token: Option<Secret>, supervisor: &Supervisor) -> anyhow::Result<Joiner> {
    let store = Store::open(&node.data_dir.join("agent/tls"), &node.name).context("failed to open the node's keys")?;
    Ok(Joiner { server, token, store, ips: node.ips.clone(), supervisor: supervisor.clone() })
}

/// What a node is made of once it is a member.
struct Parts {
    config: config::Node,
    cluster: Cluster,
    client: Client,
    server: Uri,
    membership: Membership,
    presenting: Arc<Presenting>,
}

impl Parts {
    async fn start(self, joiner: Joiner, supervisor: Supervisor) -> anyhow::Result<()> {
        file::create_directory(&self.config.run_dir, 0o755)?;
        self.config.remember_addresses();
        let informers = Informers::new(self.client.clone(), supervisor.clone());
        let images = self.open_images(&supervisor).await?;
        control::serve(&self.config.run_dir, images.clone(), &supervisor)
            .context("failed to open the control socket")?;
        let containers =
            oci::Runtime::open(self.runtime_options()?).await.context("failed to open the container runtime")?;
        let network = Arc::new(LateNetwork::default());
        let opening = self.open_network(network.clone(), informers.clone());
        supervisor.spawn_fallible("pod network", OnFailure::Stop, opening);
        let host = Host {
            containers: Arc::new(Shims::new(containers, supervisor.clone())),
            images: Arc::new(Images::new(images)),
            network: network.clone(),
        };
        let services = informers.of::<Service>();
        let shared = kubelet::run(self.kubelet_config(), self.client.clone(), services, host, &supervisor)
            .await
            .context("failed to take over what runs on this node")?;
        let service = serve::Service::new(Arc::new(kubelet::backend::Node::new(shared)), supervisor.clone());
        self.listen(service.clone(), &supervisor).await;
        self.open_tunnel(service, network, &supervisor);
        let presenting = self.presenting.clone();
        supervisor.spawn(
            "node certificate renewal",
            joiner.keep_fresh(self.membership, move |fresh| {
                if let Err(error) = presenting.replace(&fresh.client()) {
                    tracing::warn!(error = chain(&error), "the renewed certificate cannot be used");
                }
            }),
        );
        Ok(())
    }

    async fn open_images(&self, supervisor: &Supervisor) -> anyhow::Result<ImageStore> {
        let registries = read_registries(&self.config.flags.private_registry)?;
        let options = image::Options {
            root: self.config.data_dir.join("agent/image"),
            registries,
            mounts: Arc::new(mount::Kernel),
            supervisor: supervisor.clone(),
        };
        let images = ImageStore::open(options).await.context("failed to open the image store")?;
        let (watching, directory) = (images.clone(), self.config.data_dir.join("agent/images"));
        supervisor.spawn_fallible("image directory", OnFailure::Log, async move {
            watching.watch_directory(&directory).await
        });
        supervisor.spawn("image garbage collection", images.clone().keep_disk_free());
        Ok(images)
    }

    fn runtime_options(&self) -> anyhow::Result<oci::Options> {
        Ok(oci::Options {
            run_dir: self.config.run_dir.clone(),
            state_dir: self.paths().runtime_state(),
            cgroup_parent: self.config.flags.cgroup.clone(),
            executable: std::env::current_exe().context("failed to find this executable")?,
        })
    }

    fn paths(&self) -> Paths {
        Paths {
            data_dir: self.config.data_dir.clone(),
            run_dir: self.config.run_dir.clone(),
            pod_logs_dir: self.config.flags.pod_logs_dir.clone(),
            container_logs_dir: self.config.flags.container_logs_dir.clone(),
            cgroup: self.config.flags.cgroup.clone(),
        }
    }

    fn kubelet_config(&self) -> kubelet::Config {
        let flags = &self.config.flags;
        kubelet::Config {
            labels: self.config.labels.iter().cloned().collect(),
            taints: self.config.taints.clone(),
            data_dir: self.config.data_dir.clone(),
            run_dir: self.config.run_dir.clone(),
            pod_logs_dir: flags.pod_logs_dir.clone(),
            container_logs_dir: flags.container_logs_dir.clone(),
            cluster_dns: self.cluster.dns.clone(),
            cluster_domain: self.cluster.domain.clone(),
            resolv_conf: flags.resolv_conf.clone(),
            max_pods: flags.max_pods,
            port: KUBELET_PORT,
            container_log_limit_bytes: flags.container_log_max_size,
            container_log_files: flags.container_log_max_files,
            ..kubelet::Config::new(self.config.name.clone(), self.config.ips.clone())
        }
    }

    /// Opens the pod network as soon as the node has pod addresses, and starts what needs it. After
    /// a restart they are those of before, with or without the server.
    fn open_network(
        &self,
        network: Arc<LateNetwork>,
        informers: Informers,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
        let (name, cluster) = (self.config.name.clone(), self.cluster.clone());
        let (state_dir, ips) = (self.paths().network_state(), self.config.ips.clone());
        let (interface, resolv_conf) = (self.config.flags.flannel_iface.clone(), self.config.flags.resolv_conf.clone());
        async move {
            let known = net::last_pod_cidrs(&state_dir).context("failed to read the network's state")?;
            let pod_cidrs = if known.is_empty() { wait_for_pod_cidrs(&informers, &name).await } else { known };
            let opened = NodeNetwork::open(net::Config {
                node_ips: ips,
                pod_cidrs,
                cluster_cidrs: cluster.cluster_cidrs.clone(),
                service_cidrs: cluster.service_cidrs.clone(),
                cluster_dns: cluster.dns.clone(),
                interface,
                mtu: None,
                backend: cluster.backend,
                state_dir: state_dir.clone(),
            });
            let opened = opened.await.context("failed to set up the pod network")?;
            network.set(opened.clone());
            proxy::run(&informers, opened, &name);
            let dns = dns::Config {
                listen: cluster.dns.iter().map(|ip| SocketAddr::new(*ip, DNS_PORT)).collect(),
                cluster_domain: cluster.domain,
                networks: cluster.cluster_cidrs.into_iter().chain(cluster.service_cidrs).collect(),
                upstreams: dns::Upstreams::ResolvConf(resolv_conf),
                state_dir,
            };
            dns::run(dns, &informers).context("failed to start cluster DNS")
        }
    }

    /// The kubelet's own port. Only the API server, and whoever else holds a certificate of the
    /// administrators' group, is served; everybody else goes through the API.
    async fn listen(&self, service: serve::Service<kubelet::backend::Node>, supervisor: &Supervisor) {
        let address = SocketAddr::new(self.config.ips[0], KUBELET_PORT);
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                // Everything the server wants comes through the tunnel: the node works without.
                tracing::warn!(%error, %address, "the kubelet's port cannot be listened on");
                return;
            }
        };
        let (tls, verifier) = match self.membership.serving_tls() {
            Ok(parts) => parts,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the kubelet's serving certificate cannot be used");
                return;
            }
        };
        let answer = move |request: http::Request<Body>| {
            let service = service.clone();
            async move { if is_administrator(&request) { service.handle(request).await } else { unauthorized() } }
        };
        transport_http::server::serve(
            listener,
            tls,
            verifier,
            answer,
            supervisor,
            transport_http::server::Limits::default(),
        );
    }

    fn open_tunnel(
        &self,
        service: serve::Service<kubelet::backend::Node>,
        network: Arc<LateNetwork>,
        supervisor: &Supervisor,
    ) {
        let tls = self.membership.client_tls(tls::HTTP1_PROTOCOLS, self.presenting.clone());
        let tls = match tls {
            Ok(tls) => tls,
            Err(error) => {
                tracing::error!(error = chain(&error), "the node's certificate cannot be used, there is no tunnel");
                return;
            }
        };
        let config = tunnel::agent::Config {
            server: self.server.clone(),
            tls: Arc::new(move || tls.clone()),
            is_pod_address: Arc::new(move |ip| network.owns(ip)),
        };
        let connections = supervisor.clone();
        let serve = move |stream| {
            let service = service.clone();
            connections.spawn("kubelet connection", serve_stream(stream, service));
        };
        supervisor.spawn("tunnel", tunnel::agent::run(config, serve, supervisor.clone()));
    }
}

/// What `registries.yaml` says; nothing if it is not there.
fn read_registries(path: &Path) -> anyhow::Result<image::registry::Config> {
    let text = file::read_optional(path)?.unwrap_or_default();
    let text = String::from_utf8(text).with_context(|| format!("{} is not text", path.display()))?;
    image::registry::Config::decode(&text).with_context(|| format!("in {}", path.display()))
}

/// Speaks HTTP/1.1 on a stream of the tunnel.
async fn serve_stream(stream: BoxStream, service: serve::Service<kubelet::backend::Node>) {
    let answer = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(service.handle(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection to the kubelet ended");
    }
}

async fn wait_for_pod_cidrs(informers: &Informers, name: &str) -> Vec<ipnet::IpNet> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let node: Informer<Node> = Informer::start(informers.supervisor(), Api::all(informers.client()), config);
    let key = crate::client::ObjectKey::new("", name);
    loop {
        node.settle(&key, |node| node.is_some_and(|node| !pod_cidrs(node).is_empty())).await;
        if let Some(networks) = node.get(&key).map(|node| pod_cidrs(&node)).filter(|networks| !networks.is_empty()) {
            return networks;
        }
    }
}

fn pod_cidrs(node: &Node) -> Vec<ipnet::IpNet> {
    let networks = node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    networks.iter().filter_map(|network| network.parse().ok()).collect()
}

fn is_administrator(request: &http::Request<Body>) -> bool {
    let peer = request.extensions().get::<PeerCertificate>().and_then(PeerCertificate::current);
    peer.is_some_and(|identity| identity.organizations.iter().any(|group| group == MASTERS))
}

fn unauthorized() -> http::Response<Body> {
    let mut response = http::Response::new(body::full("Unauthorized"));
    *response.status_mut() = http::StatusCode::UNAUTHORIZED;
    response
}
