//! How a machine becomes, and stays, a member of its cluster: it tries until the server answers,
//! gives up only when the server will not have it, and has its certificates renewed in time.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, bail};
use http::Uri;

use crate::{
    base::{backoff::Backoff, log::chain, task::Supervisor},
    boot::config::Secret,
    http::join::{self, Error},
    pki::{
        agent::{Membership, Store},
        token::JoinToken,
    },
};

/// First and longest pause between attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// How often a running node looks whether its certificates are due.
const RENEWAL_INTERVAL: Duration = Duration::from_hours(12);

/// Everything needed to join.
pub struct Joiner {
    /// The server.
    pub server: Uri,
    /// The token; none for a machine that has joined before.
    pub token: Option<Secret>,
    /// This machine's keys.
    pub store: Store,
    /// This machine's addresses.
    pub ips: Vec<IpAddr>,
    /// Runs connections.
    pub supervisor: Supervisor,
}

impl Joiner {
    /// The membership of earlier, or a new one as soon as the server answers.
    pub async fn membership(&self) -> anyhow::Result<Membership> {
        if let Some(membership) = self.store.load().context("failed to read what is known of the cluster")? {
            return Ok(membership);
        }
        let Some(token) = &self.token else {
            bail!("this machine has not joined before: a token is needed (--token, --token-file or NAUPLIUS_TOKEN)");
        };
        let token = JoinToken::parse(&token.0)?;
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            match join::join(&self.server, &token, &self.store, self.names(), &self.supervisor).await {
                Ok(membership) => return Ok(membership),
                Err(error) if is_final(&error) => {
                    return Err(error).with_context(|| format!("failed to join {}", self.server));
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), server = %self.server, "joining failed, trying again")
                }
            }
            tokio::time::sleep(backoff.next_delay_jittered()).await;
        }
    }

    /// Has the certificates renewed when they are due, for ever, and tells `renewed` of new ones.
    pub async fn keep_fresh(self, mut membership: Membership, renewed: impl Fn(&Membership)) {
        loop {
            match join::renew(&self.server, &membership, &self.store, self.names(), &self.supervisor).await {
                Ok(None) => {}
                Ok(Some(fresh)) => {
                    tracing::info!("the node's certificates were renewed");
                    renewed(&fresh);
                    membership = fresh;
                }
                Err(error) => tracing::warn!(error = chain(&error), "certificates are due and were not renewed"),
            }
            tokio::time::sleep(RENEWAL_INTERVAL).await;
        }
    }

    fn names(&self) -> Vec<String> {
        self.ips.iter().map(IpAddr::to_string).collect()
    }
}

/// Whether trying again cannot help until a person has changed something.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Pki(_) | Error::Token => true,
        Error::Refused { status, .. } => status.is_client_error() && status.as_u16() != 429,
        Error::Client(_) | Error::Answer(_) | Error::Request(_) => false,
    }
}
