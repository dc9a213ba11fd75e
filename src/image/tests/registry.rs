//! A registry on the loopback device with faults on demand: it cuts connections, wants tokens,
//! redirects, and lies.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::Engine as _;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::fixtures::OciImage;
use crate::{
    base::task::Supervisor,
    http::body::{self, Body, BoxError},
    image::digest::Digest,
};

/// What the registry does wrong, or wants.
#[derive(Default)]
pub struct Behaviour {
    /// Blob answers that break off in the middle.
    pub cuts: AtomicUsize,
    /// `Range` is ignored.
    pub no_ranges: bool,
    /// A token is wanted, and given for this user and password.
    pub credentials: Option<(&'static str, &'static str)>,
    /// Basic authentication with these instead of a token.
    pub basic: bool,
    /// Blobs are elsewhere: on this second name of the same machine.
    pub redirect: bool,
}

pub struct Registry {
    pub address: String,
    state: Arc<State>,
    _supervisor: Supervisor,
}

struct State {
    behaviour: Behaviour,
    port: u16,
    documents: Mutex<HashMap<String, Vec<u8>>>,
    requests: Mutex<Vec<String>>,
}

const TOKEN: &str = "Bearer t0k3n";

impl Registry {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { behaviour, port, documents: Mutex::default(), requests: Mutex::default() });
        let supervisor = Supervisor::new();
        let (serving, connections) = (state.clone(), supervisor.clone());
        supervisor.spawn("registry", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                connections.spawn("registry connection", async move {
                    let handle = service_fn(move |request| {
                        let answer = state.answer(&request);
                        async move { Ok::<_, std::convert::Infallible>(answer) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), handle).await;
                });
            }
        });
        Self { address: format!("127.0.0.1:{port}"), state, _supervisor: supervisor }
    }

    /// Publishes an image; gives its name.
    pub fn publish(&self, repository: &str, tag: &str, image: &OciImage) -> String {
        for (digest, blob) in &image.blobs {
            self.put(&format!("{repository}/blobs/{digest}"), blob);
        }
        self.put(&format!("{repository}/manifests/{tag}"), &image.manifest);
        self.put(&format!("{repository}/manifests/{}", Digest::of(&image.manifest)), &image.manifest);
        format!("{}/{repository}:{tag}", self.address)
    }

    pub fn put(&self, path: &str, document: &[u8]) {
        self.state.documents.lock().insert(format!("/v2/{path}"), document.to_vec());
    }

    /// Requests whose path contains `part`.
    pub fn requests(&self, part: &str) -> usize {
        self.state.requests.lock().iter().filter(|path| path.contains(part)).count()
    }
}

impl State {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        self.requests.lock().push(request.uri().to_string());
        if path == "/token" {
            return self.token(request);
        }
        let elsewhere = path.strip_prefix("/elsewhere");
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if elsewhere.is_some() && authorization.is_some() {
            return text(StatusCode::BAD_REQUEST, "credentials went to another host");
        }
        if elsewhere.is_none() && !self.may(authorization) {
            return self.challenge();
        }
        let Some(document) = self.documents.lock().get(elsewhere.unwrap_or(path)).cloned() else {
            return text(
                StatusCode::NOT_FOUND,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            );
        };
        if self.behaviour.redirect && elsewhere.is_none() && path.contains("/blobs/") {
            let location = format!("http://localhost:{}/elsewhere{path}", self.port);
            return Response::builder().status(307).header(header::LOCATION, location).body(body::empty()).unwrap();
        }
        self.send(request, document, path.contains("/blobs/"))
    }

    fn send(&self, request: &Request<Incoming>, document: Vec<u8>, is_blob: bool) -> Response<Body> {
        let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        let from = range.filter(|_| !self.behaviour.no_ranges);
        let from: usize = from.map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
        let rest = Bytes::from(document).slice(from..);
        let mut response = Response::builder().header(header::CONTENT_LENGTH, rest.len());
        if from > 0 {
            response = response.status(206).header(header::CONTENT_RANGE, format!("bytes {from}-9/10"));
        }
        let one_less = |cuts: usize| cuts.checked_sub(1);
        let cut = is_blob && self.behaviour.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if !cut {
            return response.body(body::full(rest)).unwrap();
        }
        let half = rest.slice(..rest.len() / 2);
        // Time for the first half to leave before the connection is torn down.
        let late = async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Err::<Frame<Bytes>, BoxError>("cut".into())
        };
        let frames = futures_util::StreamExt::chain(stream::iter([Ok(Frame::data(half))]), stream::once(late));
        response.body(StreamBody::new(frames).boxed_unsync()).unwrap()
    }

    fn may(&self, authorization: Option<&str>) -> bool {
        let Some((user, password)) = self.behaviour.credentials else { return true };
        let wanted = if self.behaviour.basic { basic(user, password) } else { TOKEN.to_owned() };
        authorization == Some(&wanted)
    }

    fn challenge(&self) -> Response<Body> {
        let challenge = if self.behaviour.basic {
            "Basic realm=\"test\"".to_owned()
        } else {
            format!("Bearer realm=\"http://127.0.0.1:{}/token\",service=\"test\"", self.port)
        };
        Response::builder().status(401).header(header::WWW_AUTHENTICATE, challenge).body(body::empty()).unwrap()
    }

    fn token(&self, request: &Request<Incoming>) -> Response<Body> {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let wanted = self.behaviour.credentials.map(|(user, password)| basic(user, password));
        if authorization.map(str::to_owned) != wanted {
            return text(StatusCode::UNAUTHORIZED, "no");
        }
        text(StatusCode::OK, r#"{"access_token":"t0k3n"}"#)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    Response::builder().status(status).body(body::full(text)).unwrap()
}
