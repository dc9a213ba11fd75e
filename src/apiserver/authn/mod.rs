//! Authentication: who makes a request. A component of this process has said so already; anybody
//! else shows a client certificate or a bearer token, or is nobody, which is enough for a few
//! paths only. Whoever may impersonate can then speak for somebody else.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use http::{header, request::Parts};

use crate::{
    api::{Status, status::Reason},
    apiserver::{authz::Authorizer, reader::Reader},
    http::{
        identity::{AUTHENTICATED, CREDENTIAL, UNAUTHENTICATED, User},
        remote_user,
        server::PeerCertificate,
    },
    pki::{
        self,
        identity::Identity,
        join::{AUTHORITY_PATH, JOIN_PATH},
        server::PROXY_USER,
    },
};

pub mod bearer;
pub mod bootstrap_token;
pub mod impersonation;
pub mod legacy_token;
pub mod oidc;
pub mod service_account;

pub use bearer::Bearers;
pub use bootstrap_token::BootstrapTokens;
pub use impersonation::Impersonator;
pub use oidc::Issuers;
pub use service_account::Tokens;

/// Name of who shows nothing.
pub const ANONYMOUS: &str = "system:anonymous";
/// What nobody in particular may ask for unless the operator decides otherwise; whether they get it is up to RBAC.
const HEALTH_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// What machines ask for that join, which prove themselves there.
const JOIN_PATHS: [&str; 2] = [AUTHORITY_PATH, JOIN_PATH];

/// Finds out who makes a request.
pub struct Authenticator {
    bearers: Arc<Bearers>,
    authorizer: Arc<Authorizer>,
}

impl Authenticator {
    /// Verifies service-account tokens with the server's key; `issuer` names it in them. Tokens of
    /// `issuers` are accepted as well.
    pub fn new(
        reader: Arc<dyn Reader>,
        pki: Arc<pki::Server>,
        issuer: impl Into<String>,
        issuers: Arc<Issuers>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self { bearers: Arc::new(Bearers::new(pki, issuer.into(), reader, issuers)), authorizer }
    }

    /// The verifier and issuer of service-account tokens.
    pub fn tokens(&self) -> &Arc<Tokens> {
        self.bearers.tokens()
    }

    /// The verifier of bearer tokens.
    pub fn bearers(&self) -> &Arc<Bearers> {
        &self.bearers
    }

    /// What must be waited for before it can be said who makes a request, if anything.
    pub fn prepare(&self, request: &Parts) -> Option<BoxFuture<'static, ()>> {
        if request.extensions.get::<User>().is_some() || request.uri.path() == JOIN_PATH {
            return None;
        }
        self.bearers.prepare(bearer(request)?)
    }

    /// The user on whose behalf the request is made. 401 for wrong credentials, or for none where
    /// some are needed; 403 for an impersonation that is not allowed.
    pub fn authenticate(&self, request: &Parts) -> Result<User, Status> {
        let user = self.authenticate_peer(request)?;
        let acting = impersonation::apply(&user, request, &self.authorizer)?;
        Ok(acting.map_or(user, |acting| acting.user))
    }

    /// Who makes the request, when it is made on behalf of somebody else.
    pub fn impersonator(&self, request: &Parts) -> Option<Impersonator> {
        if !impersonation::is_asked_for(&request.headers) {
            return None;
        }
        let user = self.authenticate_peer(request).ok()?;
        let acting = impersonation::apply(&user, request, &self.authorizer).ok().flatten();
        Some(Impersonator { user, constraint: acting.and_then(|acting| acting.constraint) })
    }

    fn authenticate_peer(&self, request: &Parts) -> Result<User, Status> {
        if let Some(user) = request.extensions.get::<User>() {
            return Ok(user.clone());
        }
        let peer = request.extensions.get::<PeerCertificate>();
        if let Some(user) = peer.and_then(PeerCertificate::proxy).and_then(|proxy| from_proxy(proxy, request)) {
            return Ok(user);
        }
        if let Some(identity) = peer.and_then(PeerCertificate::current) {
            return from_certificate(identity);
        }
        if let Some(token) = bearer(request) {
            // The join endpoint's bearer is the join token, which that endpoint checks itself.
            if request.uri.path() != JOIN_PATH {
                return self.bearers.authenticate(token).map_err(|why| {
                    tracing::debug!(why, "a bearer token is not accepted");
                    unauthorized()
                });
            }
        }
        match peer {
            None if self.is_public(request.uri.path()) => Ok(anonymous()),
            _ => Err(unauthorized()),
        }
    }

    /// Whether nobody in particular may ask for `path`. Machines that join are always heard.
    fn is_public(&self, path: &str) -> bool {
        match self.bearers.issuers().allows_anonymous(path) {
            Some(allowed) => allowed || is_below(path, &JOIN_PATHS),
            None => is_below(path, &HEALTH_PATHS) || is_below(path, &JOIN_PATHS),
        }
    }
}

