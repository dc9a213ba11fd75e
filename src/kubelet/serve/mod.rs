//! The kubelet's HTTP service: logs, exec, attach, port-forward, and what the node tells about itself.
//! Paths and parameters are those of upstream's kubelet, since the API server speaks to both.
//!
//! It knows containers only through [`backend::Backend`], so that it is tested without any. Who may
//! ask is decided before: by the listener or tunnel that the requests come through.

mod answer;
pub mod backend;
mod command;
mod log_reader;
mod logs;
mod port_forward;
mod query;
mod session;
mod spdy;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};

use self::backend::{Backend, Metrics, PodName};
use crate::{
    base::{lane::Lane, task::Supervisor},
    http::body::{self, Body},
};

/// Log files that are read at once.
const LOG_LANE_WIDTH: usize = 4;
/// Threads that enter network namespaces at once.
const CONNECT_LANE_WIDTH: usize = 4;
/// `text/plain; version=0.0.4`: the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The service. Cheap to clone.
pub struct Service<B> {
    backend: Arc<B>,
    supervisor: Supervisor,
    log_lane: Lane,
    connect_lane: Lane,
}

impl<B> Clone for Service<B> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            supervisor: self.supervisor.clone(),
            log_lane: self.log_lane.clone(),
            connect_lane: self.connect_lane.clone(),
        }
    }
}

impl<B: Backend> Service<B> {
    /// Serves what `backend` has; sessions run under `supervisor`.
    pub fn new(backend: Arc<B>, supervisor: Supervisor) -> Self {
        let (log_lane, connect_lane) = (Lane::new(LOG_LANE_WIDTH), Lane::new(CONNECT_LANE_WIDTH));
        Self { backend, supervisor, log_lane, connect_lane }
    }

    /// Answers one request. Sessions go on after the answer, on the connection that it upgrades.
    pub async fn handle<R>(&self, mut request: Request<R>) -> Response<Body> {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts: Vec<String> = path.split('/').skip(1).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [what @ ("exec" | "attach" | "portForward" | "containerLogs"), rest @ ..] => {
                self.pod_request(&mut request, what, rest)
            }
            _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                answer::text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed\n")
            }
            rest => self.node_request(rest).await,
        }
    }

    fn pod_request<R>(&self, request: &mut Request<R>, what: &str, rest: &[&str]) -> Response<Body> {
        let allowed = match what {
            "containerLogs" => matches!(*request.method(), Method::GET),
            _ => matches!(*request.method(), Method::GET | Method::POST),
        };
        if !allowed {
            return answer::text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed\n");
        }
        let pod = |namespace: &str, name: &str, uid: Option<&str>| PodName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.map(str::to_owned),
        };
        match (what, rest) {
            ("containerLogs", [namespace, name, container]) => {
                self.logs(request, &pod(namespace, name, None), container)
            }
            ("exec", [namespace, name, container]) => self.exec(request, &pod(namespace, name, None), container),
            ("exec", [namespace, name, uid, container]) => {
                self.exec(request, &pod(namespace, name, Some(uid)), container)
            }
            ("attach", [namespace, name, container]) => self.attach(request, &pod(namespace, name, None), container),
            ("attach", [namespace, name, uid, container]) => {
                self.attach(request, &pod(namespace, name, Some(uid)), container)
            }
            ("portForward", [namespace, name]) => self.port_forward(request, &pod(namespace, name, None)),
            ("portForward", [namespace, name, uid]) => self.port_forward(request, &pod(namespace, name, Some(uid))),
            _ => not_found(),
        }
    }

    async fn node_request(&self, parts: &[&str]) -> Response<Body> {
        match parts {
            ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => answer::text(StatusCode::OK, "ok"),
            ["pods"] | ["runningpods"] => answer::json(self.backend.pods()),
            ["stats", "summary"] => answer::json(self.backend.stats_summary().await),
            ["metrics"] => self.metrics(Metrics::Kubelet).await,
            ["metrics", "resource"] => self.metrics(Metrics::Resource).await,
            ["metrics", "cadvisor"] => self.metrics(Metrics::Cadvisor).await,
            ["metrics", "probes"] => self.metrics(Metrics::Probes).await,
            _ => not_found(),
        }
    }

    async fn metrics(&self, which: Metrics) -> Response<Body> {
        match self.backend.metrics(which).await {
            Some(text) => answer::typed(StatusCode::OK, METRICS_TYPE, body::full(text)),
            None => not_found(),
        }
    }
}

fn not_found() -> Response<Body> {
    answer::text(StatusCode::NOT_FOUND, "404 page not found\n")
}
