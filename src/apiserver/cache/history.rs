//! How far back lists can be had: as upstream, which compacts its store every five minutes, for five
//! minutes at least. Pages of a list that began earlier go on with what is there now.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{apiserver::cache::Caches, store::Revision};

/// How long an exact revision can be listed.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// How many times meanwhile it is looked at which one is too old.
const STEPS: u32 = 2;

impl Caches {
    /// Lists of earlier revisions are refused.
    pub fn oldest_listed(&self) -> Revision {
        self.oldest_listed.load(Ordering::Acquire)
    }

    /// Lets revisions grow old, for as long as the server runs.
    pub async fn age(self: Arc<Self>) {
        let mut marks = VecDeque::new();
        loop {
            marks.push_back(self.revision());
            if marks.len() > STEPS as usize
                && let Some(old) = marks.pop_front()
            {
                self.oldest_listed.store(old, Ordering::Release);
            }
            tokio::time::sleep(KEPT / STEPS).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::task::Supervisor;

    #[tokio::test(start_paused = true)]
    async fn a_revision_is_listed_for_five_minutes() {
        let caches = Arc::new(Caches::default());
        caches.revision.store(7, Ordering::Release);
        let supervisor = Supervisor::new();
        supervisor.spawn("history", caches.clone().age());
        tokio::time::sleep(KEPT - Duration::from_secs(1)).await;
        assert_eq!(caches.oldest_listed(), 0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(caches.oldest_listed(), 7);
        supervisor.token().cancel();
    }
}
