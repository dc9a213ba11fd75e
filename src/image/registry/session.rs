//! One registry endpoint with one credential: requests with authentication and redirects. What it
//! learns (a token) belongs to this session alone and is forgotten with it.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::{
    super::{Credential, digest::Digest, manifest},
    challenge::Challenge,
    config::{Config, Endpoint, Tls},
    error::{Error, Transport},
    tls,
};
use crate::{
    base::{backoff::Backoff, lane::Lane, task::Supervisor},
    http::{
        body::{self, Body},
        client::{self, BoxStream},
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the head of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects that are followed (Go's default).
const REDIRECT_LIMIT: usize = 10;
/// Times that a document is asked for again.
const DOCUMENT_RETRIES: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_LIMIT: Duration = Duration::from_secs(2);
const ERROR_LIMIT_BYTES: usize = 64 * 1024;
const TOKEN_LIMIT_BYTES: usize = 1024 * 1024;
const USER_AGENT: &str = concat!("nauplius/", env!("CARGO_PKG_VERSION"));

/// An endpoint that is being asked.
pub struct Session {
    endpoint: Endpoint,
    credential: Option<Credential>,
    config: Config,
    lane: Lane,
    supervisor: Supervisor,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Session {
    /// Asks `endpoint` with `credential`.
    pub fn new(
        endpoint: Endpoint,
        credential: Option<Credential>,
        (config, lane, supervisor): (Config, Lane, Supervisor),
    ) -> Self {
        Self { endpoint, credential, config, lane, supervisor, authorization: Mutex::default() }
    }

    /// Host and port of the endpoint.
    pub fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// A manifest or index by tag or digest, with the digest of its bytes. A digest that is asked
    /// for, or that the registry announces, is checked.
    pub async fn manifest(&self, version: &str) -> Result<(Bytes, Digest), Error> {
        let limit = usize::try_from(manifest::DOCUMENT_LIMIT_BYTES).expect("8 MiB fit");
        let (announced, bytes) = self.get_whole(&self.url("manifests", version), limit).await?;
        let actual = Digest::of(&bytes);
        let announced = announced.and_then(|value| Digest::parse(value.to_str().ok()?));
        for expected in Digest::parse(version).into_iter().chain(announced) {
            if expected != actual {
                return Err(Error::Digest { expected, actual });
            }
        }
        Ok((bytes, actual))
    }

    /// A small blob, whole: a configuration.
    pub async fn document(&self, blob: &manifest::Blob) -> Result<Bytes, Error> {
        let size = || Error::Size { digest: blob.digest.clone(), expected_bytes: blob.size_bytes };
        if blob.size_bytes > manifest::DOCUMENT_LIMIT_BYTES {
            return Err(size());
        }
        let limit = usize::try_from(blob.size_bytes).map_err(|_| size())?;
        let (_, bytes) = self.get_whole(&self.url("blobs", &blob.digest.to_string()), limit).await?;
        let actual = Digest::of(&bytes);
        if actual != blob.digest {
            return Err(Error::Digest { expected: blob.digest.clone(), actual });
        }
        Ok(bytes)
    }

    /// A blob from byte `offset` on. The answer is 206, or 200 with all of it.
    pub async fn blob(&self, digest: &Digest, offset: u64) -> Result<Response<Incoming>, Error> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        self.get(&self.url("blobs", &digest.to_string()), range).await
    }

    fn url(&self, what: &str, version: &str) -> String {
        let Endpoint { base, repository, mirror_of, .. } = &self.endpoint;
        // A mirror of several registries must know which one is meant (containerd's convention).
        let namespace = mirror_of.as_ref().map(|domain| format!("?ns={domain}")).unwrap_or_default();
        format!("{base}/{repository}/{what}/{version}{namespace}")
    }

    /// A small document with the digest that the registry announces; an answer that breaks off is
    /// asked for again.
    async fn get_whole(&self, url: &str, limit: usize) -> Result<(Option<HeaderValue>, Bytes), Error> {
        let mut backoff = Backoff::new(FIRST_DELAY, DELAY_LIMIT);
        loop {
            let exchange = async {
                let response = self.get(url, None).await?;
                let announced = response.headers().get("docker-content-digest").cloned();
                Ok((announced, self.collect(response, url, limit).await?))
            };
            match exchange.await {
                Err(Error::Request { source: Transport::Oversized, .. }) => {
                    return Err(invalid(url, format!("more than the {limit} bytes that were announced")));
                }
                Err(error) if error.broke_off() && backoff.failures() < DOCUMENT_RETRIES => {
                    tokio::time::sleep(backoff.next_delay_jittered()).await;
                }
                result => return result,
            }
        }
    }

    /// An authenticated GET that succeeds, or says why not.
    async fn get(&self, url: &str, range: Option<String>) -> Result<Response<Incoming>, Error> {
        let authorization = self.authorization.lock().clone();
        let response = self.follow(url, range.as_deref(), authorization).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.check(response, url).await;
        }
        let Some(authorization) = self.authorize(&response).await? else {
            return self.check(response, url).await;
        };
        *self.authorization.lock() = Some(authorization.clone());
        let response = self.follow(url, range.as_deref(), Some(authorization)).await?;
        self.check(response, url).await
    }

    /// Follows redirects. Credentials go to the endpoint's own host and nowhere else.
    async fn follow(
        &self,
        url: &str,
        range: Option<&str>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, Error> {
        let mut url: Uri = url.parse().map_err(|_| invalid(url, "not a URL"))?;
        for _ in 0..REDIRECT_LIMIT {
            let own = url.authority().is_some_and(|authority| authority.as_str() == self.endpoint.host);
            let secure = url.scheme_str() == Some("https") || self.endpoint.base.starts_with("http:");
            let mut request = Request::get(url.clone()).header(header::ACCEPT, manifest::ACCEPTED);
            if let Some(range) = range {
                request = request.header(header::RANGE, range);
            }
            if let Some(authorization) = authorization.as_ref().filter(|_| own && secure) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let request = request.body(body::empty()).map_err(|error| invalid(&url, error))?;
            let response = self.send("Get", request).await?;
            match redirect_target(&url, &response) {
                Some(target) => url = target.ok_or_else(|| invalid(&url, "a redirect to nowhere"))?,
                None => return Ok(response),
            }
        }
        Err(invalid(&url, "too many redirects"))
    }

    async fn check(&self, response: Response<Incoming>, url: &str) -> Result<Response<Incoming>, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.collect(response, url, ERROR_LIMIT_BYTES).await.unwrap_or_default();
        let message = server_message(&body);
        Err(match status {
            StatusCode::NOT_FOUND => Error::NotFound { what: self.name_of(url) },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
                message: message.map_or_else(
                    || "authorization failed: no basic auth credentials".to_owned(),
                    |message| format!("server message: {message}"),
                ),
            },
            _ => Error::Status {
                method: "GET",
                url: url.to_owned(),
                status,
                message: message.map(|message| format!(": {message}")).unwrap_or_default(),
            },
        })
    }

    /// `docker.io/library/nginx:1.27` for a manifest's URL.
    fn name_of(&self, url: &str) -> String {
        let domain = self.endpoint.mirror_of.as_ref().unwrap_or(&self.endpoint.host);
        let domain = if domain == "registry-1.docker.io" { "docker.io" } else { domain };
        let version = url.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let separator = if version.contains(':') { '@' } else { ':' };
        format!("{domain}/{}{separator}{version}", self.endpoint.repository)
    }

    /// The `Authorization` header that the refusing answer asks for; `None` if there is nothing to offer.
    async fn authorize(&self, refused: &Response<Incoming>) -> Result<Option<HeaderValue>, Error> {
        let headers = refused.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = headers.iter().filter_map(|value| Challenge::parse(value.to_str().ok()?)).next_back();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.credential.as_ref().map(basic)),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.endpoint.repository));
                self.token(&realm, service.as_deref(), &scope).await.map(Some)
            }
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<HeaderValue, Error> {
        let refresh = self.credential.as_ref().map(|credential| &credential.identity_token);
        let request = match refresh.filter(|token| !token.is_empty()) {
            Some(token) => exchange_request(realm, service, scope, token),
            None => self.token_request(realm, service, scope),
        };
        let response = self.send("Get", request.map_err(|error| invalid(realm, error))?).await?;
        let status = response.status();
        let body = self.collect(response, realm, TOKEN_LIMIT_BYTES).await?;
        if !status.is_success() {
            return Err(self.token_refused(realm, status, &body));
        }
        bearer(&body).ok_or_else(|| invalid(realm, "no token in it"))
    }

    /// The plain form (distribution specification, "Token Authentication").
    fn token_request(&self, realm: &str, service: Option<&str>, scope: &str) -> http::Result<Request<Body>> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", scope);
        let separator = if realm.contains('?') { '&' } else { '?' };
        let mut request = Request::get(format!("{realm}{separator}{}", query.finish()));
        if let Some(credential) = &self.credential {
            request = request.header(header::AUTHORIZATION, basic(credential));
        }
        request.body(body::empty())
    }

    fn token_refused(&self, realm: &str, status: StatusCode, body: &[u8]) -> Error {
        let what = if self.credential.is_some() { "oauth" } else { "anonymous" };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let message = format!(
                "failed to authorize: failed to fetch {what} token: \
                 unexpected status from GET request to {realm}: {status}"
            );
            return Error::Denied { message };
        }
        let message = server_message(body).map(|message| format!(": {message}")).unwrap_or_default();
        Error::Status { method: "GET", url: realm.to_owned(), status, message }
    }

    async fn send(&self, method: &'static str, mut request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let url = request.uri().to_string();
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let exchange = async {
            let stream = self.connect(request.uri()).await?;
            let answer = client::request_over(stream, request, &self.supervisor);
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| Transport::Timeout)?;
            answer.map_err(Transport::Exchange)
        };
        exchange.await.map_err(|source| Error::Request { method, url, source })
    }

    async fn connect(&self, url: &Uri) -> Result<BoxStream, Transport> {
        let host = url.host().unwrap_or_default().to_owned();
        let secure = url.scheme_str() == Some("https");
        let target = format!("{host}:{}", url.port_u16().unwrap_or(if secure { 443 } else { 80 }));
        let dialled = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&target));
        let dialled = dialled.await.map_err(|_| Transport::Timeout)?;
        let stream = dialled.map_err(|source| Transport::Dial { target: target.clone(), source })?;
        let _ = stream.set_nodelay(true);
        if !secure {
            return Ok(Box::new(stream));
        }
        let settings = self.config.host(url.authority().map_or("", |authority| authority.as_str())).tls;
        self.handshake(stream, host, target, settings.unwrap_or_default()).await
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        host: String,
        target: String,
        settings: Tls,
    ) -> Result<BoxStream, Transport> {
        // Reading certificates is a matter of milliseconds, but of files.
        let config = self.lane.run(move || tls::client_config(&settings)).await.map_err(Transport::TlsConfig)?;
        let failed = |source| Transport::Tls { target: target.clone(), source };
        let name = rustls::pki_types::ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let shaken = tokio_rustls::TlsConnector::from(config).connect(name, stream);
        let shaken = tokio::time::timeout(CONNECT_TIMEOUT, shaken).await.map_err(|_| Transport::Timeout)?;
        Ok(Box::new(shaken.map_err(failed)?))
    }

    async fn collect(&self, response: Response<Incoming>, url: &str, limit: usize) -> Result<Bytes, Error> {
        let collected = tokio::time::timeout(ANSWER_TIMEOUT, client::collect(response, limit)).await;
        let failed = |source| Error::Request { method: "Get", url: url.to_owned(), source };
        let collected = collected.map_err(|_| failed(Transport::Timeout))?;
        let collected = collected.map_err(|error| {
            failed(match error {
                client::Error::Body(source) if source.is::<http_body_util::LengthLimitError>() => Transport::Oversized,
                other => Transport::Exchange(other),
            })
        });
        Ok(collected?.into_body())
    }
}

