//! One request on its way, as the audit log will tell of it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{
    api::schema::Format,
    apiserver::{
        attributes::Attributes,
        audit::{
            Annotations, Auditor,
            event::{Content, Entry, Origin},
            policy::{Decision, Level, Stage},
        },
        authn::Impersonator,
        payload,
    },
    http::{
        body::{self, Body, BoxError},
        server::RemoteAddress,
    },
};

/// Carries the identifier in both directions.
const HEADER: HeaderName = HeaderName::from_static("audit-id");
/// Longest user agent that is written down, in bytes.
const USER_AGENT_LIMIT_BYTES: usize = 1024;
/// Content types of patches, which are JSON or YAML and no objects.
const PATCH: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];

/// The identifier of a request: the client's own, or a new one, which goes along with the request from
/// here on, to other servers too.
pub fn identify(request: &mut HeaderMap) -> HeaderValue {
    if let Some(id) = request.get(HEADER).filter(|id| !id.is_empty()) {
        return id.clone();
    }
    let id = uuid::Uuid::new_v4().to_string();
    let id = HeaderValue::from_str(&id).expect("digits and dashes are text");
    request.insert(HEADER, id.clone());
    id
}

/// Tells the client by which identifier its request is known, whether or not it is recorded.
pub fn mark(response: &mut Response<Body>, id: HeaderValue) {
    // The answer of a server behind this one says so already.
    response.headers_mut().entry(HEADER).or_insert(id);
}

/// A request that is recorded.
pub struct Record {
    auditor: Auditor,
    origin: Arc<Origin>,
    omit_stages: Vec<Stage>,
    is_long_running: bool,
    request: Arc<Mutex<Content>>,
    annotations: Annotations,
}

impl Record {
    pub(super) fn new(
        auditor: Auditor,
        decision: &Decision,
        attributes: &Attributes,
        parts: &Parts,
        impersonator: Option<Impersonator>,
        is_long_running: bool,
    ) -> Self {
        let origin = Origin {
            level: decision.level,
            omit_managed_fields: decision.omit_managed_fields,
            id: parts.headers.get(HEADER).map(text).unwrap_or_default(),
            uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            attributes: attributes.clone(),
            impersonator,
            sources: sources(parts),
            user_agent: user_agent(&parts.headers),
            received: Timestamp::now(),
        };
        Self {
            auditor,
            origin: Arc::new(origin),
            omit_stages: decision.omit_stages.clone(),
            is_long_running,
            request: Arc::default(),
            annotations: Annotations::default(),
        }
    }

    /// Where the annotations of this request go.
    pub fn annotations(&self) -> Annotations {
        self.annotations.clone()
    }

    /// Writes down that the request has come.
    pub async fn received(&self) {
        self.push(self.entry(Stage::RequestReceived, None)).await;
    }

    /// The request's body, of which a copy is kept if it is written down, or named in it what is
    /// asked for.
    pub fn listen(&self, headers: &HeaderMap, content: Body) -> Body {
        let attributes = &self.origin.attributes;
        let names = matches!(attributes.verb.as_str(), "create" | "update");
        let is_kept = self.origin.level >= Level::Request || names;
        if self.is_long_running || !attributes.is_resource() || !is_kept {
            return content;
        }
        self.request.lock().format = format(headers);
        let kept = self.request.clone();
        let copied = move |frame: Frame<Bytes>| {
            if let Some(data) = frame.data_ref() {
                let mut content = kept.lock();
                // A longer body is refused.
                if content.len() <= payload::BODY_LIMIT_BYTES {
                    content.pieces.push(data.clone());
                }
            }
            frame
        };
        content.map_frame(copied).boxed_unsync()
    }

    /// Writes down what came of the request, now or when its answer has been sent.
    pub async fn answered(self, response: Response<Body>, has_panicked: bool) -> Response<Body> {
        let code = response.status().as_u16();
        if has_panicked {
            let mut entry = self.entry(Stage::Panic, Some(code));
            entry.message = Some("APIServer panic'd".to_owned());
            self.push(entry).await;
            return response;
        }
        let is_kept = code >= 400 || self.origin.level >= Level::RequestResponse;
        let content = Content { pieces: Vec::new(), format: format(response.headers()).filter(|_| is_kept) };
        if self.is_long_running {
            self.push(self.entry(Stage::ResponseStarted, Some(code))).await;
        } else if response.body().size_hint().exact().is_some() {
            return self.complete_whole(response, content).await;
        }
        let end = End { record: self, code, content, is_done: false };
        response.map(|inner| Told { inner, end }.boxed_unsync())
    }

