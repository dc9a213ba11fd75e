//! Aggregation: a server behind the server, from its APIService to its removal.

use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{custom::eventually, *};
use crate::{
    client::{
        discovery::{Resource, Served},
        transport,
    },
    http::{
        client as http_client, remote_user,
        server::{self, PeerCertificate, Verifiers},
    },
    pki::{serving::Serving, tls},
};

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const FOOS: &str = "/apis/ext.example.com/v1/namespaces/default/foos";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A server with an extension server `ext` in `default`, whose APIService is there.
struct Extended {
    server: Fixture,
    authority: Authority,
    port: u16,
    directory: tempfile::TempDir,
    supervisor: Supervisor,
}

impl Extended {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "ext-ca").unwrap();
        let names = ["ext.default.svc".to_owned()];
        let profile = Profile { common_name: "ext", organization: None, names: &names, usage: Usage::Server };
        let serving = Arc::new(Serving::new(&authority.issue(profile).unwrap()).unwrap());
        let verifier = tls::client_verifier(PROXY.0.as_str()).unwrap();
        let config = tls::server(serving, &verifier, tls::API_PROTOCOLS).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let supervisor = Supervisor::new();
        let verifiers = Verifiers::from(verifier);
        let tasks = supervisor.clone();
        let service = move |request| answer(request, tasks.clone());
        server::serve(listener, config, verifiers, service, &supervisor, server::Limits::default());
        let server = Fixture::new();
        server.server.start(&supervisor);
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"},
            "spec": {"type": "ExternalName", "externalName": "localhost"}});
        let (code, created) = server.json(Method::POST, "/api/v1/namespaces/default/services", &service).await;
        assert_eq!(code, 201, "{created}");
        Self { server, authority, port, directory, supervisor }
    }

    fn api_service(&self, authority: &str) -> Value {
        let bundle = base64(authority.as_bytes());
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.ext.example.com"},
            "spec": {
                "group": "ext.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 200,
                "service": {"namespace": "default", "name": "ext", "port": self.port}, "caBundle": bundle,
            },
        })
    }

    /// An extended server that answers already.
    async fn available() -> Self {
        let extended = Self::new().await;
        let service = extended.api_service(extended.authority.pem());
        let (code, created) = extended.server.json(Method::POST, API_SERVICES, &service).await;
        assert_eq!(code, 201, "{created}");
        extended.server.condition("v1.ext.example.com", "Passed").await;
        // What it has is heard a moment later.
        eventually(async || match extended.server.aggregated().await {
            Some(version) if version["freshness"] == "Current" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        extended
    }
}

impl Fixture {
    /// Waits until an APIService says this.
    async fn condition(&self, name: &str, reason: &str) -> Value {
        eventually(async || {
            let (_, service) = self.get(&format!("{API_SERVICES}/{name}")).await;
            let condition = service.pointer("/status/conditions/0").cloned().unwrap_or_default();
            if condition["reason"] == reason { Ok(condition) } else { Err(condition.to_string()) }
        })
        .await
    }

    /// What controllers see.
    async fn served(&self) -> Served {
        let api = self.server.clone();
        let client = transport::in_process(move |request| api.clone().answer(request), User::component("tester"));
        Served::discover(&client).await.unwrap()
    }

    /// The version of the extension server in aggregated discovery.
    async fn aggregated(&self) -> Option<Value> {
        let all = value(self.send(Method::GET, "/apis", &[("accept", AGGREGATED)], "").await).await;
        let mut groups = all["items"].as_array().unwrap().iter();
        groups.find(|group| group["metadata"]["name"] == "ext.example.com").map(|group| group["versions"][0].clone())
    }
}

fn base64(bytes: &[u8]) -> String {
    let quoted = serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap();
    text(&quoted)
}

/// The extension server.
async fn answer(mut request: Request<Body>, supervisor: Supervisor) -> Response<Body> {
    let Some(PeerCertificate::Verified(proxy)) = request.extensions().get::<PeerCertificate>().cloned() else {
        return respond::json(StatusCode::UNAUTHORIZED, &json!({"message": "not by the proxy"}));
    };
    let user = remote_user::read(request.headers()).unwrap_or_default();
    let path = request.uri().path().to_owned();
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=1"));
    let foos = json!({"resource": "foos", "singularResource": "foo", "scope": "Namespaced", "verbs": ["get", "list"],
                      "responseKind": {"group": "ext.example.com", "version": "v1", "kind": "Foo"}});
    match path.as_str() {
        "/apis" => {
            let list = json!({"items": [{"metadata": {"name": "ext.example.com"},
                                         "versions": [{"version": "v1", "resources": [foos]}]}]});
            respond::whole(StatusCode::OK, AGGREGATED, list.to_string())
        }
        "/openapi/v3" => {
            let url = "/openapi/v3/apis/ext.example.com/v1?hash=1";
            respond::json(StatusCode::OK, &json!({"paths": {"apis/ext.example.com/v1": {"serverRelativeURL": url}}}))
        }
        "/openapi/v2" => {
            let item = json!({"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/ext.Foo"}}}}});
            let document = json!({"swagger": "2.0", "paths": {"/apis/ext.example.com/v1/foos": item},
                                  "definitions": {"ext.Foo": {"type": "object"}, "ext.Unused": {}}});
            respond::json(StatusCode::OK, &document)
        }
        "/apis/ext.example.com/v1/moved" => {
            let mut response = respond::json(StatusCode::FOUND, &json!({}));
            response.headers_mut().insert(header::LOCATION, "/elsewhere".parse().unwrap());
            response
        }
        "/apis/ext.example.com/v1/echo" => {
            let upgraded = hyper::upgrade::on(&mut request);
            supervisor.spawn("echo", async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
            let upgrade = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            upgrade.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "echo").body(body::empty()).unwrap()
        }
        FOOS if watches => {
            let event = Bytes::from(format!("{}\n", json!({"type": "ADDED", "object": {"metadata": {"name": "a"}}})));
            let events = futures_util::stream::iter([Ok(http_body::Frame::data(event))]);
            let body = StreamBody::new(events.chain(futures_util::stream::pending())).boxed_unsync();
            respond::streamed(StatusCode::OK, respond::JSON, body)
        }
        _ => {
            let headers: Vec<String> = request.headers().keys().map(|name| name.to_string()).collect();
            let (method, uri) = (request.method().to_string(), request.uri().to_string());
            let content = request.into_body().collect().await.unwrap().to_bytes();
            respond::json(
                StatusCode::OK,
                &json!({"proxy": proxy.common_name, "user": user.name, "groups": user.groups, "path": uri,
                        "method": method, "headers": headers, "body": String::from_utf8_lossy(&content)}),
            )
        }
    }
}

