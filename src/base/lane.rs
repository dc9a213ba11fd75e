//! Lanes: blocking work (files, mounts, fsync) runs on tokio's blocking threads, but never more of
//! it at once than its lane is wide, so that a burst of one kind of work cannot starve another.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A bounded way to run blocking closures. Cheap to clone; clones share the bound.
#[derive(Clone)]
pub struct Lane {
    permits: Arc<Semaphore>,
}

impl Lane {
    /// A lane on which at most `width` closures run at once; further ones wait in order.
    pub fn new(width: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(width)) }
    }

    /// Runs `work` on a blocking thread and returns its result. Once started it runs to its end,
    /// also when the caller goes away. A panic in `work` is passed on to the caller.
    #[expect(clippy::disallowed_methods, reason = "this is what everything else uses instead")]
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = self.permits.clone().acquire_owned().await.expect("a lane's semaphore is never closed");
        let handle = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match handle.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn never_runs_more_than_its_width() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let lane = Lane::new(2);
        let work = (0..8).map(|_| {
            lane.run(|| {
                let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
                RUNNING.fetch_sub(1, Ordering::SeqCst);
                running
            })
        });
        let most = futures_util::future::join_all(work).await.into_iter().max();
        assert!(most <= Some(2));
    }
}