/// 401, in the words upstream uses for every kind of wrong credentials.
pub fn unauthorized() -> Status {
    Status::new(Reason::Unauthorized, "Unauthorized")
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(request: &Parts) -> Option<&str> {
    let value = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn from_certificate(identity: &Identity) -> Result<User, Status> {
    if identity.common_name.is_empty() {
        return Err(unauthorized());
    }
    let uid = match identity.uids.as_slice() {
        [] => String::new(),
        [uid] if !uid.is_empty() => uid.clone(),
        _ => return Err(unauthorized()),
    };
    let mut groups = identity.organizations.clone();
    groups.push(AUTHENTICATED.into());
    let extra = BTreeMap::from([(CREDENTIAL.to_owned(), vec![format!("X509SHA256={}", identity.fingerprint)])]);
    Ok(User { name: identity.common_name.clone(), uid, groups, extra })
}

/// The user that a proxy speaks for, if it may and names one.
fn from_proxy(proxy: &Identity, request: &Parts) -> Option<User> {
    let mut user = remote_user::read(&request.headers).filter(|_| proxy.common_name == PROXY_USER)?;
    if user.name != ANONYMOUS && !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.into());
    }
    Some(user)
}

fn anonymous() -> User {
    User { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..User::default() }
}

fn is_below(path: &str, paths: &[&str]) -> bool {
    paths.iter().any(|public| match path.strip_prefix(public) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::apiserver::reader::fake::FakeReader;

    fn authenticator() -> (tempfile::TempDir, Authenticator) {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap());
        let reader: Arc<dyn Reader> = Arc::new(FakeReader::default());
        let authorizer = Arc::new(Authorizer::new(reader.clone()));
        let issuer = "https://kubernetes.default.svc";
        let issuers = Arc::new(Issuers::new(issuer, crate::base::task::Supervisor::new()));
        (directory, Authenticator::new(reader, pki, issuer, issuers, authorizer))
    }

    fn request(path: &str) -> Parts {
        Request::get(path).body(()).unwrap().into_parts().0
    }

    fn identity(name: &str, organizations: &[&str]) -> Identity {
        Identity {
            common_name: name.into(),
            organizations: organizations.iter().map(|organization| (*organization).to_owned()).collect(),
            names: Vec::new(),
            uids: Vec::new(),
            fingerprint: "abc".into(),
            not_after: pki::authority::seconds_now() + 60,
        }
    }

    #[test]
    fn nobody_sees_health_and_version_alone() {
        let (_directory, authenticator) = authenticator();
        for path in ["/healthz", "/readyz/store", "/version", "/v1-nauplius/cacerts"] {
            assert_eq!(authenticator.authenticate(&request(path)).unwrap().name, ANONYMOUS, "{path}");
        }
        for path in ["/api/v1/pods", "/", "/versions", "/metrics", "/healthzz"] {
            assert_eq!(authenticator.authenticate(&request(path)).unwrap_err().code(), 401, "{path}");
        }
    }

    #[test]
    fn wrong_credentials_are_worse_than_none() {
        let (_directory, authenticator) = authenticator();
        let mut parts = request("/healthz");
        parts.headers.insert(header::AUTHORIZATION, "Bearer nonsense".parse().unwrap());
        assert_eq!(authenticator.authenticate(&parts).unwrap_err().code(), 401);
        let mut parts = request("/healthz");
        parts.extensions.insert(PeerCertificate::Rejected);
        assert_eq!(authenticator.authenticate(&parts).unwrap_err().code(), 401);
    }

    #[test]
    fn a_certificate_names_user_and_groups() {
        let (_directory, authenticator) = authenticator();
        let mut identity = identity("jane", &["devs"]);
        let mut parts = request("/api");
        parts.extensions.insert(PeerCertificate::Verified(Arc::new(identity.clone())));
        let user = authenticator.authenticate(&parts).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("jane", vec!["devs".to_owned(), AUTHENTICATED.into()]));
        assert_eq!((user.uid.as_str(), &user.extra[CREDENTIAL][..]), ("", &["X509SHA256=abc".to_owned()][..]));
        identity.uids = vec!["7".into()];
        parts.extensions.insert(PeerCertificate::Verified(Arc::new(identity.clone())));
        assert_eq!(authenticator.authenticate(&parts).unwrap().uid, "7");
        for unclear in [vec!["7".into(), "8".into()], vec![String::new()]] {
            identity.uids = unclear;
            parts.extensions.insert(PeerCertificate::Verified(Arc::new(identity.clone())));
            assert_eq!(authenticator.authenticate(&parts).unwrap_err().code(), 401);
        }
        identity.uids.clear();
        identity.not_after = pki::authority::seconds_now() - 1;
        parts.extensions.insert(PeerCertificate::Verified(Arc::new(identity)));
        assert_eq!(authenticator.authenticate(&parts).unwrap_err().code(), 401);
    }

    #[test]
    fn a_proxy_speaks_for_others_and_nobody_else_does() {
        let (_directory, authenticator) = authenticator();
        let ask = |name: &str, proxy: bool, user: &str| {
            let identity = Arc::new(identity(name, &[]));
            let mut parts = request("/api");
            parts.headers.insert("x-remote-user", user.parse().unwrap());
            parts.headers.insert("x-remote-group", "devs".parse().unwrap());
            let peer = if proxy { PeerCertificate::Proxy(identity) } else { PeerCertificate::Verified(identity) };
            parts.extensions.insert(peer);
            authenticator.authenticate(&parts).map_err(|status| status.code())
        };
        let user = ask(PROXY_USER, true, "jane").unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("jane", vec!["devs".to_owned(), AUTHENTICATED.into()]));
        assert_eq!(ask("other-proxy", true, "jane"), Err(401));
        assert_eq!(ask(PROXY_USER, true, ""), Err(401));
        let user = ask("joe", false, "jane").unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("joe", vec![AUTHENTICATED.to_owned()]));
    }
}
