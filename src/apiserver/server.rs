//! The API server: one function from request to response, called by the TLS listener for peers and
//! by the in-process transport for components. Authenticate, authorize, route; within limits.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    api::{Status, kind::Descriptor},
    apiserver::{
        allocator::Allocator,
        attributes::Attributes,
        audit::{self, Auditor, Record},
        cache::Caches,
        compress,
        conversion::Converter,
        definitions::Definitions,
        gates::{Admit, Authenticate, Authorize},
        handlers::Handlers,
        health::Health,
        kinds::Kinds,
        metrics::Metrics,
        negotiate::{self, Accept},
        openapi::handler::OpenApiHandler,
        query::Query,
        registry::{Registry, Warnings},
        request_info, respond, routes, version,
    },
    base::{lane::Lane, task::Supervisor},
    http::{
        body::Body,
        identity::{MASTERS, User},
    },
    store::Store,
};

/// Requests that are served at once, beside watches and streams (upstream: 400 reads + 200 writes).
const IN_FLIGHT_LIMIT: usize = 600;
/// Watches and streams at once.
const LONG_RUNNING_LIMIT: usize = 20_000;
/// How long a request waits to be served before it is refused with 429.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take (`--request-timeout`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Lists that are rendered or compressed at once.
const RENDERING_LIMIT: usize = 2;

/// What an API server is made of.
pub struct Components {
    /// Where objects are.
    pub store: Store,
    /// The caches that follow it ([`Caches::load`]).
    pub caches: Arc<Caches>,
    /// The kinds that are served.
    pub kinds: Vec<Descriptor>,
    /// Who asks.
    pub authenticator: Arc<dyn Authenticate>,
    /// Whether they may.
    pub authorizer: Arc<dyn Authorize>,
    /// What becomes of their writes.
    pub admission: Arc<dyn Admit>,
    /// Who keeps a record of it, if anybody.
    pub auditor: Option<Auditor>,
    /// Where services get their addresses and ports from.
    pub allocator: Arc<Allocator>,
    /// What is not served by the registry.
    pub handlers: Handlers,
    /// What brings custom resources from one version to another.
    pub converter: Arc<Converter>,
    /// `host:port` at which clients reach the server.
    pub address: String,
}

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) registry: Registry,
    pub(super) kinds: Arc<Kinds>,
    pub(super) handlers: Handlers,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
    pub(super) rendering: Lane,
    authenticator: Arc<dyn Authenticate>,
    authorizer: Arc<dyn Authorize>,
    auditor: Option<Auditor>,
    in_flight: Semaphore,
    long_running: Arc<Semaphore>,
}

impl ApiServer {
    /// A server that is ready to be asked.
    pub fn new(parts: Components) -> Self {
        let metrics = Arc::new(Metrics::default());
        let Components { store, caches, admission, allocator, converter, .. } = parts;
        let registry = Registry::new(store, caches, admission, allocator, metrics.clone(), converter);
        let mut handlers = parts.handlers;
        let openapi = Arc::new(OpenApiHandler::new(parts.kinds.clone(), version::GIT_VERSION));
        handlers.path("/openapi", openapi.clone());
        let kinds = Arc::new(Kinds::new(parts.kinds, parts.address, openapi));
        Definitions::new(registry.clone(), kinds.clone()).serve();
        Self {
            inner: Arc::new(Inner {
                registry,
                kinds,
                handlers,
                health: Health::default(),
                metrics,
                rendering: Lane::new(RENDERING_LIMIT),
                authenticator: parts.authenticator,
                authorizer: parts.authorizer,
                auditor: parts.auditor,
                in_flight: Semaphore::new(IN_FLIGHT_LIMIT),
                long_running: Arc::new(Semaphore::new(LONG_RUNNING_LIMIT)),
            }),
        }
    }

    /// Starts what the server does of its own accord.
    pub fn start(&self, supervisor: &Supervisor) {
        supervisor.spawn("event expiry", self.inner.registry.clone().expire_events());
        let definitions = Definitions::new(self.inner.registry.clone(), self.inner.kinds.clone());
        supervisor.spawn("custom resource definitions", definitions.run());
    }

    /// The checks behind the health endpoints, to be added to.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// The registry, for what the server itself must do to objects before it serves.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// As [`ApiServer::handle`], for transports that need a future of its own.
    pub async fn answer(self, request: Request<Body>) -> Response<Body> {
        self.handle(request).await
    }

