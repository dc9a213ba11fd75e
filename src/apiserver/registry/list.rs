//! List: pages of one revision, from the cache.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::{
    api::{
        Status,
        status::{Cause, Details, Reason},
    },
    apiserver::{
        cache::{
            ResourceCache,
            object::Object,
            resource::{Expired, Page, Slice},
        },
        list_options::{ListOptions, VersionMatch},
        registry::{Call, Registry, continuation::Continuation},
    },
    store::Revision,
};

/// How long a list waits for a revision that is not there yet.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);
/// What is said when a page can no longer be made.
const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You \
                                can start a new list without the continue parameter, or use the continue token in this \
                                response to retrieve the remainder of the results. Continuing with the provided token \
                                results in an inconsistent list - objects that were created, modified, or deleted \
                                between the time the first chunk was returned and now may show up in the list.";
/// What is said when a list of a revision can no longer be made.
const EXPIRED: &str = "The resourceVersion for the provided list is too old.";

/// A page of a list.
#[derive(Debug)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// The revision they are of.
    pub revision: Revision,
    /// The token of the next page; empty on the last.
    pub continue_token: String,
    /// How many objects follow, where that is known.
    pub remaining: Option<usize>,
}

impl Registry {
    /// Objects of a kind.
    pub async fn list(&self, call: &Call<'_>, options: &ListOptions) -> Result<Listing, Status> {
        let cache = self.cache(call)?;
        let namespace = Some(call.namespace()).filter(|namespace| !namespace.is_empty());
        let slice = Slice { namespace, after: None, limit: options.limit, selector: &options.selector };
        let pages = async |slice: &Slice<'_>, revision: Revision| {
            let is_old = revision < self.inner.caches.oldest_listed();
            self.page(call, slice, |slice| if is_old { Err(Expired) } else { cache.list_at(slice, revision) }).await
        };
        let page = if !options.continue_token.is_empty() {
            let from = Continuation::decode(&options.continue_token)?;
            let prefix = cache.key("", "");
            let after = format!("{prefix}{}", from.after);
            let slice = Slice { after: Some(&after), ..slice };
            match from.revision {
                Some(revision) => pages(&slice, revision).await?.map_err(|_| inconsistent(from.anew()))?,
                None => self.current(call, &cache, &slice).await?,
            }
        } else {
            match options.version_match {
                Some(VersionMatch::Exact(revision)) => {
                    self.reach(&cache, revision).await?;
                    pages(&slice, revision).await?.map_err(|_| Status::new(Reason::Expired, EXPIRED))?
                }
                Some(VersionMatch::NotOlderThan(revision)) => {
                    self.reach(&cache, revision).await?;
                    self.current(call, &cache, &slice).await?
                }
                None => self.current(call, &cache, &slice).await?,
            }
        };
        let last = page.objects.last().filter(|_| page.more);
        let prefix = cache.key("", "").len();
        let continue_token =
            last.map(|object| Continuation::new(page.revision, &object.key[prefix..]).encode()).unwrap_or_default();
        let remaining = page.remaining.filter(|_| page.more);
        Ok(Listing { objects: page.objects, revision: page.revision, continue_token, remaining })
    }

    /// Objects as they are now.
    pub(super) async fn current(
        &self,
        call: &Call<'_>,
        cache: &ResourceCache,
        slice: &Slice<'_>,
    ) -> Result<Page, Status> {
        let known = self.inner.caches.revision();
        let page = self.page(call, slice, |slice| Ok::<_, Infallible>(cache.list(slice, known))).await?;
        Ok(page.unwrap_or_else(|never| match never {}))
    }

    /// Waits for a revision that a client has heard of and this server has not.
    pub(super) async fn reach(&self, cache: &ResourceCache, revision: Revision) -> Result<(), Status> {
        if revision <= self.inner.caches.revision() {
            return Ok(());
        }
        let mut changes = cache.changes();
        let reached = async { while self.inner.caches.revision() < revision && changes.changed().await.is_ok() {} };
        let waited = tokio::time::timeout(FUTURE_REVISION_WAIT, reached).await;
        match waited {
            Ok(()) => Ok(()),
            Err(_) if self.inner.caches.revision() >= revision => Ok(()),
            Err(_) => Err(too_large(revision, self.inner.caches.revision())),
        }
    }
}

/// 410: a list cannot go on as it began, but with what is there now.
fn inconsistent(from: Continuation) -> Status {
    let details = Details { continue_token: from.encode(), ..Details::default() };
    Status { reason: Reason::Expired, message: EXPIRED_CONTINUE.to_owned(), details: Some(Box::new(details)) }
}

/// 410: the revision that a watch is to begin with is no longer in the history.
pub fn expired(revision: Revision, oldest: Revision) -> Status {
    Status::new(Reason::Expired, format!("too old resource version: {revision} ({oldest})"))
}

/// 504: the revision has not been made yet.
fn too_large(revision: Revision, current: Revision) -> Status {
    let message = format!("Too large resource version: {revision}, current: {current}");
    let cause = Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        ..Cause::default()
    };
    let details = Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() };
    Status { reason: Reason::Timeout, message: format!("Timeout: {message}"), details: Some(Box::new(details)) }
}
