//! Issuing service-account tokens (`authentication.k8s.io/v1` TokenRequest, posted to
//! `serviceaccounts/{name}/token`) and publishing the keys that verify them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{
        Status,
        kind::{Descriptor, GroupResource},
        kinds, meta,
        status::{Cause, Reason},
    },
    apiserver::{
        admission::{self, Admission, Operation},
        attributes::Attributes,
        audit,
        authn::service_account::{Binding, Claims, ObjectReference, Tokens},
        handler::Handler,
        handlers::Handlers,
        negotiate, payload,
        reader::Reader,
    },
    http::body::Body,
    pki::authority::seconds_now,
};

pub mod discovery;

/// Puts the issuing of tokens and the discovery of their keys into `handlers`. `server` is where
/// clients reach the API (`https://host:port`).
pub fn register(
    handlers: &mut Handlers,
    reader: Arc<dyn Reader>,
    tokens: &Arc<Tokens>,
    admission: Arc<Admission>,
    server: &str,
) {
    let requests = TokenRequests::new(reader, tokens.clone(), admission);
    handlers.resource("", "serviceaccounts", "token", Arc::new(requests));
    let discovery = Arc::new(discovery::IssuerDiscovery::new(tokens.clone(), server));
    handlers.path(discovery::CONFIGURATION_PATH, discovery.clone());
    handlers.path(discovery::KEYS_PATH, discovery);
}

const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST_SECONDS: i64 = 600;
const LONGEST_SECONDS: i64 = 1 << 32;
/// The life that the token volumes of upstream's admission ask for. Clients that never read their
/// token again are given a year, and are only warned about afterwards.
const PROJECTED_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// Serves `serviceaccounts/token`.
pub struct TokenRequests {
    reader: Arc<dyn Reader>,
    tokens: Arc<Tokens>,
    admission: Arc<Admission>,
    kind: Descriptor,
}

/// What is asked for, checked.
struct Wish {
    audiences: Vec<String>,
    seconds: i64,
    bound: Option<Bound>,
}

struct Bound {
    kind: String,
    name: String,
    uid: String,
}

impl TokenRequests {
    /// Issues tokens of `tokens` for accounts and bound objects that `reader` sees, to whom
    /// `admission` lets have them.
    pub fn new(reader: Arc<dyn Reader>, tokens: Arc<Tokens>, admission: Arc<Admission>) -> Self {
        let kind = kinds::all().into_iter().find(|kind| kind.kind == "ServiceAccount");
        Self { reader, tokens, admission, kind: kind.expect("service accounts are a built-in kind") }
    }

    async fn issue(&self, attributes: &Attributes, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let mut object = payload::parse(&payload::read(body).await?, payload::format(&parts.headers)?)?;
        let review = admission::Request {
            attributes,
            operation: Operation::Create,
            kind: &self.kind,
            old: None,
            dry_run: false,
            options: admission::Options::default(),
        };
        self.admission.validate(&review, &object).await?;
        let wish = read(&object, self.tokens.issuer(), &attributes.name)?;
        let claims = self.claims(attributes, &wish)?;
        let token = self.tokens.sign(&claims).map_err(Status::internal)?;
        audit::annotate("authentication.kubernetes.io/issued-credential-id", || format!("JTI={}", claims.jti));
        let expires = jiff::Timestamp::from_second(claims.iat + wish.seconds).map_err(Status::internal)?;
        object["apiVersion"] = "authentication.k8s.io/v1".into();
        object["kind"] = "TokenRequest".into();
        object["metadata"] = json!({
            "name": attributes.name, "namespace": attributes.namespace, "creationTimestamp": timestamp(claims.iat),
        });
        object["spec"]["audiences"] = json!(wish.audiences);
        object["spec"]["expirationSeconds"] = wish.seconds.into();
        object["status"] = json!({"token": token, "expirationTimestamp": expires.to_string()});
        negotiate::reply(&parts.headers, StatusCode::CREATED, &object)
    }

    fn claims(&self, attributes: &Attributes, wish: &Wish) -> Result<Claims, Status> {
        let (namespace, name) = (attributes.namespace.as_str(), attributes.name.as_str());
        let account = self.get("serviceaccounts", namespace, name)?;
        let mut binding = Binding {
            namespace: namespace.to_owned(),
            node: None,
            pod: None,
            secret: None,
            serviceaccount: reference(&account),
            warnafter: None,
        };
        if let Some(bound) = &wish.bound {
            self.bind(&mut binding, bound, name)?;
        }
        let now = seconds_now();
        let is_projected = wish.seconds == PROJECTED_SECONDS && binding.pod.is_some();
        let extends = is_projected && wish.audiences == [self.tokens.issuer()];
        if extends {
            binding.warnafter = Some(now + wish.seconds);
        }
        Ok(Claims {
            aud: wish.audiences.clone(),
            exp: now + if extends { EXTENDED_SECONDS } else { wish.seconds },
            iat: now,
            iss: self.tokens.issuer().to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: binding,
            nbf: now,
            sub: format!("system:serviceaccount:{namespace}:{name}"),
        })
    }

