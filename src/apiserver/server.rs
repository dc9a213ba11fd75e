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
use tokio::sync::Notify;

use crate::{
    api::{Status, kind::Descriptor},
    apiserver::{
        aggregator::{Aggregator, way::Way},
        allocator::Allocator,
        attributes::Attributes,
        audit::{self, Auditor, Record},
        cache::Caches,
        component_status::ComponentStatuses,
        compress,
        conversion::Converter,
        definitions::Definitions,
        fairness::{Fairness, Initialization, follow},
        gates::{Admit, Authenticate, Authorize},
        handlers::Handlers,
        health::Health,
        kinds::Kinds,
        metrics::Metrics,
        negotiate::{self, Accept},
        openapi::handler::OpenApiHandler,
        query::Query,
        registry::{Registry, Warnings},
        request_info, respond, routes,
        streams::Streams,
        version,
    },
    base::{lane::Lane, task::Supervisor},
    http::body::Body,
    store::Store,
};

/// How long a request may take (`--request-timeout`), unless it says a shorter time itself.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The part of its time that a request may spend waiting to be let in.
const WAITING_PART: u32 = 4;
/// When a client whose stream is one too many may try again, in seconds.
const STREAM_RETRY_SECONDS: u32 = 5;
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
    /// How servers behind this one are reached.
    pub way: Way,
    /// What brings custom resources from one version to another.
    pub converter: Arc<Converter>,
    /// `host:port` at which clients reach the server.
    pub address: String,
    /// Told when a burst of work has needed memory that is free again, or soon will be.
    pub spent: Arc<Notify>,
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
    pub(super) aggregator: Arc<Aggregator>,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
    pub(super) rendering: Lane,
    pub(super) fairness: Arc<Fairness>,
    authenticator: Arc<dyn Authenticate>,
    authorizer: Arc<dyn Authorize>,
    auditor: Option<Auditor>,
    streams: Arc<Streams>,
}

impl ApiServer {
    /// A server that is ready to be asked.
    pub fn new(parts: Components) -> Self {
        let metrics = Arc::new(Metrics::default());
        let Components { store, caches, admission, allocator, converter, .. } = parts;
        let fairness = Arc::new(Fairness::new(caches.clone(), metrics.fairness.clone()));
        let registry = Registry::new(store, caches, admission, allocator, metrics.clone(), converter);
        let mut handlers = parts.handlers;
        let openapi = Arc::new(OpenApiHandler::new(parts.kinds.clone(), version::GIT_VERSION, parts.spent));
        handlers.path("/openapi", openapi.clone());
        let (health, rendering) = (Health::default(), Lane::new(RENDERING_LIMIT));
        let statuses = ComponentStatuses::new(health.clone(), rendering.clone());
        handlers.resource("", "componentstatuses", "", Arc::new(statuses));
        let kinds = Arc::new(Kinds::new(parts.kinds, parts.address, openapi));
        Definitions::new(registry.clone(), kinds.clone()).serve();
        let aggregator = Aggregator::new(registry.clone(), kinds.clone(), parts.way);
        Self {
            inner: Arc::new(Inner {
                registry,
                kinds,
                handlers,
                aggregator,
                health,
                metrics,
                rendering,
                authenticator: parts.authenticator,
                authorizer: parts.authorizer,
                auditor: parts.auditor,
                fairness,
                streams: Arc::default(),
            }),
        }
    }

