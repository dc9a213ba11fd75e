//! What admission has to say to the audit log about a request. It travels with the request's
//! attributes, so that whoever writes the log finds it there.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Most annotations of one request.
const LIMIT: usize = 256;

/// Annotations of one request by their keys. Clones are the same annotations.
#[derive(Debug, Clone, Default)]
pub struct Annotations(Arc<Mutex<BTreeMap<String, String>>>);

impl Annotations {
    /// Adds an annotation. The first one of a key stays, as upstream has it.
    pub fn add(&self, key: String, value: String) {
        let mut all = self.0.lock();
        if all.len() < LIMIT {
            all.entry(key).or_insert(value);
        }
    }

    /// All there are.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.0.lock().clone()
    }
}
