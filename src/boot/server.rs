//! The start of a server, in order: keys, store, API, first objects, listener, controllers and
//! scheduler, and the node of this machine.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use kube::Client;
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    api::kinds,
    apiserver::{
        admission::Admission,
        aggregator::way::Way,
        allocator::Allocator,
        audit::Auditor,
        authn::{Authenticator, legacy_token},
        authz::Authorizer,
        bootstrap,
        cache::Caches,
        conversion::Converter,
        handlers::Handlers,
        nodes,
        outbound::Outbound,
        reviews,
        server::{ApiServer, Components},
        tokens,
    },
    base::{
        lane::Lane,
        log::chain,
        task::{OnFailure, Supervisor},
    },
    boot::{agent, authentication, config, keys::ServerKeys, process},
    client::{informer::Informers, transport},
    controllers,
    http::{
        self,
        identity::{AUTHENTICATED, MASTERS, User},
    },
    pki, scheduler,
    store::{self, Store},
};

/// Issuer of service-account tokens, as upstream's tools expect it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The server itself, when it asks its own API.
const SELF: &str = "system:apiserver";
/// The user whose informers controllers share.
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
/// The scheduler's user.
const SCHEDULER: &str = "system:kube-scheduler";

/// Starts everything a server consists of; returns once the API serves and the rest is on its way.
pub async fn start(config: config::Server, supervisor: Supervisor) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let files = Lane::new(1);
    let pki = Arc::new(
        files
            .run({
                let config = config.clone();
                move || open_pki(&config)
            })
            .await?,
    );
    let path = config.node.data_dir.join("server/db/state.db");
    let store =
        files.run(move || Store::open(&path, store::Options::default())).await.context("failed to open the store")?;
    let api = build(&config, &pki, store.clone(), &files, &supervisor).await?;
    report_health(&api, &store, &supervisor);
    keep_store(&supervisor, store);
    let own = client(&api, masters());
    bootstrap::ensure(&own, authorities(&pki)).await.context("failed to make the cluster's first objects")?;
    api.start(&supervisor);
    listen(&config, &pki, &api, &supervisor).await?;
    start_control_plane(&config, &pki, &api, &supervisor);
    supervisor.spawn("certificate renewal", pki.clone().keep_fresh(files.clone()));
    let token = pki.token().reveal();
    let kubeconfig = config.clone();
    files.run(move || write_kubeconfig(&kubeconfig, &pki)).await?;
    tracing::info!(port = config.port, after_ms = began.elapsed().as_millis(), "the API is served");
    if config.with_agent {
        agent::start_beside_server(config, token, &api, supervisor).await?;
    }
    process::notify_ready();
    Ok(())
}

fn open_pki(config: &config::Server) -> anyhow::Result<pki::Server> {
    let options = pki::server::Options {
        node_name: config.node.name.clone(),
        addresses: config.node.ips.iter().copied().chain([config.advertise_address]).collect(),
        service_addresses: config.cluster.kubernetes_service_ips(),
        cluster_domain: config.cluster.domain.clone(),
        extra_names: config.tls_san.clone(),
        token: config.token.as_ref().map(|token| token.0.clone()),
    };
    pki::Server::open(&config.node.data_dir.join("server"), &options).context("failed to open the server's keys")
}

async fn build(
    config: &config::Server,
    pki: &Arc<pki::Server>,
    store: Store,
    files: &Lane,
    supervisor: &Supervisor,
) -> anyhow::Result<ApiServer> {
    let kinds = kinds::all();
    let caches = {
        let (store, kinds) = (store.clone(), kinds.clone());
        files.run(move || Caches::load(&store, &kinds)).await.context("failed to read the store")?
    };
    let authorizer = Arc::new(Authorizer::new(caches.clone()));
    let issuers = config.api_flags.authentication.clone();
    let issuers = authentication::issuers(issuers, ISSUER, files, supervisor).await?;
    let authenticator = Authenticator::new(caches.clone(), pki.clone(), ISSUER, issuers, authorizer.clone());
    let authenticator = Arc::new(authenticator);
    let uses = authenticator.bearers().uses();
    let address = SocketAddr::new(config.advertise_address, config.port).to_string();
    let own_client = Arc::new(OnceLock::new());
    let mut handlers = Handlers::default();
    let parts = nodes::Parts {
        pki: pki.clone(),
        reader: caches.clone(),
        client: own_client.clone(),
        settings: config.cluster.settings(),
        supervisor: supervisor.clone(),
    };
    let dialer = nodes::register(&mut handlers, parts)?;
    let outbound = Outbound::new(caches.clone(), dialer, supervisor.clone());
    let proxy = pki.clone();
    let way = Way {
        outbound: outbound.clone(),
        identity: Arc::new(move || proxy.proxy_identity()),
        supervisor: supervisor.clone(),
    };
    let converter = Arc::new(Converter::new(outbound.clone()));
    let admission = Arc::new(Admission::new(caches.clone(), authorizer.clone(), outbound, converter.clone()));
    let issued = authenticator.tokens();
    reviews::register(&mut handlers, &authorizer, authenticator.bearers());
    tokens::register(&mut handlers, caches.clone(), issued, admission.clone(), &format!("https://{address}"));
    let (first, last) = config.node_ports;
    let allocator = Arc::new(Allocator::new(&config.cluster.service_cidrs, first..=last));
    let auditor = open_audit_log(config, files, supervisor).await?;
    let spent = Arc::new(Notify::new());
    supervisor.spawn("memory of bursts", process::give_back_what_is_spent(spent.clone()));
    let components = Components {
        store,
        caches,
        kinds,
        authenticator,
        authorizer,
        admission,
        auditor,
        allocator,
        handlers,
        way,
        converter,
        address,
        spent,
    };
    let api = ApiServer::new(components);
    // The join endpoint keeps what it knows of nodes in the API that it is a part of.
    let _ = own_client.set(client(&api, masters()));
    if let Some(uses) = uses {
        supervisor.spawn("token uses", legacy_token::write_down(client(&api, masters()), uses));
    }
    Ok(api)
}