    /// Starts what the server does of its own accord.
    pub fn start(&self, supervisor: &Supervisor) {
        supervisor.spawn("history of lists", self.inner.registry.caches().clone().age());
        supervisor.spawn("event expiry", self.inner.registry.clone().expire_events());
        let definitions = Definitions::new(self.inner.registry.clone(), self.inner.kinds.clone());
        supervisor.spawn("custom resource definitions", definitions.run());
        let fairness = &self.inner.fairness;
        supervisor.spawn("flow control", follow::follow(fairness.clone(), self.inner.registry.clone()));
        supervisor.spawn("flow control balance", fairness.clone().balance());
        supervisor.spawn("flow control release", fairness.clone().release());
        self.inner.aggregator.start(supervisor);
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
    pub async fn handle(&self, mut request: Request<Body>) -> Response<Body> {
        let id = audit::identify(request.headers_mut());
        let mut response = self.recorded(request).await;
        audit::mark(&mut response, id);
        response
    }

    async fn recorded(&self, request: Request<Body>) -> Response<Body> {
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
        let attributes = Arc::new(request_info::attributes(&parts.method, parts.uri.path(), &query, user));
        let long_running = request_info::is_long_running(&attributes);
        let (record, body) = self.record(&attributes, &parts, body, long_running).await;
        // Not before the record has asked who really makes the request.
        parts.extensions.insert(attributes.user.clone());
        let warnings = Warnings::default();
        let exchange = Exchange { attributes: &attributes, query: &query, accept: &accept, warnings: &warnings };
        let served = self.serve(exchange, Request::from_parts(parts, body), started, long_running);
        let served = audit::within(record.as_ref().map(Record::annotations), served);
        let outcome = AssertUnwindSafe(served).catch_unwind().await;
        let has_panicked = outcome.is_err();
        // The panic's message has gone to the log; the client gets no more than that it happened.
        let failed = |_| negotiate::failure(&accept, &Status::internal("the request could not be served"));
        let mut response = outcome.unwrap_or_else(failed);
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
        let user = authenticator.impersonator(parts).unwrap_or_default().user;
        let attributes = request_info::attributes(&parts.method, parts.uri.path(), query, user);
        match auditor.begin(&attributes, parts, authenticator, false) {
            None => response,
            Some(record) if response.status() == StatusCode::UNAUTHORIZED => record.refused(response, parts).await,
            Some(record) => record.answered(response, false).await,
        }
    }

    /// Serves a request once it is its turn. Streams other than watches have no turn: little of what
    /// they cost is known before they end.
    async fn serve(
        &self,
        exchange: Exchange<'_>,
        mut request: Request<Body>,
        started: Instant,
        long_running: bool,
    ) -> Response<Body> {
        let Exchange { attributes, query, accept, .. } = exchange;
        let failure = |status: &Status| negotiate::failure(accept, status);
        if long_running && attributes.verb != "watch" {
            return self.stream(exchange, request).await.unwrap_or_else(|status| failure(&status));
        }
        let limit = match query.timeout() {
            Ok(timeout) => timeout.filter(|_| !long_running).map_or(REQUEST_TIMEOUT, |own| own.min(REQUEST_TIMEOUT)),
            Err(_) if long_running => REQUEST_TIMEOUT,
            Err(status) => return failure(&status),
        };
        let ticket = match self.inner.fairness.admit(attributes, query, limit / WAITING_PART).await {
            Ok(ticket) => ticket,
            Err(refused) => {
                self.inner.metrics.refused();
                let mut response = failure(&refused.status());
                refused.mark(&mut response);
                return response;
            }
        };
        let classification = ticket.classification();
        // A watch gives its seats back once it has shown what was there, and all others once they are answered.
        let outcome = if long_running {
            let seats = Initialization::new(ticket);
            request.extensions_mut().insert(seats.clone());
            let outcome = self.stream(exchange, request).await;
            drop(seats.take());
            outcome
        } else {
            let left = limit.saturating_sub(started.elapsed());
            let served = tokio::time::timeout(left, self.answered(exchange, request)).await;
            drop(ticket);
            served.unwrap_or_else(|_| Err(respond::timed_out()))
        };
        let mut response = outcome.unwrap_or_else(|status| failure(&status));
        classification.mark(&mut response);
        response
    }

    /// A request that lasts as long as its client likes.
    async fn stream(&self, exchange: Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
        let inner = &self.inner;
        let Exchange { attributes, query, .. } = exchange;
        let Some(stream) = inner.streams.open(&attributes.user) else {
            inner.metrics.refused();
            return Err(respond::too_many(STREAM_RETRY_SECONDS));
        };
        let is_watch = attributes.verb == "watch";
        let following = is_watch.then(|| inner.fairness.watches.follow(attributes, query)).flatten();
        let response = self.answered(exchange, request).await?;
        // The body holds them: they last as long as the stream does.
        let held = (stream, following);
        Ok(response.map(|body| {
            let hold = move |frame| {
                let _held = &held;
                frame
            };
            body.map_frame(hold).boxed_unsync()
        }))
    }

    async fn answered(&self, exchange: Exchange<'_>, request: Request<Body>) -> Result<Response<Body>, Status> {
        let Exchange { attributes, query, warnings, .. } = exchange;
        let authorizer = &self.inner.authorizer;
        let decision = authorizer.authorize(attributes);
        audit::decided(decision.is_ok(), || authorizer.reason(attributes));
        decision?;
        routes::route(&self.inner, attributes, query, request, warnings).await
    }
}

/// What is known of a request before it is served.
#[derive(Clone, Copy)]
struct Exchange<'a> {
    attributes: &'a Arc<Attributes>,
    query: &'a Query,
    accept: &'a Accept,
    warnings: &'a Warnings,
}

impl Inner {
    /// Whether a request for one object might have created it as well.
    pub(super) fn may_create(&self, attributes: &Attributes) -> Result<(), Status> {
        self.authorizer.authorize(&Attributes { verb: "create".into(), ..attributes.clone() })
    }
}

#[cfg(test)]
mod tests;
