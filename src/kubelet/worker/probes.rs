//! The probes of a pod's containers, started and stopped with them.

use std::{collections::HashMap, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::kubelet::probe::{
    Kind,
    run::{self, Verdict},
};

/// What runs.
pub(super) struct Probes {
    sender: mpsc::Sender<Verdict>,
    running: HashMap<(String, Kind), CancellationToken>,
    grace: HashMap<String, Duration>,
}

impl Probes {
    pub(super) fn new(sender: mpsc::Sender<Verdict>) -> Self {
        Self { sender, running: HashMap::new(), grace: HashMap::new() }
    }

    /// Ends all probes of a container but the readiness probe's last word.
    pub(super) fn stop(&mut self, container: &str) {
        self.running.retain(|(name, _), token| {
            let other = name != container;
            if !other {
                token.cancel();
            }
            other
        });
    }

    /// Ends all.
    pub(super) fn clear(&mut self) {
        self.running.drain().for_each(|(_, token)| token.cancel());
    }

    /// Keeps the grace period that a failed probe asks for.
    pub(super) fn set_grace(&mut self, container: &str, grace: Option<Duration>) {
        match grace {
            Some(grace) => self.grace.insert(container.to_owned(), grace),
            None => self.grace.remove(container),
        };
    }

    /// The grace period of the next stop, if a probe asked for one.
    pub(super) fn grace(&mut self, container: &str) -> Option<Duration> {
        self.grace.remove(container)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Worker {
    /// Starts what may run now: the startup probe alone, or the others once it has passed.
    pub(super) fn start_probes(&mut self, name: &str) {
        let started = self.record.container(name).started;
        let kinds: &[Kind] = if started { &[Kind::Liveness, Kind::Readiness] } else { &[Kind::Startup] };
        for kind in kinds {
            self.start_probe(name, *kind);
        }
    }

    fn start_probe(&mut self, name: &str, kind: Kind) {
        let Some(container) = self.container(name).filter(|container| kind.of(container).is_some()) else { return };
        let address = self.sandbox().and_then(|sandbox| sandbox.addresses.first().copied());
        let Some(instance) = self.record.container(name).instance.as_ref() else { return };
        let request = run::Request {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            container,
            id: instance.id.clone(),
            address,
            kind,
            verdicts: self.probes.sender.clone(),
        };
        let token = CancellationToken::new();
        if let Some(before) = self.probes.running.insert((name.to_owned(), kind), token.clone()) {
            before.cancel();
        }
        self.shared.supervisor.spawn("probe", async move {
            token.run_until_cancelled(run::run(request)).await;
        });
    }
}
