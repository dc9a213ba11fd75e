//! Joining from the machine's side: find out whether the server is the one the token names, then
//! exchange the token for certificates. A machine that is a member already renews with the
//! certificate it has.

use std::sync::Arc;

use http::{Request, Uri, header};
use rustls::ClientConfig;

use crate::{
    base::task::Supervisor,
    http::{
        any_server,
        body::{self, Body},
        client,
    },
    pki::{
        self,
        agent::{Membership, Store},
        join::{AUTHORITY_PATH, JOIN_PATH, JoinRequest},
        serving::Presenting,
        tls,
        token::JoinToken,
    },
};

/// Longest answer that is read, bytes.
const ANSWER_LIMIT_BYTES: usize = 256 * 1024;

/// Why a machine is not a member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys, certificates or token are unusable, or the server is not the one the token names.
    #[error("the server cannot be trusted")]
    Pki(#[from] pki::Error),
    /// The token is not the server's.
    #[error("the server does not accept the token")]
    Token,
    /// The server was not reached.
    #[error("reach the server")]
    Client(#[from] client::Error),
    /// The server said no.
    #[error("the server refused: {status} {message}")]
    Refused {
        /// The HTTP status.
        status: http::StatusCode,
        /// The server's words.
        message: String,
    },
    /// The server's answer makes no sense.
    #[error("understand the server's answer")]
    Answer(#[from] serde_json::Error),
    /// The server's URL is unusable.
    #[error("make the request")]
    Request(#[from] http::Error),
}

/// Joins the cluster of `server` (`https://host:port`) with a token. `names` are this machine's
/// addresses. What comes back is kept in `store` before this returns.
pub async fn join(
    server: &Uri,
    token: &JoinToken,
    store: &Store,
    names: Vec<String>,
    supervisor: &Supervisor,
) -> Result<Membership, Error> {
    let authority = authority(server, token, supervisor).await?;
    let tls = tls::client(&authority, None, tls::HTTP1_PROTOCOLS)?;
    let authorization = format!("Bearer {}", token.reveal());
    exchange(server, tls, Some(authorization), &store.request(names)?, store, supervisor).await
}

/// Renews a membership, if it is due.
pub async fn renew(
    server: &Uri,
    membership: &Membership,
    store: &Store,
    names: Vec<String>,
    supervisor: &Supervisor,
) -> Result<Option<Membership>, Error> {
    if !membership.is_due() {
        return Ok(None);
    }
    let presenting = Arc::new(Presenting::new(&membership.client())?);
    let tls = membership.client_tls(tls::HTTP1_PROTOCOLS, presenting)?;
    exchange(server, tls, None, &store.request(names)?, store, supervisor).await.map(Some)
}

/// The server's authority, which the hash in the token proves; with a short token there is no proof.
async fn authority(server: &Uri, token: &JoinToken, supervisor: &Supervisor) -> Result<String, Error> {
    let request = Request::get(url(server, AUTHORITY_PATH)?).body(body::empty())?;
    let text = ask(any_server::client()?, request, supervisor).await?;
    let pem = String::from_utf8_lossy(&text).into_owned();
    token.check_authority(&pem)?;
    if token.authority_hash.is_none() {
        tracing::warn!("the token has no hash of the server's CA: the server is trusted unseen");
    }
    Ok(pem)
}

async fn exchange(
    server: &Uri,
    tls: Arc<ClientConfig>,
    authorization: Option<String>,
    request: &JoinRequest,
    store: &Store,
    supervisor: &Supervisor,
) -> Result<Membership, Error> {
    let mut http = Request::post(url(server, JOIN_PATH)?).header(header::CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        http = http.header(header::AUTHORIZATION, authorization);
    }
    let answer = ask(tls, http.body(body::full(serde_json::to_vec(request)?))?, supervisor).await?;
    Ok(store.accept(serde_json::from_slice(&answer)?)?)
}

async fn ask(tls: Arc<ClientConfig>, request: Request<Body>, supervisor: &Supervisor) -> Result<bytes::Bytes, Error> {
    let response = client::request(tls, request, supervisor).await?;
    let response = client::collect(response, ANSWER_LIMIT_BYTES).await?;
    if response.status().is_success() {
        return Ok(response.into_body());
    }
    let status = response.status();
    if status == http::StatusCode::UNAUTHORIZED {
        return Err(Error::Token);
    }
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let message = json["message"].as_str().unwrap_or_default().to_owned();
    Err(Error::Refused { status, message })
}

fn url(server: &Uri, path: &'static str) -> Result<Uri, http::Error> {
    let mut parts = server.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
    Ok(Uri::from_parts(parts)?)
}