async fn open_audit_log(
    config: &config::Server,
    files: &Lane,
    supervisor: &Supervisor,
) -> anyhow::Result<Option<Auditor>> {
    let Some(audit) = config.api_flags.audit.clone() else { return Ok(None) };
    let failed = format!("failed to open the audit log {}", audit.log.display());
    let supervisor = supervisor.clone();
    let open = move || Auditor::open(audit.policy, &audit.log, audit.retention, &supervisor);
    files.run(open).await.context(failed).map(Some)
}

/// What the health endpoints ask, under the names that upstream's checks have.
fn report_health(api: &ApiServer, store: &Store, supervisor: &Supervisor) {
    let store = store.clone();
    let writes = move || store.health().map_err(|error| chain(&error));
    api.health().readiness("etcd", Arc::new(writes));
    let ending = supervisor.token();
    let serves = move || if ending.is_cancelled() { Err("process is shutting down".into()) } else { Ok(()) };
    api.health().readiness("shutdown", Arc::new(serves));
}

/// Writes what is still in memory when the process ends.
fn keep_store(supervisor: &Supervisor, store: Store) {
    let token = supervisor.token();
    supervisor.spawn_draining("store", OnFailure::Log, async move {
        token.cancelled().await;
        store.close().await;
        Ok::<_, std::convert::Infallible>(())
    });
}

async fn listen(
    config: &config::Server,
    pki: &pki::Server,
    api: &ApiServer,
    supervisor: &Supervisor,
) -> anyhow::Result<()> {
    let address = SocketAddr::new(config.bind_address, config.port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))?;
    let api = api.clone();
    let service = move |request| api.clone().answer(request);
    let verifiers = http::server::Verifiers { clients: pki.client_verifier()?, proxies: Some(pki.proxy_verifier()?) };
    http::server::serve(listener, pki.api_tls()?, verifiers, service, supervisor, http::server::Limits::default());
    Ok(())
}

fn start_control_plane(config: &config::Server, pki: &Arc<pki::Server>, api: &ApiServer, supervisor: &Supervisor) {
    let settings = controllers::Config {
        cluster_cidrs: config.cluster.cluster_cidrs.clone(),
        advertise_address: config.advertise_address,
        api_port: config.port,
        kubernetes_service_ips: config.cluster.kubernetes_service_ips(),
        service_cidrs: config.cluster.service_cidrs.clone(),
        root_ca_pem: pki.server_authority().to_owned(),
        own_node: config.with_agent.then(|| config.node.name.clone()),
    };
    let informers = Informers::new(client(api, User::component(CONTROLLER_MANAGER)), supervisor.clone());
    let acting = api.clone();
    let keys = Arc::new(ServerKeys(pki.clone()));
    let context =
        controllers::Context::new(informers.clone(), settings, keys, client(api, masters()), move |account| {
            client(&acting, service_account(account))
        });
    let started = controllers::start(&context);
    let scheduler = informers.with_client(client(api, User::component(SCHEDULER)));
    supervisor.spawn("scheduler", scheduler::run(scheduler));
    supervisor.spawn("flow control defaults", bootstrap::flow_control::keep(client(api, masters())));
    for (component, tasks) in [("controller-manager", started), ("scheduler", vec!["scheduler"])] {
        api.health().component(component, Arc::new(works(tasks, supervisor)));
    }
    supervisor.spawn("role aggregation", bootstrap::aggregation::keep_reconciled(client(api, masters())));
}

/// Whether none of a component's tasks has failed.
fn works(tasks: Vec<&'static str>, supervisor: &Supervisor) -> impl Fn() -> Result<(), String> + use<> {
    let supervisor = supervisor.clone();
    move || match tasks.iter().find(|task| supervisor.has_failed(task)) {
        Some(task) => Err(format!("the task {task:?} has failed")),
        None => Ok(()),
    }
}

fn write_kubeconfig(config: &config::Server, pki: &pki::Server) -> anyhow::Result<()> {
    if let Some(directory) = config.kubeconfig.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("failed to create {}", directory.display()))?;
    }
    pki.write_kubeconfig(&config.kubeconfig, &config.local_url(), config.kubeconfig_mode)
        .with_context(|| format!("failed to write the kubeconfig {}", config.kubeconfig.display()))
}

fn authorities(pki: &pki::Server) -> bootstrap::Authorities<'_> {
    bootstrap::Authorities { client: pki.client_authority(), request_header: pki.request_header_authority() }
}

/// A client that reaches `api` inside the process, as `user`.
pub fn client(api: &ApiServer, user: User) -> Client {
    let api = api.clone();
    transport::in_process(move |request| api.clone().answer(request), user)
}

fn masters() -> User {
    User { name: SELF.into(), groups: vec![MASTERS.into(), AUTHENTICATED.into()], ..User::default() }
}

fn service_account(name: &str) -> User {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED];
    User {
        name: format!("system:serviceaccount:kube-system:{name}"),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..User::default()
    }
}

#[cfg(test)]
mod tests;
