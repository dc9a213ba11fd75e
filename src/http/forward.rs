//! Passing a request on over a stream, whatever protocol it then switches to: after a 101 the bytes
//! of both sides are copied as they are, so WebSocket and SPDY work without being understood.

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{
    base::task::Supervisor,
    http::{
        body::{self, Body},
        client::{self, BoxStream},
    },
};

/// Headers that are between two neighbours and go no further (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends `request` over `stream` and gives back what comes, upgraded or not. The request's URL says
/// host and path as the other end is to see them.
pub async fn forward(
    mut request: Request<Body>,
    stream: BoxStream,
    supervisor: &Supervisor,
) -> Result<Response<Body>, client::Error> {
    let wants_upgrade = request.headers().contains_key(header::UPGRADE);
    let ours = hyper::upgrade::on(&mut request);
    prepare(request.headers_mut(), wants_upgrade);
    let mut response = client::request_over(stream, request, supervisor).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && wants_upgrade {
        let theirs = hyper::upgrade::on(&mut response);
        supervisor.spawn("forwarded stream", join(ours, theirs));
        return Ok(response.map(|_| body::empty()));
    }
    let mut response = response.map(|body| body.map_err(Into::into).boxed_unsync());
    for name in HOP_BY_HOP {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// Copies until both sides have ended; each side's end is passed on to the other on its own.
async fn join(ours: hyper::upgrade::OnUpgrade, theirs: hyper::upgrade::OnUpgrade) {
    let (ours, theirs) = match tokio::try_join!(ours, theirs) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a stream was not upgraded"),
    };
    exchange(TokioIo::new(ours), TokioIo::new(theirs)).await;
}

/// Copies both ways until both sides have ended. A way that breaks off ends for itself alone: a peer
/// that answers and hangs up at once is still heard to its end, though it takes nothing more.
pub(super) async fn exchange(one: impl AsyncRead + AsyncWrite, other: impl AsyncRead + AsyncWrite) {
    let (from_one, to_one) = tokio::io::split(one);
    let (from_other, to_other) = tokio::io::split(other);
    tokio::join!(carry(from_one, to_other), carry(from_other, to_one));
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    if let Err(error) = tokio::io::copy(&mut from, &mut to).await {
        tracing::debug!(%error, "a forwarded stream broke off");
    }
    // It may be gone already, which is what is wanted.
    let _ = to.shutdown().await;
}

/// The credentials of the caller are for this server alone.
fn prepare(headers: &mut HeaderMap, keeps_upgrade: bool) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::HOST);
    let upgrade = headers.get(header::UPGRADE).cloned().filter(|_| keeps_upgrade);
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_here_and_upgrades_go_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "x"),
            ("te", "trailers"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        prepare(&mut headers, true);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["connection", "sec-websocket-key", "upgrade"]);
    }
}