/// The OAuth2 form, which takes a refresh token (distribution specification, "OAuth2 Token Authentication").
fn exchange_request(realm: &str, service: Option<&str>, scope: &str, token: &str) -> http::Result<Request<Body>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
    form.append_pair("service", service.unwrap_or_default()).append_pair("scope", scope);
    form.append_pair("client_id", "nauplius");
    let form = form.finish();
    let request = Request::builder().method(Method::POST).uri(realm);
    request
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::CONTENT_LENGTH, form.len())
        .body(body::full(form))
}

fn basic(credential: &Credential) -> HeaderValue {
    let both = format!("{}:{}", credential.username, credential.password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(both);
    secret(&format!("Basic {encoded}")).expect("base64 is a valid header value")
}

/// `token` and `access_token` mean the same.
fn bearer(body: &[u8]) -> Option<HeaderValue> {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(default)]
        token: String,
        #[serde(default)]
        access_token: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    (!token.is_empty()).then(|| secret(&format!("Bearer {token}"))).flatten()
}

/// A header value that no debug output shows.
fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `None` if the answer is no redirect, `Some(None)` if it leads nowhere.
fn redirect_target(from: &Uri, response: &Response<Incoming>) -> Option<Option<Uri>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    Some(location.and_then(|location| absolute(from, location)))
}

fn absolute(from: &Uri, location: &str) -> Option<Uri> {
    let url = match (location.starts_with("//"), location.starts_with('/')) {
        (true, _) => format!("{}:{location}", from.scheme_str()?),
        (false, true) => format!("{}://{}{location}", from.scheme_str()?, from.authority()?),
        (false, false) => location.to_owned(),
    };
    url.parse::<Uri>().ok().filter(|url| url.authority().is_some() && url.scheme().is_some())
}

/// What a registry says about its refusal (distribution specification, "Error Codes").
fn server_message(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<Item>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let each = envelope.errors.into_iter().map(|item| format!("{}: {}", item.code.to_lowercase(), item.message));
    Some(each.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
}

fn invalid(url: impl std::fmt::Display, problem: impl std::fmt::Display) -> Error {
    Error::Invalid { url: url.to_string(), problem: problem.to_string() }
}
