//! Which requests are served by a handler of their own instead of the generic registry.

use std::{collections::HashMap, sync::Arc};

use crate::apiserver::{attributes::Attributes, handler::Handler};

/// Handlers by resource and by path. Filled before serving starts.
#[derive(Default)]
pub struct Handlers {
    resources: HashMap<(String, String, String), Arc<dyn Handler>>,
    paths: Vec<(String, Arc<dyn Handler>)>,
}

impl Handlers {
    /// Serves all requests for a resource (`subresource` empty) or for one of its subresources.
    pub fn resource(&mut self, group: &str, resource: &str, subresource: &str, handler: Arc<dyn Handler>) {
        self.resources.insert((group.to_owned(), resource.to_owned(), subresource.to_owned()), handler);
    }

    /// Serves `prefix` and all paths below it.
    pub fn path(&mut self, prefix: &str, handler: Arc<dyn Handler>) {
        self.paths.push((prefix.trim_end_matches('/').to_owned(), handler));
        // The longest prefix wins.
        self.paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    }

    /// The handler of a request, if it has one.
    pub fn find(&self, attributes: &Attributes) -> Option<Arc<dyn Handler>> {
        if attributes.is_resource() {
            let Attributes { group, resource, subresource, .. } = attributes;
            return self.resources.get(&(group.clone(), resource.clone(), subresource.clone())).cloned();
        }
        let below = |prefix: &str| match attributes.path.strip_prefix(prefix) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        self.paths.iter().find(|(prefix, _)| below(prefix)).map(|(_, handler)| handler.clone())
    }
}
