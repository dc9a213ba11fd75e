//! Transports under the kube client: straight into the API server of the same process, or TLS with
//! a client certificate that may be renewed while connections live.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
    rt::TokioTimer,
};
use kube::Client;

use crate::http::{
    body::{Body, BoxError},
    identity::User,
};

/// Namespace of requests that name none.
const DEFAULT_NAMESPACE: &str = "default";
/// What follows the component in a `User-Agent`.
const PRODUCT: &str = "/nauplius";
/// The `User-Agent` of an agent.
const NODE_AGENT: &str = "kubelet/nauplius";
/// Longest time until a connection stands: a server that is switched off does not even refuse.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection with open streams is probed this often, so that a dead server is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A client that calls `serve` directly, as `user`. No socket, no TLS, no token.
pub fn in_process<S, F>(serve: S, user: User) -> Client
where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let agent = user_agent(&user);
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        request.extensions_mut().insert(user.clone());
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| agent.clone());
        let response = serve(request);
        async move { Ok::<_, std::convert::Infallible>(response.await) }
    });
    Client::new(service, DEFAULT_NAMESPACE)
}

/// A client that reaches `server` (`https://host:port`) as `tls` says. All requests share few
/// HTTP/2 connections.
pub fn tls(server: &Uri, tls: rustls::ClientConfig) -> Client {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp);
    let http: legacy::Client<_, kube::client::Body> = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE / 2)
        .build(connector);
    let base = Arc::new(server.clone());
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let http = http.clone();
        let mut request = request;
        request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static(NODE_AGENT));
        let absolute = absolute(&base, request);
        let response: BoxFuture<'static, Result<_, BoxError>> =
            Box::pin(async move { Ok(http.request(absolute?).await?) });
        response
    });
    Client::new(service, DEFAULT_NAMESPACE)
}

/// The component that a user is, as owners of fields are named after it.
fn user_agent(user: &User) -> HeaderValue {
    let component = match user.name.strip_prefix("system:").unwrap_or_default() {
        node if node.starts_with("node") => return HeaderValue::from_static(NODE_AGENT),
        "apiserver" => "kube-apiserver",
        account if account.starts_with("serviceaccount:kube-system:") => "kube-controller-manager",
        component => component,
    };
    HeaderValue::from_str(&format!("{component}{PRODUCT}")).unwrap_or(HeaderValue::from_static(NODE_AGENT))
}

/// Puts the server's scheme and authority in front of a request's path.
fn absolute<B>(base: &Uri, mut request: Request<B>) -> Result<Request<B>, BoxError> {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body;

    #[tokio::test]
    async fn an_in_process_request_carries_its_user() {
        let serve = |request: Request<Body>| async move {
            let user = request.extensions().get::<User>().expect("the transport adds the user").name.clone();
            let object = serde_json::json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": user}});
            Response::new(body::full(object.to_string()))
        };
        let client = in_process(serve, User::component("system:kube-scheduler"));
        let api = kube::Api::<k8s_openapi::api::core::v1::ConfigMap>::default_namespaced(client);
        let object = api.get("x").await.unwrap();
        assert_eq!(object.metadata.name.as_deref(), Some("system:kube-scheduler"));
    }

    #[test]
    fn components_say_who_they_are() {
        for (user, agent) in [
            ("system:kube-scheduler", "kube-scheduler/nauplius"),
            ("system:serviceaccount:kube-system:deployment-controller", "kube-controller-manager/nauplius"),
            ("system:node:edge1", "kubelet/nauplius"),
        ] {
            assert_eq!(user_agent(&User::component(user)), agent);
        }
    }

    #[test]
    fn a_request_keeps_its_path_and_query() {
        let base = Uri::from_static("https://10.0.0.1:6443");
        let request = Request::builder().uri("/api/v1/pods?watch=true").body(()).unwrap();
        let request = absolute(&base, request).unwrap();
        assert_eq!(request.uri(), "https://10.0.0.1:6443/api/v1/pods?watch=true");
    }
}
