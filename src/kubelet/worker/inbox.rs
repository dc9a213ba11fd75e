//! What a pod's worker is told from outside: the newest version of its pod, and that it is gone.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::kubelet::wake::Wake;

/// One worker's inbox. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    slot: Arc<Mutex<Slot>>,
    /// Wakes the worker.
    pub wake: Wake,
}

struct Slot {
    pod: Option<Arc<Pod>>,
    gone: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { slot: Arc::new(Mutex::new(Slot { pod: None, gone: false })), wake: Wake::default() }
    }
}

impl Inbox {
    /// The pod is as it is now in the API.
    pub fn set(&self, pod: Arc<Pod>) {
        self.slot.lock().pod = Some(pod);
        self.wake.nudge();
    }

    /// The API does not have the pod any more.
    pub fn set_gone(&self) {
        self.slot.lock().gone = true;
        self.wake.nudge();
    }

    /// The newest version, if it came since this was last asked, and whether the pod is gone.
    pub fn take(&self) -> (Option<Arc<Pod>>, bool) {
        let mut slot = self.slot.lock();
        (slot.pod.take(), slot.gone)
    }
}
