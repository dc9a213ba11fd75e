//! Reviews: questions that are posted and answered at once. Whose token is this (`tokenreviews`), who
//! am I (`selfsubjectreviews`), may somebody do something (`subjectaccessreviews` and its relatives),
//! what may I do (`selfsubjectrulesreviews`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{
        Status, meta,
        patch::apply::{Set, Tracker, Update},
        protobuf,
        schema::{self, Library, Schema},
        time,
    },
    apiserver::{
        attributes::Attributes,
        authn::Bearers,
        authz::{Authorizer, node::node_name},
        field_manager,
        handler::Handler,
        handlers::Handlers,
        negotiate, payload,
        query::Query,
        registry::{create::OTHER_NAMESPACE, ownership},
        respond,
    },
    http::{
        body::Body,
        identity::{MASTERS, User},
    },
};

mod access;
mod validation;

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
        let review = Review::new(question, authorizer.clone(), bearers.clone());
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

impl Question {
    /// The API version and kind of the review that asks it.
    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Token => ("authentication.k8s.io/v1", "TokenReview"),
            Self::Identity => ("authentication.k8s.io/v1", "SelfSubjectReview"),
            Self::Access => ("authorization.k8s.io/v1", "SubjectAccessReview"),
            Self::LocalAccess => ("authorization.k8s.io/v1", "LocalSubjectAccessReview"),
            Self::OwnAccess => ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
            Self::OwnRules => ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
        }
    }

    /// Whether the answer is an object of its own, which has nothing of the question.
    fn is_answered_apart(self) -> bool {
        matches!(self, Self::Identity | Self::OwnRules)
    }
}

struct Review {
    question: Question,
    schema: Schema,
    authorizer: Arc<Authorizer>,
    bearers: Arc<Bearers>,
}

impl Review {
    fn new(question: Question, authorizer: Arc<Authorizer>, bearers: Arc<Bearers>) -> Self {
        let (api_version, kind) = question.kind();
        Self { question, schema: Library::default().schema_of(api_version, kind), authorizer, bearers }
    }

    async fn answer(&self, attributes: &Attributes, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let (validation, manager) =
            (query.field_validation("create")?, field_manager::of(&query, &parts.headers, "create")?);
        let bytes = payload::read(body).await?;
        let (mut object, warnings) =
            schema::decode(&bytes, payload::format(&parts.headers)?, &self.schema, validation)?;
        self.place(attributes, &mut object)?;
        self.own(&mut object, &manager);
        if self.question == Question::Token {
            let token = object["spec"]["token"].as_str().filter(|token| !token.is_empty());
            let token =
                token.ok_or_else(|| Status::bad_request("token is required for TokenReview in authentication"))?;
            if let Some(prepared) = self.bearers.prepare(token) {
                prepared.await;
            }
        }
        let status = self.status(attributes, &object)?;
        let (api_version, kind) = self.question.kind();
        if self.question.is_answered_apart() {
            object = json!({"apiVersion": api_version, "kind": kind});
        }
        if self.question == Question::Identity {
            object["metadata"] = json!({"creationTimestamp": time::format(Timestamp::now())});
        }
        object["status"] = status;
        protobuf::settle(api_version, kind, &mut object);
        let mut response = negotiate::reply(&parts.headers, StatusCode::CREATED, &object)?;
        respond::warn(&mut response, &warnings);
        Ok(response)
    }

    /// Makes the review agree with the URL.
    fn place(&self, attributes: &Attributes, object: &mut Value) -> Result<(), Status> {
        let is_local = self.question == Question::LocalAccess;
        let given = meta::namespace(object);
        if is_local && !given.is_empty() && given != attributes.namespace {
            return Err(Status::bad_request(OTHER_NAMESPACE));
        }
        let namespace = if is_local { attributes.namespace.clone().into() } else { Value::Null };
        meta::set(object, "namespace", namespace);
        let (api_version, kind) = self.question.kind();
        protobuf::unset(api_version, kind, object);
        protobuf::settle(api_version, kind, object);
        Ok(())
    }

    /// Whoever asks owns the question.
    fn own(&self, object: &mut Value, manager: &str) {
        let sent = ownership::take(object);
        let elsewhere = |_: &Value, _: &str| None;
        let (schema, now) = (&self.schema, Timestamp::now());
        let tracker = Tracker { schema, subresource: "", reset: Set::default(), elsewhere: &elsewhere, now };
        let update = Update { old: None, stored: &Value::Null, new: object, sent: &sent, manager };
        let managed = tracker.update(&update);
        ownership::put(object, managed);
    }

    fn status(&self, attributes: &Attributes, object: &Value) -> Result<Value, Status> {
        let user = &attributes.user;
        match self.question {
            Question::Token => Ok(self.token(&object["spec"])),
            Question::Identity => Ok(json!({"userInfo": user_info(user)})),
            Question::Access => {
                validation::check(object, validation::About::Somebody)?;
                Ok(self.access(access::user(&object["spec"]), object))
            }
            Question::LocalAccess => {
                validation::check(object, validation::About::SomebodyIn(&attributes.namespace))?;
                Ok(self.access(access::user(&object["spec"]), object))
            }
            Question::OwnAccess => {
                validation::check(object, validation::About::Oneself)?;
                Ok(self.access(user.clone(), object))
            }
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
                tracing::debug!(%error, "a token that is asked about is none");
                json!({"user": {}, "error": "invalid bearer token"})
            }
        }
    }

    fn access(&self, user: User, object: &Value) -> Value {
        let attributes = access::attributes(user, &object["spec"]);
        let mut status = json!({"allowed": self.authorizer.allows(&attributes)});
        let reason = self.authorizer.reason(&attributes);
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        let ignored = access::ignored(&object["spec"]["resourceAttributes"]);
        if !ignored.is_empty() {
            status["evaluationError"] = ignored.into();
        }
        status
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
        let authorizer = Arc::new(Authorizer::new(reader.clone()));
        let bearers = Arc::new(Bearers::new(pki, "https://issuer".into(), reader, issuers));
        let review = Review::new(question, authorizer, bearers);
        let attributes = Attributes { user, verb: "create".into(), namespace: "a".into(), ..Attributes::default() };
        let mut object = object;
        (object["apiVersion"], object["kind"]) = (question.kind().0.into(), question.kind().1.into());
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
        assert_eq!(ask(Question::LocalAccess, admin(), question("b", "get")).await.unwrap_err().code(), 422);
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
