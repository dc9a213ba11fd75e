//! Everything a server owns: three authorities, its serving certificate, the administrator's and its
//! own client certificates, the service-account key and the join token. Made on first start.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};

use crate::{
    base::{file, lane::Lane, log},
    pki::{
        Error,
        authority::{Authority, Issued, Profile, Usage},
        certify::{self, Usages},
        join::{ClusterSettings, JoinRequest, JoinResponse},
        kubeconfig,
        serving::{Kept, Serving},
        signing::SigningKey,
        tls,
        token::JoinToken,
    },
};

/// How often a running server looks whether its certificate is due.
const RENEWAL_INTERVAL: Duration = Duration::from_hours(24);
/// Most names a node may ask its serving certificate to carry.
const NODE_NAMES_LIMIT: usize = 32;

/// The name in certificates of proxies that are believed about whom they speak for.
pub const PROXY_USER: &str = "system:auth-proxy";

/// What the serving certificate must be valid for, and the token if one is prescribed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// This machine's node name.
    pub node_name: String,
    /// Addresses this server is reached at.
    pub addresses: Vec<IpAddr>,
    /// First address of the service network: that of the `kubernetes` service.
    pub service_addresses: Vec<IpAddr>,
    /// Domain of the cluster's DNS.
    pub cluster_domain: String,
    /// Further names or addresses (`--tls-san`).
    pub extra_names: Vec<String>,
    /// The token of `--token`, in either form.
    pub token: Option<String>,
}

/// A server's keys, certificates and token.
pub struct Server {
    directory: PathBuf,
    server_authority: Authority,
    client_authority: Authority,
    request_header_authority: Authority,
    names: Vec<String>,
    serving: Arc<Serving>,
    proxy: ArcSwap<Issued>,
    signing: SigningKey,
    token: JoinToken,
}

impl Server {
    /// Opens `<directory>/tls` and `<directory>/token`, making what is not there. `directory` is
    /// `<data-dir>/server`. Blocks on files.
    pub fn open(directory: &Path, options: &Options) -> Result<Self, Error> {
        let tls_directory = directory.join("tls");
        file::create_directory(&tls_directory, 0o700)?;
        let server_authority = Authority::open(&tls_directory, "server-ca")?;
        let names = serving_names(options);
        let (issued, _) = Kept::new(&tls_directory, SERVING).obtain(&server_authority, serving_profile(&names))?;
        let request_header_authority = Authority::open(&tls_directory, "request-header-ca")?;
        let (proxy, _) = Kept::new(&tls_directory, PROXYING).obtain(&request_header_authority, PROXY_PROFILE)?;
        Ok(Self {
            client_authority: Authority::open(&tls_directory, "client-ca")?,
            request_header_authority,
            proxy: ArcSwap::from_pointee(proxy),
            serving: Arc::new(Serving::new(&issued)?),
            signing: SigningKey::open(&tls_directory.join("service.key"))?,
            token: JoinToken::open(&directory.join("token"), options.token.as_deref(), server_authority.pem())?,
            directory: tls_directory,
            server_authority,
            names,
        })
    }

    /// Certificate of the authority that signs servers, PEM. This is what pods and kubeconfigs trust.
    pub fn server_authority(&self) -> &str {
        self.server_authority.pem()
    }

    /// Certificate of the authority that signs clients, PEM.
    pub fn client_authority(&self) -> &str {
        self.client_authority.pem()
    }

    /// Certificate of the authority that signs the aggregating proxy, PEM.
    pub fn request_header_authority(&self) -> &str {
        self.request_header_authority.pem()
    }

    /// The join token.
    pub fn token(&self) -> &JoinToken {
        &self.token
    }

    /// The service-account signing key.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Verifies client certificates.
    pub fn client_verifier(&self) -> Result<tls::ClientVerifier, Error> {
        tls::client_verifier(self.client_authority.pem())
    }

    /// Verifies certificates of proxies, which speak for others.
    pub fn proxy_verifier(&self) -> Result<tls::ClientVerifier, Error> {
        tls::client_verifier(self.request_header_authority.pem())
    }