#[tokio::test]
async fn requests_are_passed_on_for_their_users() {
    let extended = Extended::available().await;
    let headers = [("x-remote-user", "root"), ("authorization", "Bearer secret"), ("content-type", "application/json")];
    let path = format!("{FOOS}/a?fieldManager=me");
    let echo = value(extended.server.send(Method::PATCH, &path, &headers, "{\"x\":1}").await).await;
    assert_eq!((&echo["proxy"], &echo["user"]), (&json!("proxy"), &json!("tester")));
    assert_eq!(echo["groups"], json!(["system:authenticated"]));
    assert_eq!((&echo["method"], &echo["path"], &echo["body"]), (&json!("PATCH"), &json!(path), &json!("{\"x\":1}")));
    assert!(!echo["headers"].as_array().unwrap().contains(&json!("authorization")));
    let refused = extended.server.send(Method::GET, &format!("{FOOS}/forbidden"), &[], "").await;
    assert_eq!(refused.status(), 403);
    let moved = extended.server.send(Method::GET, "/apis/ext.example.com/v1/moved", &[], "").await;
    assert_eq!(moved.status(), 502);
}

#[tokio::test]
async fn watches_stream_through() {
    let extended = Extended::available().await;
    let response = extended.server.send(Method::GET, &format!("{FOOS}?watch=1"), &[], "").await;
    assert_eq!(response.status(), 200);
    let mut events = Events { body: BodyStream::new(response.into_body()), buffer: Vec::new() };
    assert_eq!(events.seen().await, ("ADDED".into(), "a".into()));
}

