//! Annotations of a request, for the audit log: what admission has to say about it that is not for
//! the client.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Annotations of one request, gathered on the way.
#[derive(Debug, Default)]
pub struct Annotations(Mutex<BTreeMap<String, String>>);

impl Annotations {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Adds an annotation; whoever came first with its key has said it.
    pub fn add(&self, key: String, value: String) {
        self.0.lock().entry(key).or_insert(value);
    }

    /// Takes all there are.
    pub fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.0.lock())
    }
}