    /// What this server shows to the servers behind it: by it, they believe whom it speaks for. It
    /// changes when it is renewed.
    pub fn proxy_identity(&self) -> Arc<Issued> {
        self.proxy.load_full()
    }

    /// TLS of the API listener. Connections made after a renewal show the new certificate. Clients are
    /// told both authorities whose certificates may be shown.
    pub fn api_tls(&self) -> Result<Arc<ServerConfig>, Error> {
        let authorities = [self.client_authority.pem(), self.request_header_authority.pem()].concat();
        tls::server(self.serving.clone(), &tls::client_verifier(&authorities)?, tls::API_PROTOCOLS)
    }

    /// TLS with which the API server calls kubelets that have no tunnel.
    pub fn kubelet_client_tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let identity = self.client("client-kube-apiserver", "kube-apiserver", Some("system:masters"))?;
        tls::client(self.server_authority.pem(), Some(&identity), tls::HTTP1_PROTOCOLS)
    }

    /// The administrator's client certificate, member of `system:masters`.
    pub fn admin(&self) -> Result<Issued, Error> {
        self.client("client-admin", "system:admin", Some("system:masters"))
    }

    /// Writes the administrator's kubeconfig to `path` if it differs from what is there.
    pub fn write_kubeconfig(&self, path: &Path, url: &str, mode: u32) -> Result<(), Error> {
        let text = kubeconfig::render(url, self.server_authority.pem(), &self.admin()?);
        if file::read_optional(path)?.as_deref() != Some(text.as_bytes()) {
            file::write_atomic(path, text.as_bytes(), mode)?;
        }
        Ok(())
    }

    /// Signs what a joining node asks for. That the asker may use the node's name, and has the
    /// token, is for the caller to check.
    pub fn sign_node(&self, request: &JoinRequest, settings: ClusterSettings) -> Result<JoinResponse, Error> {
        let user = format!("system:node:{}", request.node_name);
        let mut names = vec![request.node_name.clone(), "localhost".into(), "127.0.0.1".into()];
        // Only addresses: a name of the asker's choice could be that of the API server itself.
        let addresses = request.names.iter().take(NODE_NAMES_LIMIT).filter(|name| name.parse::<IpAddr>().is_ok());
        names.extend(addresses.filter(|name| !self.names.contains(name)).cloned());
        let nodes = Some("system:nodes");
        let client = Profile { common_name: &user, organization: nodes, names: &[], usage: Usage::Client };
        let serving = Profile { names: &names, usage: Usage::Server, ..client };
        Ok(JoinResponse {
            client_authority: self.client_authority.pem().to_owned(),
            server_authority: self.server_authority.pem().to_owned(),
            client_certificate: self.client_authority.sign(&request.client_request, client)?,
            serving_certificate: self.server_authority.sign(&request.serving_request, serving)?,
            settings,
        })
    }

    /// Signs what a PEM signing request asks for (see [`certify::certify`]), as a client of the API or
    /// as anything else.
    pub fn certify(
        &self,
        request_pem: &[u8],
        usages: &Usages,
        lifetime_seconds: i64,
        is_client: bool,
    ) -> Result<String, Error> {
        let authority = if is_client { &self.client_authority } else { &self.server_authority };
        certify::certify(authority, request_pem, usages, lifetime_seconds)
    }

    /// Issues the serving certificate and the one of the proxy anew if they are due, and shows them at
    /// once; whether any was. Blocks on files.
    pub fn renew(&self) -> Result<bool, Error> {
        let kept = Kept::new(&self.directory, SERVING);
        let (serving, new_serving) = kept.obtain(&self.server_authority, serving_profile(&self.names))?;
        if new_serving {
            self.serving.replace(&serving)?;
        }
        let kept = Kept::new(&self.directory, PROXYING);
        let (proxy, new_proxy) = kept.obtain(&self.request_header_authority, PROXY_PROFILE)?;
        if new_proxy {
            self.proxy.store(Arc::new(proxy));
        }
        Ok(new_serving || new_proxy)
    }

    /// Looks once a day whether these certificates are due, for as long as the server runs.
    pub async fn keep_fresh(self: Arc<Self>, lane: Lane) {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            let server = self.clone();
            match lane.run(move || server.renew()).await {
                Ok(true) => tracing::info!("issued new certificates of the server"),
                Ok(false) => {}
                Err(error) => {
                    let error = log::chain(&error);
                    tracing::error!(error, "the certificates of the server could not be renewed");
                }
            }
        }
    }

    fn client(&self, stem: &str, common_name: &str, organization: Option<&str>) -> Result<Issued, Error> {
        let profile = Profile { common_name, organization, names: &[], usage: Usage::Client };
        Ok(Kept::new(&self.directory, stem).obtain(&self.client_authority, profile)?.0)
    }
}

