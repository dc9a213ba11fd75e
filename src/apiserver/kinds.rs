//! What is served, and the documents that follow from it: the built-in kinds for good, those of
//! definitions and the group versions of servers behind this one as long as they are there. Readers
//! take a snapshot and never wait.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{
    api::kind::Descriptor,
    apiserver::{
        attributes::Attributes,
        discovery::catalog::Remote,
        openapi::{handler::OpenApiHandler, remote::RemoteDocument},
        routes::discovery::Documents,
    },
};

/// Everything that is served.
pub struct Kinds {
    built_in: Vec<Descriptor>,
    changing: Mutex<Changing>,
    current: ArcSwap<Snapshot>,
    openapi: Arc<OpenApiHandler>,
    /// `host:port` at which clients reach the server.
    address: String,
}

/// What comes and goes.
#[derive(Default)]
struct Changing {
    custom: Vec<Descriptor>,
    remotes: Vec<Remote>,
}

/// What is served at one moment.
pub struct Snapshot {
    /// Built-in kinds, then those of definitions.
    pub kinds: Vec<Descriptor>,
    /// Discovery.
    pub documents: Documents,
}

impl Kinds {
    /// Serves `built_in` kinds. `openapi` is told of changes.
    pub fn new(built_in: Vec<Descriptor>, address: String, openapi: Arc<OpenApiHandler>) -> Self {
        let documents = Documents::new(&built_in, &[], &address);
        let current = ArcSwap::from_pointee(Snapshot { kinds: built_in.clone(), documents });
        Self { built_in, changing: Mutex::default(), current, openapi, address }
    }

    /// Serves `custom` kinds beside the built-in ones, in the place of those that were served before.
    /// A built-in kind is never replaced.
    pub fn serve(&self, custom: &[Descriptor]) {
        let is_new =
            |kind: &&Descriptor| !self.built_in.iter().any(|known| known.group_resource() == kind.group_resource());
        let mut changing = self.changing.lock();
        changing.custom = custom.iter().filter(is_new).cloned().collect();
        self.openapi.serve(self.all(&changing));
        self.publish(&changing);
    }

    /// Shows these group versions of servers behind this one, in the place of those that were shown
    /// before.
    pub fn aggregate(&self, remotes: Vec<Remote>, documents: Vec<RemoteDocument>) {
        let mut changing = self.changing.lock();
        self.openapi.aggregate(documents);
        if changing.remotes != remotes {
            changing.remotes = remotes;
            self.publish(&changing);
        }
    }

    /// The kinds that are part of the program.
    pub fn built_in(&self) -> &[Descriptor] {
        &self.built_in
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

    fn all(&self, changing: &Changing) -> Vec<Descriptor> {
        self.built_in.iter().chain(&changing.custom).cloned().collect()
    }

    fn publish(&self, changing: &Changing) {
        let kinds = self.all(changing);
        let documents = Documents::new(&kinds, &changing.remotes, &self.address);
        self.current.store(Arc::new(Snapshot { kinds, documents }));
    }
}
