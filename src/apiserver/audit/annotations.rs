//! Annotations of the request that is being served: whoever decides something about it on the way
//! says so with [`annotate`], without having to be handed anything.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use parking_lot::Mutex;

/// Annotations that one event carries at most.
const LIMIT: usize = 256;

/// Annotations of one request. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Annotations(Arc<Mutex<BTreeMap<String, String>>>);

tokio::task_local! {
    static CURRENT: Option<Annotations>;
}

impl Annotations {
    /// Those there are.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.0.lock().clone()
    }

    /// Adds an annotation; one that is there already stays.
    pub fn add(&self, key: impl Into<String>, value: impl Into<String>) {
        let mut annotations = self.0.lock();
        if annotations.len() < LIMIT {
            annotations.entry(key.into()).or_insert_with(|| value.into());
        }
    }
}

/// Lets what `served` says with [`annotate`] go to `annotations`, or nowhere.
pub async fn within<F: Future>(annotations: Option<Annotations>, served: F) -> F::Output {
    CURRENT.scope(annotations, served).await
}

/// Annotates the event of the request that is being served, if it is recorded. `value`, which may be
/// `None` for nothing, is asked for only then.
pub fn annotate<V: Into<Option<String>>>(key: &str, value: impl FnOnce() -> V) {
    let _ = CURRENT.try_with(|current| {
        if let Some(annotations) = current
            && let Some(value) = value().into()
        {
            annotations.add(key, value);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn annotations_belong_to_the_request_they_were_made_in() {
        let outer = Annotations::default();
        within(Some(outer.clone()), async {
            annotate("a", || "1".to_owned());
            annotate("a", || "2".to_owned());
            annotate("n", || None);
            within(None, async { annotate("b", || -> String { unreachable!("nobody listens") }) }).await;
        })
        .await;
        annotate("c", || "nobody listens".to_owned());
        assert_eq!(outer.all(), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    }
}
