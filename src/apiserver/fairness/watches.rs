//! How many watches a write will have to be told to, by what they are about. Selectors do not
//! count: whether they match must be found out for each of them anyway.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use crate::{
    api::selector::FieldSelector,
    apiserver::{attributes::Attributes, query::Query},
};

/// Open watches by `<group>/<resource>/<namespace>/<name>`.
#[derive(Default)]
pub struct Watches {
    counts: Mutex<HashMap<String, u32>>,
    total: AtomicUsize,
}

/// A watch that is counted as long as this lives.
pub struct Following {
    watches: Arc<Watches>,
    key: String,
}

impl Watches {
    /// Counts a watch. `None` for one that is told of few changes: those of one node's pods.
    pub fn follow(self: &Arc<Self>, request: &Attributes, query: &Query) -> Option<Following> {
        if request.resource == "pods" && request.group.is_empty() {
            let selector = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default()).ok();
            if selector.is_some_and(|fields| fields.exact("spec.nodeName").is_some_and(|node| !node.is_empty())) {
                return None;
            }
        }
        let key = key(request, &request.namespace, &request.name);
        *self.counts.lock().entry(key.clone()).or_default() += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Some(Following { watches: self.clone(), key })
    }

    /// How many watches a write of `request` concerns; 0 if it cannot be `least`.
    pub fn interested(&self, request: &Attributes, least: u32) -> u32 {
        if self.total.load(Ordering::Relaxed) < least as usize {
            return 0;
        }
        let (namespace, name) = (request.namespace.as_str(), request.name.as_str());
        let mut keys = vec![key(request, "", "")];
        if !namespace.is_empty() {
            keys.push(key(request, namespace, ""));
        }
        if !name.is_empty() {
            keys.push(key(request, namespace, name));
        }
        let counts = self.counts.lock();
        keys.iter().map(|key| counts.get(key).copied().unwrap_or_default()).sum()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.watches.total.fetch_sub(1, Ordering::Relaxed);
        let mut counts = self.watches.counts.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

fn key(request: &Attributes, namespace: &str, name: &str) -> String {
    format!("{}/{}/{namespace}/{name}", request.group, request.resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(namespace: &str, name: &str) -> Attributes {
        Attributes { resource: "pods".into(), namespace: namespace.into(), name: name.into(), ..Attributes::default() }
    }

    #[test]
    fn a_write_concerns_the_watches_of_all_its_namespace_and_itself() {
        let watches = Arc::new(Watches::default());
        let none = Query::default();
        let node = Query::parse("fieldSelector=spec.nodeName%3Da");
        let open: Vec<_> = [pods("", ""), pods("a", ""), pods("a", "x"), pods("b", "")]
            .iter()
            .flat_map(|request| watches.follow(request, &none))
            .collect();
        assert!(watches.follow(&pods("", ""), &node).is_none());
        assert_eq!(watches.interested(&pods("a", "x"), 1), 3);
        assert_eq!(watches.interested(&pods("a", ""), 1), 2);
        assert_eq!(watches.interested(&pods("a", "x"), 10), 0);
        drop(open);
        assert!(watches.counts.lock().is_empty());
    }
}
