//! The endpoints by which a machine becomes a node: the server authority for anybody, certificates
//! for whoever has the join token. A node's name belongs to the machine that used it first: it draws
//! a secret and shows it every time; the server keeps its hash in a Secret, as k3s does.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, header};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    api::{
        Status,
        kind::GroupResource,
        kinds::node::{SECRET_NAMESPACE, secret_name},
        status::Reason,
    },
    apiserver::{attributes::Attributes, authn, authz::node::node_name, handler::Handler, reader::Reader},
    base::lane::Lane,
    http::body::{self, Body},
    pki::{
        self,
        join::{ClusterSettings, JoinRequest},
    },
};

const BODY_LIMIT_BYTES: usize = 64 * 1024;
const HASH_KEY: &str = "hash";
/// Signatures under way at once.
const SIGNERS: usize = 2;

/// Serves [`crate::pki::join::AUTHORITY_PATH`].
pub struct AuthorityHandler {
    pki: Arc<pki::Server>,
}

impl AuthorityHandler {
    /// Shows the server authority of `pki`.
    pub fn new(pki: Arc<pki::Server>) -> Self {
        Self { pki }
    }
}

impl Handler for AuthorityHandler {
    fn handle<'a>(
        &'a self,
        _attributes: &'a Attributes,
        _request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        let mut response = Response::new(body::full(self.pki.server_authority().to_owned()));
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-pem-file"));
        Box::pin(std::future::ready(Ok(response)))
    }
}

/// Serves [`crate::pki::join::JOIN_PATH`].
pub struct JoinHandler {
    pki: Arc<pki::Server>,
    reader: Arc<dyn Reader>,
    client: Arc<OnceLock<Client>>,
    settings: ClusterSettings,
    lane: Lane,
}

impl JoinHandler {
    /// `client` keeps the hashes of node secrets; it is set once the API can serve it.
    pub fn new(
        pki: Arc<pki::Server>,
        reader: Arc<dyn Reader>,
        client: Arc<OnceLock<Client>>,
        settings: ClusterSettings,
    ) -> Self {
        Self { pki, reader, client, settings, lane: Lane::new(SIGNERS) }
    }

    async fn join(&self, attributes: &Attributes, request: Request<Body>) -> Result<Response<Body>, Status> {
        if request.method() != Method::POST {
            return Err(Status::new(Reason::MethodNotAllowed, "the join endpoint is posted to"));
        }
        let (parts, body) = request.into_parts();
        let has_token = authn::bearer(&parts).is_some_and(|token| self.pki.token().admits(token));
        let own_name = node_name(&attributes.user).map(str::to_owned);
        if !has_token && own_name.is_none() {
            return Err(authn::unauthorized());
        }
        let request = read(body).await?;
        if !has_token && own_name.as_deref() != Some(&request.node_name) {
            return Err(Status::new(Reason::Forbidden, "a node renews its own certificates only"));
        }
        self.claim_name(&request).await?;
        let (pki, settings) = (self.pki.clone(), self.settings.clone());
        let signed = self.lane.run(move || pki.sign_node(&request, settings)).await;
        let response = signed.map_err(|error| Status::bad_request(crate::base::log::chain(&error)))?;
        let json = serde_json::to_vec(&response).map_err(Status::internal)?;
        let mut response = Response::new(body::full(json));
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// Gives the name to the first that asks, and afterwards only to who knows its secret.
    async fn claim_name(&self, request: &JoinRequest) -> Result<(), Status> {
        let digest = pki::token::hexadecimal(&Sha256::digest(request.node_secret.as_bytes()));
        if self.knows(request, &digest)? {
            return Ok(());
        }
        let client = self.client.get().cloned();
        let client = client.ok_or_else(|| Status::new(Reason::ServiceUnavailable, "the server is starting"))?;
        let secret = Secret {
            metadata: ObjectMeta { name: Some(secret_name(&request.node_name)), ..ObjectMeta::default() },
            type_: Some("nauplius.io/node-secret".into()),
            data: Some(BTreeMap::from([(HASH_KEY.to_owned(), ByteString(digest.into_bytes()))])),
            ..Secret::default()
        };
        match Api::<Secret>::namespaced(client, SECRET_NAMESPACE).create(&PostParams::default(), &secret).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(taken(&request.node_name)),
            Err(error) => Err(Status::internal(error)),
        }
    }

    /// True if the secret is that of the name; false if the name is free.
    fn knows(&self, request: &JoinRequest, digest: &str) -> Result<bool, Status> {
        let resource = GroupResource { group: "", resource: "secrets" };
        let Some(kept) = self.reader.get(resource, SECRET_NAMESPACE, &secret_name(&request.node_name)) else {
            return Ok(false);
        };
        let kept: Secret = serde_json::from_slice(&kept).map_err(Status::internal)?;
        let hash = kept.data.and_then(|mut data| data.remove(HASH_KEY)).map(|hash| hash.0).unwrap_or_default();
        match bool::from(hash.ct_eq(digest.as_bytes())) {
            true => Ok(true),
            false => Err(taken(&request.node_name)),
        }
    }
}

