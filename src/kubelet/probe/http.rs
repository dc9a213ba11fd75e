//! HTTP and HTTPS requests of probes and hooks. Certificates are not checked: a probe asks whether
//! the program answers, not who it is (API reference, `HTTPGetAction.scheme`).

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{http::any_server, kubelet::probe};

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Target {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    headers: HeaderMap,
}

impl Target {
    /// The target of a `httpGet` action.
    pub fn new(action: &HTTPGetAction, container: &Container, address: Option<IpAddr>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for header in action.http_headers.iter().flatten() {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| error.to_string())?;
            headers.append(name, HeaderValue::from_str(&header.value).map_err(|error| error.to_string())?);
        }
        let path = action.path.clone().unwrap_or_default();
        Ok(Self {
            tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: probe::host(action.host.as_deref(), address)?,
            port: probe::port(&action.port, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers,
        })
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", probe::authority(&self.host, self.port), self.path)
    }
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Status code. Redirects are not followed: they count as an answer.
    pub code: u16,
}

/// Why nothing came back, in upstream's words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Get \"{url}\": {message}")]
pub struct Error {
    /// What was asked for.
    pub url: String,
    /// Why.
    pub message: String,
}

/// Asks, within `timeout`.
pub async fn get(target: &Target, timeout: Duration) -> Result<Answer, Error> {
    let failed = |message: String| Error { url: target.url(), message };
    match tokio::time::timeout(timeout, exchange(target, timeout)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned())),
    }
}

async fn exchange(target: &Target, timeout: Duration) -> Result<Answer, String> {
    let stream = probe::tcp::dial(&target.host, target.port, timeout).await?;
    if !target.tls {
        return send(target, stream).await;
    }
    let connector = TlsConnector::from(any_server::client().map_err(|error| error.to_string())?);
    let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
    send(target, connector.connect(name, stream).await.map_err(|error| error.to_string())?).await
}

async fn send(target: &Target, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Answer, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async { sender.send_request(request(target)?).await.map_err(|error| error.to_string()) };
    tokio::pin!(exchange);
    // A server that closes at once may end the connection before its answer has been taken.
    let answer = tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    };
    Ok(Answer { code: answer?.status().as_u16() })
}

fn request(target: &Target) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(&target.path)
        .header(http::header::HOST, probe::authority(&target.host, target.port))
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    for (name, value) in &target.headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(answer: &'static str) -> (Result<Answer, Error>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = vec![0; 1024];
            let count = stream.read(&mut received).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&received[..count]).into_owned()
        };
        let action: HTTPGetAction = serde_json::from_value(serde_json::json!({"port": port, "path": "healthz",
            "httpHeaders": [{"name": "X-Probe", "value": "yes"}]}))
        .unwrap();
        let target = Target::new(&action, &Container::default(), Some(IpAddr::from([127, 0, 0, 1]))).unwrap();
        tokio::join!(get(&target, Duration::from_secs(5)), serve)
    }

    #[tokio::test]
    async fn gives_the_status_code_and_sends_the_headers() {
        let (answer, received) = ask("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(answer.unwrap().code, 503);
        assert!(received.starts_with("GET /healthz HTTP/1.1\r\n"), "{received}");
        assert!(received.contains("x-probe: yes") && received.contains("user-agent: kube-probe/1.36"));
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        assert!(ask("SSH-2.0-x\r\n").await.0.is_err());
    }
}