    fn bind(&self, binding: &mut Binding, bound: &Bound, account: &str) -> Result<(), Status> {
        let (resource, namespace) = match bound.kind.as_str() {
            "Pod" => ("pods", binding.namespace.clone()),
            "Secret" => ("secrets", binding.namespace.clone()),
            "Node" => ("nodes", String::new()),
            other => {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to {other}"
                )));
            }
        };
        let object = self.get(resource, &namespace, &bound.name)?;
        if !bound.uid.is_empty() && bound.uid != meta::uid(&object) {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                bound.uid
            );
            return Err(Status::conflict("", resource, &bound.name, &why));
        }
        match resource {
            "pods" => {
                if object["spec"]["serviceAccountName"].as_str().unwrap_or_default() != account {
                    let why = format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                    );
                    return Err(Status::bad_request(why));
                }
                binding.node = self.node_of(&object);
                binding.pod = Some(reference(&object));
            }
            "secrets" => binding.secret = Some(reference(&object)),
            _ => binding.node = Some(reference(&object)),
        }
        Ok(())
    }

    fn node_of(&self, pod: &Value) -> Option<ObjectReference> {
        let name = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())?;
        let node = self.get("nodes", "", name).ok();
        Some(node.map_or_else(
            || ObjectReference { name: name.to_owned(), ..ObjectReference::default() },
            |node| reference(&node),
        ))
    }

    fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        let object = self.reader.get(GroupResource { group: "", resource }, namespace, name);
        let object = object.ok_or_else(|| Status::not_found("", resource, name))?;
        serde_json::from_slice(&object).map_err(Status::internal)
    }
}

impl Handler for TokenRequests {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        if attributes.verb != "create" {
            let status = Status::new(
                Reason::MethodNotAllowed,
                "the server does not allow this method on the requested resource",
            );
            return Box::pin(std::future::ready(Err(status)));
        }
        Box::pin(self.issue(attributes, request))
    }
}

fn read(object: &Value, issuer: &str, account: &str) -> Result<Wish, Status> {
    let spec = &object["spec"];
    let audiences: Vec<String> = serde_json::from_value(spec["audiences"].clone()).unwrap_or_default();
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let problem = match seconds {
        ..SHORTEST_SECONDS => Some("may not specify a duration less than 10 minutes"),
        LONGEST_SECONDS.. => Some("may not specify a duration larger than 2^32 seconds"),
        _ => None,
    };
    if let Some(problem) = problem {
        let cause = Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {seconds}: {problem}"),
            field: "spec.expirationSeconds".into(),
            ..Cause::default()
        };
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", account, vec![cause]));
    }
    let text = |field: &str| spec["boundObjectRef"][field].as_str().unwrap_or_default().to_owned();
    let bound =
        spec["boundObjectRef"].is_object().then(|| Bound { kind: text("kind"), name: text("name"), uid: text("uid") });
    let audiences = if audiences.is_empty() { vec![issuer.to_owned()] } else { audiences };
    Ok(Wish { audiences, seconds, bound })
}

fn reference(object: &Value) -> ObjectReference {
    ObjectReference { name: meta::name(object).to_owned(), uid: meta::uid(object).to_owned() }
}

fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|timestamp| timestamp.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        apiserver::{authz::Authorizer, conversion::Converter, outbound::fixture::Peers, reader::fake::FakeReader},
        http::body,
        pki,
    };

    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    struct Fixture {
        _directory: tempfile::TempDir,
        tokens: Arc<Tokens>,
        handler: TokenRequests,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap());
        let reader = Arc::new(FakeReader::default());
        reader.put("", "serviceaccounts", json!({"metadata": {"namespace": "a", "name": "web", "uid": "1"}}));
        reader.put("", "nodes", json!({"metadata": {"name": "edge1", "uid": "3"}}));
        reader.put(
            "",
            "pods",
            json!({
            "metadata": {"namespace": "a", "name": "p", "uid": "2"},
            "spec": {"serviceAccountName": "web", "nodeName": "edge1"}}),
        );
        let tokens = Arc::new(Tokens::new(reader.clone(), pki, ISSUER.into()));
        let authorizer = Arc::new(Authorizer::new(reader.clone()));
        let outbound = Peers::new(reader.clone()).outbound;
        let converter = Arc::new(Converter::new(outbound.clone()));
        let admission = Arc::new(Admission::new(reader.clone(), authorizer, outbound, converter));
        let handler = TokenRequests::new(reader, tokens.clone(), admission);
        Fixture { _directory: directory, tokens, handler }
    }

    async fn ask(fixture: &Fixture, account: &str, spec: Value) -> Result<Value, Status> {
        let attributes = Attributes {
            verb: "create".into(),
            namespace: "a".into(),
            resource: "serviceaccounts".into(),
            name: account.into(),
            subresource: "token".into(),
            ..Attributes::default()
        };
        let request = Request::post("/").body(body::full(json!({"spec": spec}).to_string())).unwrap();
        let response = fixture.handler.handle(&attributes, request).await?;
        Ok(serde_json::from_slice(&body::read(response.into_body(), 100_000).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn an_issued_token_authenticates_its_account() {
        let fixture = fixture();
        let spec = json!({"expirationSeconds": 3607, "boundObjectRef": {"kind": "Pod", "name": "p", "uid": "2"}});
        let answer = ask(&fixture, "web", spec).await.unwrap();
        let user = fixture.tokens.authenticate(answer["status"]["token"].as_str().unwrap()).unwrap();
        assert_eq!(user.name, "system:serviceaccount:a:web");
        assert_eq!(user.extra["authentication.kubernetes.io/node-name"], ["edge1"]);
        assert_eq!(answer["spec"]["audiences"], json!([ISSUER]));
    }

    #[tokio::test]
    async fn wrong_wishes_are_refused() {
        let fixture = fixture();
        assert_eq!(ask(&fixture, "none", json!({})).await.unwrap_err().code(), 404);
        assert_eq!(ask(&fixture, "web", json!({"expirationSeconds": 10})).await.unwrap_err().code(), 422);
        let other = json!({"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "9"}});
        assert_eq!(ask(&fixture, "web", other).await.unwrap_err().code(), 409);
        let kind = json!({"boundObjectRef": {"kind": "Service", "name": "p"}});
        assert_eq!(ask(&fixture, "web", kind).await.unwrap_err().code(), 400);
    }
}