    /// Writes down a request whose user did not prove who they are.
    pub async fn refused(self, response: Response<Body>, parts: &Parts) -> Response<Body> {
        let mut entry = self.entry(Stage::ResponseStarted, Some(response.status().as_u16()));
        entry.message = Some(attempted(&parts.headers));
        self.push(entry).await;
        response
    }

    /// An answer that is known whole, and so told of before it is sent.
    async fn complete_whole(&self, response: Response<Body>, mut content: Content) -> Response<Body> {
        let (parts, mut answer) = response.into_parts();
        let mut frames = Vec::new();
        while let Some(frame) = answer.frame().await {
            if let Ok(frame) = &frame
                && let Some(data) = frame.data_ref()
                && content.format.is_some()
            {
                content.pieces.push(data.clone());
            }
            frames.push(frame);
        }
        let mut entry = self.entry(Stage::ResponseComplete, Some(parts.status.as_u16()));
        entry.response = content;
        self.push(entry).await;
        let answer = match <[_; 1]>::try_from(frames) {
            Ok([Ok(frame)]) => body::full(frame.into_data().unwrap_or_default()),
            Ok([Err(error)]) => in_pieces(vec![Err(error)]),
            Err(frames) if frames.is_empty() => body::empty(),
            Err(frames) => in_pieces(frames),
        };
        Response::from_parts(parts, answer)
    }

    fn entry(&self, stage: Stage, code: Option<u16>) -> Entry {
        let is_received = stage == Stage::RequestReceived;
        Entry {
            origin: self.origin.clone(),
            stage,
            at: if is_received { self.origin.received } else { Timestamp::now() },
            code,
            message: None,
            request: self.request.lock().clone(),
            response: Content::default(),
            annotations: if is_received { BTreeMap::new() } else { self.annotations.all() },
        }
    }

    async fn push(&self, entry: Entry) {
        if self.omit_stages.contains(&entry.stage) {
            return;
        }
        let room = self.auditor.writer.room(entry.request.len() + entry.response.len()).await;
        self.auditor.writer.push(entry, room);
    }
}

/// Tells of the end of an answer that goes on.
struct End {
    record: Record,
    code: u16,
    content: Content,
    is_done: bool,
}

impl End {
    fn tell(&mut self) {
        if std::mem::replace(&mut self.is_done, true) || self.record.omit_stages.contains(&Stage::ResponseComplete) {
            return;
        }
        let mut entry = self.record.entry(Stage::ResponseComplete, Some(self.code));
        entry.response = std::mem::take(&mut self.content);
        self.record.auditor.writer.push(entry, None);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.tell();
    }
}

/// An answer that goes on.
struct Told {
    inner: Body,
    end: End,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) if !self.end.record.is_long_running && self.end.content.format.is_some() => {
                if let Some(data) = frame.data_ref() {
                    self.end.content.pieces.push(data.clone());
                }
            }
            Poll::Ready(None) => self.end.tell(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The pieces of a body as they came, an error among them.
fn in_pieces(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Body {
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let media_type = payload::media_type(headers);
    if PATCH.contains(&media_type.as_str()) {
        return Some(Format::Json);
    }
    if media_type == "application/apply-patch+yaml" {
        return Some(Format::Yaml);
    }
    payload::format(headers).ok()
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).map(text).unwrap_or_default();
    if text.len() <= USER_AGENT_LIMIT_BYTES {
        return text;
    }
    format!("{}...TRUNCATED", &text[..text.floor_char_boundary(USER_AGENT_LIMIT_BYTES)])
}

/// Those that proxies name, and who is connected. Requests of this process come from itself.
fn sources(parts: &Parts) -> Vec<String> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = text("x-forwarded-for").split(',').filter_map(|part| part.trim().parse::<IpAddr>().ok());
    let mut sources: Vec<IpAddr> = forwarded.collect();
    if let Ok(real) = text("x-real-ip").trim().parse()
        && !sources.contains(&real)
    {
        sources.push(real);
    }
    let remote = parts.extensions.get::<RemoteAddress>();
    let remote = remote.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.0.ip().to_canonical());
    if sources.last() != Some(&remote) {
        sources.push(remote);
    }
    sources.iter().map(ToString::to_string).collect()
}

/// By what a client tried to prove who it is.
fn attempted(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scheme = value.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "basic" | "bearer" => format!("Authentication failed, attempted: {scheme}"),
        _ => "Authentication failed, no credentials provided".to_owned(),
    }
}