impl Handler for JoinHandler {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(self.join(attributes, request))
    }
}

async fn read(body: Body) -> Result<JoinRequest, Status> {
    let body = body::read(body, BODY_LIMIT_BYTES).await;
    let body = body.map_err(|error| Status::new(Reason::RequestEntityTooLarge, error.to_string()))?;
    let request: JoinRequest = serde_json::from_slice(&body)
        .map_err(|error| Status::bad_request(format!("the request is malformed: {error}")))?;
    if !is_node_name(&request.node_name) || request.node_secret.len() < 16 {
        return Err(Status::bad_request("the node's name is not a DNS subdomain, or its secret too short"));
    }
    Ok(request)
}

/// RFC 1123 subdomain, as names of nodes must be.
fn is_node_name(name: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().is_some_and(|byte| is_alphanumeric(*byte))
                && bytes.last().is_some_and(|byte| is_alphanumeric(*byte))
                && bytes.iter().all(|byte| is_alphanumeric(*byte) || *byte == b'-')
        })
}

fn taken(node: &str) -> Status {
    let message = format!(
        "another machine has joined as node {node:?}; give this one another name, \
         or delete secret {} in {} if that machine is gone",
        secret_name(node),
        SECRET_NAMESPACE
    );
    Status::new(Reason::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;
    use crate::{
        apiserver::reader::fake::FakeReader,
        client::transport,
        http::identity::User,
        pki::{agent, server::Options},
    };

    struct Fixture {
        directory: tempfile::TempDir,
        pki: Arc<pki::Server>,
        handler: JoinHandler,
    }

    /// A server whose API keeps the one object that is created.
    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(pki::Server::open(directory.path(), &Options::default()).unwrap());
        let reader = Arc::new(FakeReader::default());
        let store = reader.clone();
        let serve = move |request: Request<Body>| {
            let store = store.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut object: serde_json::Value = serde_json::from_slice(&body).unwrap();
                object["metadata"]["namespace"] = SECRET_NAMESPACE.into();
                store.put("", "secrets", object);
                Response::new(body::full(body))
            }
        };
        let client = Arc::new(OnceLock::from(transport::in_process(serve, User::component("system:apiserver"))));
        let handler = JoinHandler::new(pki.clone(), reader, client, ClusterSettings::default());
        Fixture { directory, pki, handler }
    }

    async fn join(fixture: &Fixture, token: &str, request: &JoinRequest, user: User) -> Result<(), u16> {
        let http = Request::post("/v1-nauplius/join")
            .header("authorization", format!("Bearer {token}"))
            .body(body::full(serde_json::to_vec(request).unwrap()))
            .unwrap();
        let attributes = Attributes { user, ..Attributes::default() };
        fixture.handler.handle(&attributes, http).await.map(|_| ()).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn the_token_admits_and_the_name_stays_with_its_machine() {
        let fixture = fixture();
        let token = fixture.pki.token().reveal();
        let store = |name: &str| agent::Store::open(&fixture.directory.path().join(name), "edge1").unwrap();
        let (first, second) = (store("first").request(vec![]).unwrap(), store("second").request(vec![]).unwrap());
        assert_eq!(join(&fixture, "wrong", &first, User::default()).await, Err(401));
        assert_eq!(join(&fixture, &token, &first, User::default()).await, Ok(()));
        assert_eq!(join(&fixture, &token, &first, User::default()).await, Ok(()));
        assert_eq!(join(&fixture, &token, &second, User::default()).await, Err(403));
    }

    #[tokio::test]
    async fn a_node_renews_without_the_token_but_for_itself_only() {
        let fixture = fixture();
        let request =
            agent::Store::open(&fixture.directory.path().join("a"), "edge1").unwrap().request(vec![]).unwrap();
        let user = |name: &str| User {
            name: format!("system:node:{name}"),
            groups: vec!["system:nodes".into()],
            ..User::default()
        };
        assert_eq!(join(&fixture, "none", &request, user("edge1")).await, Ok(()));
        assert_eq!(join(&fixture, "none", &request, user("edge2")).await, Err(403));
    }

    #[tokio::test]
    async fn malformed_requests_are_refused() {
        let fixture = fixture();
        for name in ["", "UPPER", "a_b", "-a", "a..b", &"x".repeat(300)] {
            assert!(!is_node_name(name), "{name}");
        }
        assert!(is_node_name("edge-1.example"));
        let http = Request::post("/v1-nauplius/join")
            .header("authorization", format!("Bearer {}", fixture.pki.token().reveal()))
            .body(body::full(json!({"nodeName": 1}).to_string()))
            .unwrap();
        let status = fixture.handler.handle(&Attributes::default(), http).await.unwrap_err();
        assert_eq!(status.code(), 400);
    }
}
