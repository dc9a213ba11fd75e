//! The kinds that are served, and the documents that follow from them: the built-in ones for good,
//! those of definitions as long as these are there. Readers take a snapshot and never wait.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    api::kind::Descriptor,
    apiserver::{attributes::Attributes, openapi::handler::OpenApiHandler, routes::discovery::Documents},
};

/// All kinds that are served.
pub struct Kinds {
    built_in: Vec<Descriptor>,
    current: ArcSwap<Snapshot>,
    openapi: Arc<OpenApiHandler>,
    /// `host:port` at which clients reach the server.
    address: String,
}

/// The kinds at one moment.
pub struct Snapshot {
    /// Built-in kinds, then those of definitions.
    pub kinds: Vec<Descriptor>,
    /// Discovery.
    pub documents: Documents,
}

impl Kinds {
    /// Serves `built_in` kinds. `openapi` is told of changes.
    pub fn new(built_in: Vec<Descriptor>, address: String, openapi: Arc<OpenApiHandler>) -> Self {
        let current = ArcSwap::from_pointee(Snapshot::new(built_in.clone(), &address));
        Self { built_in, current, openapi, address }
    }

    /// Serves `custom` kinds beside the built-in ones, in the place of those that were served before.
    /// A built-in kind is never replaced.
    pub fn serve(&self, custom: &[Descriptor]) {
        let mut kinds = self.built_in.clone();
        let is_new =
            |kind: &&Descriptor| !self.built_in.iter().any(|known| known.group_resource() == kind.group_resource());
        kinds.extend(custom.iter().filter(is_new).cloned());
        self.openapi.serve(kinds.clone());
        self.current.store(Arc::new(Snapshot::new(kinds, &self.address)));
    }

    /// The kinds as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The kind that a request is about.
    pub fn of(&self, attributes: &Attributes) -> Option<Descriptor> {
        let wanted = |kind: &&Descriptor| {
            kind.plural == attributes.resource && kind.group == attributes.group && kind.version == attributes.version
        };
        self.current.load().kinds.iter().find(wanted).cloned()
    }

    /// The preferred version of a resource.
    pub fn resource(&self, group: &str, plural: &str) -> Option<Descriptor> {
        let wanted = |kind: &&Descriptor| kind.plural == plural && kind.group == group;
        self.current.load().kinds.iter().find(wanted).cloned()
    }
}

impl Snapshot {
    fn new(kinds: Vec<Descriptor>, address: &str) -> Self {
        let documents = Documents::new(&kinds, address);
        Self { kinds, documents }
    }
}