#[tokio::test]
async fn upgraded_connections_lead_through() {
    let extended = Extended::available().await;
    let names = ["localhost".to_owned()];
    let profile = Profile { common_name: "api", organization: None, names: &names, usage: Usage::Server };
    let serving = Arc::new(Serving::new(&extended.authority.issue(profile).unwrap()).unwrap());
    let verifier = tls::client_verifier(PROXY.0.as_str()).unwrap();
    let config = tls::server(serving, &verifier, tls::HTTP1_PROTOCOLS).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let api = extended.server.server.clone();
    let service = move |request| api.clone().answer(request);
    server::serve(listener, config, verifier, service, &extended.supervisor, server::Limits::default());
    let client = tls::client(extended.authority.pem(), None, tls::HTTP1_PROTOCOLS).unwrap();
    let request = Request::get(format!("https://localhost:{port}/apis/ext.example.com/v1/echo"))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "echo")
        .body(body::empty())
        .unwrap();
    let mut response = http_client::request(client, request, &extended.supervisor).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn discovery_and_openapi_show_what_is_behind() {
    let extended = Extended::available().await;
    let server = &extended.server;
    let version = server.aggregated().await.unwrap();
    assert_eq!(version["resources"][0]["responseKind"]["kind"], "Foo");
    let served = server.served().await;
    assert!(served.unknown.is_empty());
    for (api_version, plural) in
        [("v1", "pods"), ("ext.example.com/v1", "foos"), ("autoscaling/v2", "horizontalpodautoscalers")]
    {
        let is_there = |one: &&Resource| one.resource.api_version == api_version && one.resource.plural == plural;
        assert_eq!(served.resources.iter().filter(is_there).count(), 1, "{plural}");
    }
    let (_, groups) = server.get("/apis").await;
    let names: Vec<&Value> = groups["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!((names[0], names[1]), (&json!("apiregistration.k8s.io"), &json!("apps")));
    assert_eq!(names.last(), Some(&&json!("ext.example.com")));
    let (code, group) = server.get("/apis/ext.example.com").await;
    assert_eq!((code.as_u16(), &group["preferredVersion"]["version"]), (200, &json!("v1")));
    assert_eq!(server.get("/apis/ext.example.com/v1").await.1["path"], "/apis/ext.example.com/v1");
    let (_, index) = server.get("/openapi/v3").await;
    let url = text(&index["paths"]["apis/ext.example.com/v1"]["serverRelativeURL"]);
    assert_eq!(server.get(&url).await.1["path"], json!(url));
    let (_, document) = server.get("/openapi/v2").await;
    assert!(document["paths"]["/apis/ext.example.com/v1/foos"].is_object());
    assert!(document["definitions"]["ext.Foo"].is_object() && document["definitions"]["ext.Unused"].is_null());
}

#[tokio::test]
async fn a_removed_service_is_served_no_longer() {
    let extended = Extended::available().await;
    let server = &extended.server;
    let path = format!("{API_SERVICES}/v1.ext.example.com");
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await.0, 200);
    eventually(async || match server.get(FOOS).await {
        (StatusCode::NOT_FOUND, _) => Ok(()),
        (code, body) => Err(format!("{code} {body}")),
    })
    .await;
    assert!(server.aggregated().await.is_none());
    assert_eq!(server.get("/apis/ext.example.com").await.0, 404);
}

#[tokio::test]
async fn what_does_not_answer_is_unavailable_and_harms_nobody() {
    let extended = Extended::new().await;
    let server = &extended.server;
    let stranger = Authority::open(extended.directory.path(), "stranger-ca").unwrap();
    let service = extended.api_service(stranger.pem());
    assert_eq!(server.json(Method::POST, API_SERVICES, &service).await.0, 201);
    let condition = server.condition("v1.ext.example.com", "FailedDiscoveryCheck").await;
    assert_eq!(condition["status"], "False");
    let message = text(&condition["message"]);
    assert!(message.contains("certificate signed by unknown authority"), "{message}");
    let response = server.send(Method::GET, FOOS, &[], "").await;
    assert_eq!(response.status(), 503);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "service unavailable\n");
    assert_eq!(server.aggregated().await.unwrap(), json!({"version": "v1", "freshness": "Stale"}));
    assert_eq!(server.get("/apis/apps/v1").await.0, 200);
    let served = server.served().await;
    assert_eq!(served.unknown, ["ext.example.com/v1"]);
    assert!(served.resources.iter().any(|one| one.resource.plural == "deployments"));
    let path = "/api/v1/namespaces/default/services/ext";
    assert_eq!(server.json(Method::DELETE, path, &Value::Null).await.0, 200);
    let condition = server.condition("v1.ext.example.com", "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/ext in \"default\" is not present");
}

#[tokio::test]
async fn group_versions_of_definitions_are_registered() {
    let (server, _supervisor) = Fixture::with_foos().await;
    let registered = async |name: &str| server.get(&format!("{API_SERVICES}/{name}")).await;
    let service = eventually(async || match registered("v1.example.com").await {
        (StatusCode::OK, service) => Ok(service),
        (code, _) => Err(code.to_string()),
    })
    .await;
    assert_eq!(service["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "true");
    assert_eq!(
        (&service["spec"]["groupPriorityMinimum"], &service["spec"]["versionPriority"]),
        (&json!(1000), &json!(100))
    );
    assert_eq!(service["status"]["conditions"][0]["reason"], "Local");
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.example.com";
    assert_eq!(server.json(Method::DELETE, path, &Value::Null).await.0, 200);
    for name in ["v1.example.com", "v1beta1.example.com"] {
        eventually(async || match registered(name).await.0 {
            StatusCode::NOT_FOUND => Ok(()),
            code => Err(code.to_string()),
        })
        .await;
    }
}
