//! The requests that wait or are served at the moment, for those who ask about them.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    queues::{Execution, Place, Work},
    schema::Schema,
};
use crate::apiserver::attributes::Attributes;

/// All of them.
#[derive(Default)]
pub struct Visitors(Mutex<Present>);

#[derive(Default)]
struct Present {
    last: u64,
    all: HashMap<u64, Arc<Visitor>>,
}

/// One request.
pub struct Visitor {
    /// What it was taken for.
    pub schema: Arc<Schema>,
    /// What it is.
    pub request: Arc<Attributes>,
    /// What it needs.
    pub work: Work,
    /// When it came.
    pub arrived: Timestamp,
    /// Where it waits, or has waited.
    pub place: OnceLock<Place>,
    /// Since when it is served.
    pub served: OnceLock<(Timestamp, Execution)>,
}

/// Keeps a request among those that are there.
pub struct Presence {
    visitors: Arc<Visitors>,
    number: u64,
    /// The request.
    pub visitor: Arc<Visitor>,
}

impl Visitors {
    /// Lets a request be among them.
    pub fn enter(self: &Arc<Self>, schema: Arc<Schema>, request: Arc<Attributes>, work: Work) -> Presence {
        let (place, served) = (OnceLock::new(), OnceLock::new());
        let visitor = Arc::new(Visitor { schema, request, work, arrived: Timestamp::now(), place, served });
        let mut present = self.0.lock();
        present.last += 1;
        let number = present.last;
        present.all.insert(number, visitor.clone());
        Presence { visitors: self.clone(), number, visitor }
    }

    /// Those that are there now.
    pub fn all(&self) -> Vec<Arc<Visitor>> {
        self.0.lock().all.values().cloned().collect()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.visitors.0.lock().all.remove(&self.number);
    }
}
