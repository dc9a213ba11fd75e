//! What an issuer and its claim sources are asked: HTTPS, verified by the authority that the issuer's
//! configuration names.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use rustls::ClientConfig;

use crate::{
    base::task::Supervisor,
    http::{body, client},
};

/// Longest answer that is read, in bytes.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How an issuer is reached. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    tls: Arc<ClientConfig>,
    supervisor: Supervisor,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No exchange.
    #[error("ask {url}")]
    Ask {
        /// Where.
        url: Uri,
        /// Why.
        #[source]
        source: client::Error,
    },
    /// Too slow.
    #[error("ask {0}: no answer in time")]
    Timeout(Uri),
    /// An answer that says no.
    #[error("ask {url}: the answer was {code}")]
    Code {
        /// Where.
        url: Uri,
        /// What was answered.
        code: StatusCode,
    },
}

impl Site {
    /// What `tls` verifies.
    pub fn new(tls: Arc<ClientConfig>, supervisor: Supervisor) -> Self {
        Self { tls, supervisor }
    }

    /// What is at `url`, for whoever shows `authorization`.
    pub async fn get(&self, url: &Uri, authorization: Option<HeaderValue>) -> Result<Bytes, Error> {
        let failed = |source| Error::Ask { url: url.clone(), source };
        let request = Request::get(url.clone()).header(header::ACCEPT, "application/json, application/jwt");
        let mut request = request.body(body::empty()).expect("a URL and a constant header make a request");
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let exchange = async {
            let answer = client::request(self.tls.clone(), request, &self.supervisor).await?;
            client::collect(answer, ANSWER_LIMIT_BYTES).await
        };
        let answer = tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| Error::Timeout(url.clone()))?;
        let answer = answer.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(Error::Code { url: url.clone(), code: answer.status() });
        }
        Ok(answer.into_body())
    }
}
