//! Addresses and ports that a service is given while it is being written: they are its own once it
//! is stored, and free again when it is not, or is deleted.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{Status, decoded::Decoded},
    apiserver::{
        allocator::Allocator,
        registry::{Call, Registry},
    },
};

/// What a write has taken for the object it is about to store. Given back when dropped.
pub(super) struct Claim {
    allocator: Arc<Allocator>,
    new: Value,
    old: Option<Value>,
    stored: bool,
}

impl Claim {
    /// The object was stored: what its earlier state held beyond it is free.
    pub(super) fn keep(mut self) {
        self.stored = true;
        if let Some(old) = &self.old {
            self.allocator.release(old, Some(&self.new));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.stored {
            self.allocator.release(&self.new, self.old.as_ref());
        }
    }
}

impl Registry {
    /// Completes an object that is about to be written; `None` for kinds that are given nothing.
    pub(super) fn claim(
        &self,
        call: &Call<'_>,
        new: &mut Decoded,
        old: Option<&Value>,
    ) -> Result<Option<Claim>, Status> {
        if !is_given_something(call) {
            return Ok(None);
        }
        let allocator = self.inner.allocator.clone();
        allocator.allocate(new.change(), old, &*self.inner.caches)?;
        Ok(Some(Claim { allocator, new: Value::clone(new), old: old.cloned(), stored: false }))
    }

    /// An object was deleted: what it held is free.
    pub(super) fn give_back(&self, call: &Call<'_>, gone: &Value) {
        if is_given_something(call) && !call.dry_run {
            self.inner.allocator.release(gone, None);
        }
    }
}

fn is_given_something(call: &Call<'_>) -> bool {
    call.kind.plural == "services" && call.kind.group.is_empty()
}