const SERVING: &str = "serving-kube-apiserver";
const PROXYING: &str = "client-auth-proxy";
const PROXY_PROFILE: Profile<'static> =
    Profile { common_name: PROXY_USER, organization: None, names: &[], usage: Usage::Client };

fn serving_profile(names: &[String]) -> Profile<'_> {
    Profile { common_name: "nauplius", organization: None, names, usage: Usage::Server }
}

/// Every name a client may know this server by, sorted, once each.
fn serving_names(options: &Options) -> Vec<String> {
    let domain = &options.cluster_domain;
    let mut names: BTreeSet<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    names.insert(format!("kubernetes.default.svc.{domain}"));
    names.insert(options.node_name.clone());
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    names.extend(options.addresses.iter().chain(&options.service_addresses).map(ToString::to_string));
    // An address given as text is brought into the one form that certificates read back.
    names.extend(options.extra_names.iter().map(|name| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.clone(),
    }));
    names.retain(|name| !name.is_empty());
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::pki::{agent, identity::Identity};

    fn options() -> Options {
        Options { node_name: "edge1".into(), cluster_domain: "cluster.local".into(), ..Options::default() }
    }

    #[test]
    fn a_restart_changes_nothing_and_everything_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let first = Server::open(directory.path(), &options()).unwrap();
        first.admin().unwrap();
        let second = Server::open(directory.path(), &options()).unwrap();
        assert_eq!(first.token(), second.token());
        assert_eq!(first.signing().id(), second.signing().id());
        assert!(!second.renew().unwrap());
        for entry in std::fs::read_dir(directory.path().join("tls")).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }

    #[test]
    fn a_new_name_brings_a_new_serving_certificate() {
        let directory = tempfile::tempdir().unwrap();
        Server::open(directory.path(), &options()).unwrap();
        let more = Options { extra_names: vec!["cluster.example".into(), "FD00::0:1".into()], ..options() };
        let server = Server::open(directory.path(), &more).unwrap();
        assert!(!server.renew().unwrap());
        let issued = Kept::new(&directory.path().join("tls"), SERVING).load().unwrap().unwrap();
        let names = Identity::from_pem(issued.certificate.as_bytes()).unwrap().names;
        assert!(names.contains(&"cluster.example".to_owned()) && names.contains(&"fd00::1".to_owned()));
    }

    #[test]
    fn a_node_cannot_ask_for_the_servers_names() {
        let directory = tempfile::tempdir().unwrap();
        let addresses = vec![IpAddr::from([192, 0, 2, 1])];
        let server = Server::open(directory.path(), &Options { addresses, ..options() }).unwrap();
        let node = agent::Store::open(&directory.path().join("agent"), "edge2").unwrap();
        let names = ["kubernetes.default.svc", "192.0.2.1", "192.0.2.7"].map(str::to_owned).to_vec();
        let response = server.sign_node(&node.request(names).unwrap(), ClusterSettings::default()).unwrap();
        let names = Identity::from_pem(response.serving_certificate.as_bytes()).unwrap().names;
        assert_eq!(names, ["edge2", "localhost", "127.0.0.1", "192.0.2.7"]);
    }
}