    /// Answers a request. Never fails: what goes wrong is in the answer.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let accept = Accept::of(&parts.headers);
        let gzip = compress::is_accepted(&parts.headers);
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        if let Some(prepared) = self.inner.authenticator.prepare(&parts) {
            prepared.await;
        }
        let user = match self.inner.authenticator.authenticate(&parts) {
            Ok(user) => user,
            Err(status) => return self.turn_away(&parts, &query, negotiate::failure(&accept, &status)).await,
        };
        parts.extensions.insert(user.clone());
        let attributes = request_info::attributes(&parts.method, parts.uri.path(), &query, user);
        let long_running = request_info::is_long_running(&attributes);
        let (record, body) = self.record(&attributes, &parts, body, long_running).await;
        let warnings = Warnings::default();
        let served = self.serve(&attributes, &query, parts, body, &warnings, long_running);
        let served = audit::within(record.as_ref().map(Record::annotations), served);
        let outcome = AssertUnwindSafe(served).catch_unwind().await;
        let has_panicked = outcome.is_err();
        // The panic's message has gone to the log; the client gets no more than that it happened.
        let outcome = outcome.unwrap_or_else(|_| Err(Status::internal("the request could not be served")));
        let mut response = outcome.unwrap_or_else(|status| negotiate::failure(&accept, &status));
        respond::warn(&mut response, &warnings.take());
        if let Some(record) = record {
            response = record.answered(response, has_panicked).await;
        }
        let took = (!long_running).then(|| started.elapsed());
        let known = self.inner.kinds.of(&attributes).is_some();
        self.inner.metrics.answered(&attributes, known, response.status().as_u16(), took);
        if gzip && !long_running { compress::answer(response, &self.inner.rendering).await } else { response }
    }

    /// Begins the record of a request, if one is to be kept, for which its body is listened to.
    async fn record(
        &self,
        attributes: &Attributes,
        parts: &Parts,
        body: Body,
        long_running: bool,
    ) -> (Option<Record>, Body) {
        let Some(auditor) = &self.inner.auditor else { return (None, body) };
        let Some(record) = auditor.begin(attributes, parts, &*self.inner.authenticator, long_running) else {
            return (None, body);
        };
        record.received().await;
        let body = record.listen(&parts.headers, body);
        (Some(record), body)
    }

    /// The answer to somebody who did not prove who they are, or may not act as somebody else.
    async fn turn_away(&self, parts: &Parts, query: &Query, response: Response<Body>) -> Response<Body> {
        let Some(auditor) = &self.inner.auditor else { return response };
        let authenticator = &*self.inner.authenticator;
        let user = authenticator.impersonator(parts).unwrap_or_default();
        let attributes = request_info::attributes(&parts.method, parts.uri.path(), query, user);
        match auditor.begin(&attributes, parts, authenticator, false) {
            None => response,
            Some(record) if response.status() == StatusCode::UNAUTHORIZED => record.refused(response, parts).await,
            Some(record) => record.answered(response, false).await,
        }
    }

    async fn serve(
        &self,
        attributes: &Attributes,
        query: &Query,
        parts: Parts,
        body: Body,
        warnings: &Warnings,
        long_running: bool,
    ) -> Result<Response<Body>, Status> {
        let inner = &self.inner;
        let decision = inner.authorizer.authorize(attributes);
        audit::decided(decision.is_ok(), || inner.authorizer.reason(attributes));
        decision?;
        let request = Request::from_parts(parts, body);
        if long_running {
            let permit = inner.long_running.clone().try_acquire_owned().map_err(|_| inner.refuse())?;
            let response = routes::route(inner, attributes, query, request, warnings).await?;
            // The body holds the permit: it lasts as long as the stream does.
            return Ok(response.map(|body| {
                let held = move |frame| {
                    let _held = &permit;
                    frame
                };
                body.map_frame(held).boxed_unsync()
            }));
        }
        let _permit = inner.admit(&attributes.user).await?;
        let routed = routes::route(inner, attributes, query, request, warnings);
        tokio::time::timeout(REQUEST_TIMEOUT, routed).await.unwrap_or_else(|_| Err(respond::timed_out()))
    }
}

impl Inner {
    /// Whether a request for one object might have created it as well.
    pub(super) fn may_create(&self, attributes: &Attributes) -> Result<(), Status> {
        self.authorizer.authorize(&Attributes { verb: "create".into(), ..attributes.clone() })
    }

    /// Waits for a place among the requests being served. The server's own components never wait.
    async fn admit(&self, user: &User) -> Result<Option<SemaphorePermit<'_>>, Status> {
        if user.is_in(MASTERS) {
            return Ok(self.in_flight.try_acquire().ok());
        }
        match tokio::time::timeout(QUEUE_TIMEOUT, self.in_flight.acquire()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(self.refuse()),
        }
    }

    fn refuse(&self) -> Status {
        self.metrics.refused();
        respond::too_many()
    }
}

#[cfg(test)]
mod tests;
