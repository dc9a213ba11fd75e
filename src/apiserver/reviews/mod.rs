//! Reviews: questions that are posted and answered at once. Whose token is this (`tokenreviews`), who
//! am I (`selfsubjectreviews`), may somebody do something (`subjectaccessreviews` and its relatives),
//! what may I do (`selfsubjectrulesreviews`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Status,
    apiserver::{
        attributes::Attributes,
        authn::Bearers,
        authz::{Authorizer, node::node_name},
        handler::Handler,
        handlers::Handlers,
        negotiate, payload, respond,
    },
    http::{
        body::Body,
        identity::{MASTERS, User},
    },
};

mod access;

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Puts a handler for every kind of review into `handlers`.
pub fn register(handlers: &mut Handlers, authorizer: &Arc<Authorizer>, bearers: &Arc<Bearers>) {
    let questions = [
        (AUTHENTICATION, "tokenreviews", Question::Token),
        (AUTHENTICATION, "selfsubjectreviews", Question::Identity),
        (AUTHORIZATION, "subjectaccessreviews", Question::Access),
        (AUTHORIZATION, "localsubjectaccessreviews", Question::LocalAccess),
        (AUTHORIZATION, "selfsubjectaccessreviews", Question::OwnAccess),
        (AUTHORIZATION, "selfsubjectrulesreviews", Question::OwnRules),
    ];
    for (group, resource, question) in questions {
        let review = Review { question, authorizer: authorizer.clone(), bearers: bearers.clone() };
        handlers.resource(group, resource, "", Arc::new(review));
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Token,
    Identity,
    Access,
    LocalAccess,
    OwnAccess,
    OwnRules,
}

struct Review {
    question: Question,
    authorizer: Arc<Authorizer>,
    bearers: Arc<Bearers>,
}

impl Review {
    async fn answer(&self, attributes: &Attributes, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let mut object = payload::parse(&payload::read(body).await?, payload::format(&parts.headers)?)?;
        if !object.is_object() {
            return Err(Status::bad_request("the review must be an object"));
        }
        if self.question == Question::Token {
            let token = object["spec"]["token"].as_str().filter(|token| !token.is_empty());
            let token =
                token.ok_or_else(|| Status::bad_request("token is required for TokenReview in authentication"))?;
            if let Some(prepared) = self.bearers.prepare(token) {
                prepared.await;
            }
        }
        object["status"] = self.status(attributes, &object)?;
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        negotiate::reply(&parts.headers, StatusCode::CREATED, &object)
    }

    fn status(&self, attributes: &Attributes, object: &Value) -> Result<Value, Status> {
        let user = &attributes.user;
        match self.question {
            Question::Token => Ok(self.token(&object["spec"])),
            Question::Identity => Ok(json!({"userInfo": user_info(user)})),
            Question::Access => self.access(access::user(&object["spec"])?, object),
            Question::LocalAccess => {
                let namespace = object["spec"]["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
                if namespace != attributes.namespace {
                    return Err(Status::bad_request(
                        "spec.resourceAttributes.namespace must match the namespace of the review",
                    ));
                }
                self.access(access::user(&object["spec"])?, object)
            }
            Question::OwnAccess => self.access(user.clone(), object),
            Question::OwnRules => {
                let namespace = object["spec"]["namespace"].as_str().unwrap_or_default();
                if namespace.is_empty() {
                    return Err(Status::bad_request("no namespace on request"));
                }
                Ok(self.rules(user, namespace))
            }
        }
    }

    fn token(&self, spec: &Value) -> Value {
        let audiences: Vec<String> = serde_json::from_value(spec["audiences"].clone()).unwrap_or_default();
        let own = || vec![self.bearers.tokens().issuer().to_owned()];
        let wanted = if audiences.is_empty() { own() } else { audiences };
        match self.bearers.review(spec["token"].as_str().unwrap_or_default(), &wanted) {
            Ok((user, audiences)) => {
                json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
            }
            Err(error) => {
                // The token itself is in no error, so the whole of it may be told.
                json!({"user": {}, "error": format!("[invalid bearer token, {error}]")})
            }
        }
    }

    fn access(&self, user: User, object: &Value) -> Result<Value, Status> {
        let attributes = access::attributes(user, &object["spec"])?;
        let mut status = json!({"allowed": self.authorizer.allows(&attributes)});
        let reason = self.authorizer.reason(&attributes);
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        Ok(status)
    }

    fn rules(&self, user: &User, namespace: &str) -> Value {
        let mut rules = self.authorizer.rules(user, namespace);
        if user.is_in(MASTERS) {
            rules.extend(access::everything());
        }
        let (paths, resources): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
        let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        if node_name(user).is_some() {
            status["incomplete"] = true.into();
            status["evaluationError"] = "node authorizer does not support user rule resolution".into();
        }
        status
    }
}

impl Handler for Review {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        if attributes.verb != "create" {
            return Box::pin(std::future::ready(Err(respond::no_such_method())));
        }
        Box::pin(self.answer(attributes, request))
    }
}

/// `authentication.k8s.io/v1` UserInfo.
fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        apiserver::{
            authn::Issuers,
            authz::rbac::GROUP,
            reader::{Reader, fake::FakeReader},
        },
        base::task::Supervisor,
        http::body,
        pki,
    };

    async fn ask(question: Question, user: User, object: Value) -> Result<Value, Status> {
        let directory = tempfile::tempdir().unwrap();
        let pki = Arc::new(pki::Server::open(directory.path(), &pki::server::Options::default()).unwrap());
        let reader = FakeReader::default();
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        reader.put(GROUP, "clusterroles", json!({"metadata": {"name": "r"}, "rules": rules}));
        reader.put(
            GROUP,
            "rolebindings",
            json!({
            "metadata": {"name": "b", "namespace": "a"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        let reader: Arc<dyn Reader> = Arc::new(reader);
        let issuers = Arc::new(Issuers::new("https://issuer", Supervisor::new()));
        let review = Review {
            question,
            authorizer: Arc::new(Authorizer::new(reader.clone())),
            bearers: Arc::new(Bearers::new(pki, "https://issuer".into(), reader, issuers)),
        };
        let attributes = Attributes { user, verb: "create".into(), namespace: "a".into(), ..Attributes::default() };
        let request = Request::post("/").body(body::full(object.to_string())).unwrap();
        let response = review.handle(&attributes, request).await?;
        let bytes = body::read(response.into_body(), 100_000).await.unwrap();
        Ok(serde_json::from_slice::<Value>(&bytes).unwrap()["status"].clone())
    }

    fn question(namespace: &str, verb: &str) -> Value {
        json!({"spec": {"user": "jane", "resourceAttributes": {"namespace": namespace, "verb": verb, "resource": "pods"}}})
    }

    #[tokio::test]
    async fn access_is_answered_for_oneself_and_for_others() {
        let jane = || User::component("jane");
        assert_eq!(ask(Question::OwnAccess, jane(), question("a", "get")).await.unwrap()["allowed"], true);
        assert_eq!(ask(Question::OwnAccess, jane(), question("b", "get")).await.unwrap()["allowed"], false);
        let admin = || User::component("admin");
        assert_eq!(ask(Question::Access, admin(), question("a", "get")).await.unwrap()["allowed"], true);
        assert_eq!(ask(Question::Access, admin(), question("a", "delete")).await.unwrap()["allowed"], false);
        assert_eq!(ask(Question::LocalAccess, admin(), question("b", "get")).await.unwrap_err().code(), 400);
        assert!(ask(Question::Access, admin(), json!({"spec": {"user": "jane"}})).await.is_err());
    }

    #[tokio::test]
    async fn who_am_i_and_what_may_i() {
        let status = ask(Question::Identity, User::component("jane"), json!({})).await.unwrap();
        assert_eq!(status["userInfo"]["username"], "jane");
        let status =
            ask(Question::OwnRules, User::component("jane"), json!({"spec": {"namespace": "a"}})).await.unwrap();
        assert_eq!(status["resourceRules"][0]["resources"], json!(["pods"]));
    }

    #[tokio::test]
    async fn a_bad_token_is_nobodys() {
        let status = ask(Question::Token, User::component("x"), json!({"spec": {"token": "rubbish"}})).await.unwrap();
        assert!(status["authenticated"].is_null());
        assert!(!status["error"].as_str().unwrap().contains("rubbish"));
    }
}
