//! When the worker writes: one status patch at a time, of whatever is newest, tried again with
//! back-off for as long as the server is away; and the node's own copy beside it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::time::Instant;

use super::{Outcome, Worker};
use crate::{
    base::backoff::Backoff,
    kubelet::{
        jobs::{checkpoint, report},
        names,
        record::Sandbox,
        status::writer,
    },
};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

pub(super) struct Reporting {
    written: Option<Arc<Pod>>,
    /// What was last asked for, until the API has answered.
    asked: Option<PodStatus>,
    refused: Option<Refused>,
    in_flight: bool,
    deleting: bool,
    keeping: bool,
    kept: Option<(Arc<Pod>, PodStatus)>,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

/// A status that the API took otherwise than it was asked for: it is not asked again and again, but
/// when either the wish or the object has changed.
struct Refused {
    wanted: PodStatus,
    version: u64,
}

impl Default for Reporting {
    fn default() -> Self {
        Self {
            written: None,
            asked: None,
            refused: None,
            in_flight: false,
            deleting: false,
            keeping: false,
            kept: None,
            backoff: Backoff::new(FIRST_RETRY, LONGEST_RETRY),
            retry_at: None,
        }
    }
}

impl Reporting {
    /// The pod with the newest status the API is known to have: what the watch brought, or the
    /// answer to the last patch, whichever is newer.
    pub(super) fn base(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        match &self.written {
            Some(written) if version(written) > version(pod) => {
                let mut newest = Pod::clone(pod);
                newest.status.clone_from(&written.status);
                Arc::new(newest)
            }
            _ => pod.clone(),
        }
    }

    /// Notes the pod as it is after a patch, and whether it is as asked.
    fn answered(&mut self, pod: Pod) {
        let asked = self.asked.take().filter(|asked| writer::patch(&pod, asked).is_some());
        self.refused = asked.map(|wanted| Refused { wanted, version: version(&pod) });
        if let Some(refused) = &self.refused {
            tracing::debug!(version = refused.version, "the API keeps another status than was written");
        }
        self.written = Some(Arc::new(pod));
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn failed(&mut self, error: &str) {
        let delay = self.backoff.next_delay_jittered();
        tracing::debug!(error, ?delay, "status not written");
        self.retry_at = Some(Instant::now() + delay);
    }

    pub(super) fn kept(&mut self) {
        self.keeping = false;
    }

    /// Whether the node's copy is being written: it would come back if it were removed meanwhile.
    pub(super) fn is_keeping(&self) -> bool {
        self.keeping
    }

    pub(super) fn delete_ended(&mut self) {
        self.deleting = false;
    }

    fn is_refused(&self, base: &Pod, wanted: &PodStatus) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.version == version(base) && refused.wanted == *wanted)
    }

    fn may_write(&mut self) -> bool {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
        }
        !self.in_flight && !self.deleting && self.retry_at.is_none()
    }
}

impl Worker {
    /// Starts whatever has to be written and is not being written yet.
    pub(super) fn report(&mut self) {
        let wanted = self.status();
        self.keep(&wanted);
        if self.gone || !self.report.may_write() {
            return;
        }
        let base = self.report.base(&self.pod);
        let shared = self.shared.clone();
        if writer::patch(&base, &wanted).is_some() && !self.report.is_refused(&base, &wanted) {
            self.report.in_flight = true;
            self.report.asked = Some(wanted.clone());
            self.job(async move { Outcome::Reported(report::status(shared, base, wanted).await) });
        } else if self.record.sandbox == Sandbox::Removed && self.is_deleted() && !self.forgotten {
            self.report.deleting = true;
            let pod = self.pod.clone();
            self.job(async move { Outcome::Deleted(report::delete(shared, pod).await) });
        }
    }

    pub(super) fn reported(&mut self, outcome: report::Outcome) {
        self.report.in_flight = false;
        match outcome {
            report::Outcome::Written(pod) => {
                self.report.backoff.reset();
                self.report.answered(*pod);
            }
            report::Outcome::Unchanged => {}
            // The watch will say so too; until then there is nobody to tell.
            report::Outcome::Gone => self.report.failed("the pod is gone"),
            report::Outcome::Failed(error) => self.report.failed(&error),
        }
    }

    fn keep(&mut self, status: &PodStatus) {
        let is_kept =
            self.report.kept.as_ref().is_some_and(|(pod, kept)| Arc::ptr_eq(pod, &self.pod) && kept == status);
        if is_kept || self.report.keeping || self.gone || self.forgotten {
            return;
        }
        self.report.keeping = true;
        self.report.kept = Some((self.pod.clone(), status.clone()));
        let mut pod = Pod::clone(&self.pod);
        pod.status = Some(status.clone());
        // What changes with every write of anybody's says nothing about how to run the pod.
        pod.metadata.managed_fields = None;
        pod.metadata.resource_version = None;
        let directory = names::directory(&self.shared.config, names::uid(&pod));
        let lane = self.shared.lane.clone();
        self.job(async move {
            lane.run(move || checkpoint::save_pod(&directory, &pod)).await;
            Outcome::Kept
        });
    }
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
