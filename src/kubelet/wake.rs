//! How a pod's worker is woken: flags and one notification, so that a hundred nudges while it is
//! busy cost one more round.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// Wakes a worker. Cheap to clone.
#[derive(Clone, Default)]
pub struct Wake {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    notify: Notify,
    objects_changed: AtomicBool,
}

impl Wake {
    /// Something changed; look again.
    pub fn nudge(&self) {
        self.inner.notify.notify_one();
    }

    /// An object that the pod uses has changed.
    pub fn objects_changed(&self) {
        self.inner.objects_changed.store(true, Ordering::Release);
        self.nudge();
    }

    /// Waits for the next nudge, or returns at once if there was one.
    pub async fn woken(&self) {
        self.inner.notify.notified().await;
    }

    /// Whether an object has changed since this was last asked.
    pub fn take_objects_changed(&self) -> bool {
        self.inner.objects_changed.swap(false, Ordering::AcqRel)
    }
}
