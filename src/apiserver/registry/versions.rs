//! Objects between the version they are stored in and the one a call is about. For built-in kinds these
//! are the same bytes, and for most custom resources they differ in their `apiVersion`; where a webhook
//! converts them, reading means asking it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    api::{Status, custom::CustomKind, encode, kind::Descriptor},
    apiserver::{
        cache::{
            ResourceCache,
            object::{self, Change, Object},
            resource::{Page, Slice},
            selectable::Selector,
            watcher::{self, Seen},
        },
        conversion::Converter,
        registry::{Call, Registry},
    },
};

impl Registry {
    /// An object of the cache as the call's endpoint shows it, encoded.
    pub(super) async fn shown(&self, call: &Call<'_>, object: &Arc<Object>) -> Result<Bytes, Status> {
        let Some(custom) = call.kind.strategy.custom() else { return Ok(object.json()) };
        if custom.conversion.is_none() {
            return Ok(object::in_version(object.json(), &custom.api_version));
        }
        let shown = self.all_shown(custom, vec![object.clone()]).await?;
        Ok(shown.first().unwrap_or(object).json())
    }

    /// As [`Registry::shown`], decoded.
    pub(super) async fn parse(&self, call: &Call<'_>, object: &Arc<Object>) -> Result<Value, Status> {
        serde_json::from_slice(&self.shown(call, object).await?).map_err(Status::internal)
    }

    /// An object of the call's version as it is stored; `shown` is the same, encoded.
    pub(super) async fn stored(&self, call: &Call<'_>, object: Value, shown: &Bytes) -> Result<Bytes, Status> {
        let Some(custom) = call.kind.strategy.custom() else { return Ok(shown.clone()) };
        if custom.conversion.is_none() {
            return Ok(object::in_version(shown.clone(), &custom.stored_version));
        }
        let stored = self.inner.converter.value(custom, object, &custom.stored_version).await?;
        Ok(encode::encode(&stored))
    }

    /// A page of the cache in the call's version, made by `list` of a slice.
    pub(super) async fn page<E>(
        &self,
        call: &Call<'_>,
        slice: &Slice<'_>,
        list: impl FnOnce(&Slice<'_>) -> Result<Page, E>,
    ) -> Result<Result<Page, E>, Status> {
        let Some(custom) = call.kind.strategy.custom() else { return Ok(list(slice)) };
        let selects_shown = custom.conversion.is_some() && !slice.selector.is_everything();
        let everything = Selector::everything();
        let wider = Slice { limit: 0, selector: &everything, ..*slice };
        let mut page = match list(if selects_shown { &wider } else { slice }) {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        page.objects = self.all_shown(custom, page.objects).await?;
        if selects_shown {
            select(&mut page, slice, call.kind);
        }
        Ok(Ok(page))
    }

    /// Objects of the cache that match, as they are stored. Where a webhook converts, it is the converted
    /// form that a selector looks at.
    pub(super) async fn matching(
        &self,
        call: &Call<'_>,
        cache: &ResourceCache,
        slice: &Slice<'_>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let Some(custom) = call.kind.strategy.custom().filter(|custom| custom.conversion.is_some()) else {
            return Ok(cache.list(slice, 0).objects);
        };
        let everything = Selector::everything();
        let stored = cache.list(&Slice { selector: &everything, ..*slice }, 0).objects;
        let shown = self.all_shown(custom, stored.clone()).await?;
        let pairs = stored.into_iter().zip(shown);
        let matching = pairs.filter(|(_, shown)| slice.selector.matches_anew(shown, &*call.kind.strategy));
        Ok(matching.map(|(stored, _)| stored).collect())
    }

    async fn all_shown(&self, custom: &CustomKind, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>, Status> {
        self.inner.converter.objects(custom, objects, &custom.api_version).await
    }
}

/// Keeps what is selected, up to the limit.
fn select(page: &mut Page, slice: &Slice<'_>, kind: &Descriptor) {
    page.objects.retain(|object| slice.selector.matches_anew(object, &*kind.strategy));
    page.remaining = None;
    page.more = slice.limit > 0 && page.objects.len() > slice.limit;
    if page.more {
        page.objects.truncate(slice.limit);
    }
}

/// What a watch of a kind that a webhook converts sees: selected by what the webhook makes of objects.
pub(super) struct Conversion {
    converter: Arc<Converter>,
    kind: Descriptor,
    selector: Selector,
}

impl Conversion {
    /// For a watch of `kind`; `None` if no webhook converts it.
    pub(super) fn of(registry: &Registry, kind: &Descriptor, selector: &Selector) -> Option<Self> {
        kind.strategy.custom()?.conversion.as_ref()?;
        let converter = registry.inner.converter.clone();
        Some(Self { converter, kind: kind.clone(), selector: selector.clone() })
    }

    /// Events of all objects as this watch sees them.
    pub(super) async fn events(&self, events: Vec<Seen>) -> Result<Vec<Seen>, Status> {
        let previous = events.iter().map(|seen| seen.previous.clone());
        let previous: Vec<Option<Arc<Object>>> = match self.selector.is_everything() {
            true => events.iter().map(|_| None).collect(),
            false => previous.collect(),
        };
        let objects = events.iter().map(|seen| seen.object.clone()).chain(previous.iter().flatten().cloned());
        let mut shown = self.shown(objects.collect()).await?.into_iter();
        let current: Vec<Arc<Object>> = shown.by_ref().take(events.len()).collect();
        let mut seen = Vec::with_capacity(events.len());
        for ((event, object), previous) in events.into_iter().zip(current).zip(previous) {
            let previous = previous.and_then(|_| shown.next());
            seen.extend(self.see(event.change, object, previous));
        }
        Ok(seen)
    }

    fn see(&self, change: Change, object: Arc<Object>, previous: Option<Arc<Object>>) -> Option<Seen> {
        if self.selector.is_everything() {
            return Some(Seen { change, object, previous });
        }
        let matches = |object: &Arc<Object>| self.selector.matches_anew(object, &*self.kind.strategy);
        let before = previous.as_ref().is_some_and(matches);
        let now = change != Change::Deleted && matches(&object);
        watcher::see(before, now, change, object, previous)
    }

    async fn shown(&self, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>, Status> {
        match self.kind.strategy.custom() {
            Some(custom) => self.converter.objects(custom, objects, &custom.api_version).await,
            None => Ok(objects),
        }
    }
}
