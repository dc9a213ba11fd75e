//! What the results of jobs and probes change in the record.

use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerStateTerminated;
use tokio::time::Instant;

use super::{Outcome, Worker};
use crate::{
    base::backoff::Backoff,
    client::events::Type,
    kubelet::{
        RETRY_PERIOD,
        jobs::{self, report, sandbox, start},
        names, plan,
        probe::{Kind, run::Verdict},
        pull::Failure,
        record::{CRASH_FIRST, CRASH_LIMIT, Instance, Operation, Sandbox, State, Volumes, Waiting},
    },
};

/// How long a fresh failure is shown before its back-off: upstream's next look at the pod.
const FAILURE_SHOWN: Duration = Duration::from_secs(2);

impl Worker {
    pub(super) fn take_in(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Mounted(result) => self.mounted(result),
            Outcome::Sandbox(result) => self.sandbox_made(result),
            Outcome::SandboxLost(id) => self.sandbox_lost(&id),
            Outcome::Started(name, attempt, outcome) => self.started(&name, attempt, outcome),
            Outcome::PostStart(name, id, result) => self.post_start_ended(&name, &id, result),
            Outcome::Exited(name, id, terminated) => self.exited(&name, &id, terminated),
            Outcome::Stopped(name) => self.stopped(&name),
            Outcome::BackOff(name, reason, message) => self.show_back_off(&name, reason, message),
            Outcome::TornDown(result) => self.torn_down(result),
            Outcome::Reported(outcome) => self.reported(outcome),
            Outcome::Deleted(outcome) => self.deleted(outcome),
            Outcome::Kept => self.report.kept(),
        }
    }

    pub(super) fn take_verdict(&mut self, verdict: Verdict) {
        let name = &verdict.container;
        let grace = self.container(name).and_then(|container| {
            let seconds = verdict.kind.of(&container)?.termination_grace_period_seconds?;
            Some(Duration::from_secs(seconds.max(1).unsigned_abs()))
        });
        let known = self.record.container(name);
        let current =
            known.instance.as_ref().is_some_and(|instance| instance.is_running() && instance.id == verdict.id);
        if !current {
            return;
        }
        match (verdict.kind, verdict.good) {
            (Kind::Readiness, good) => known.ready = good,
            (Kind::Startup, true) => {
                known.started = true;
                let name = name.clone();
                self.start_probes(&name);
            }
            (Kind::Liveness, true) => {}
            (Kind::Startup | Kind::Liveness, false) => {
                let kind = verdict.kind.as_str().to_lowercase();
                known.restart_reason = Some(format!("Container {name} failed {kind} probe, will be restarted"));
                self.probes.set_grace(name, grace);
            }
        }
    }

    fn mounted(&mut self, result: Result<Option<Instant>, String>) {
        let again = std::mem::take(&mut self.volumes_changed).then(Instant::now);
        let later = Instant::now() + RETRY_PERIOD;
        let were_there = matches!(self.record.volumes, Volumes::Mounted { .. });
        self.record.volumes = match result {
            Ok(refresh_at) => Volumes::Mounted { refresh_at: again.or(refresh_at) },
            Err(message) => {
                self.shared.event(&self.pod, Type::Warning, "FailedMount", message);
                let retry_at = again.unwrap_or(later);
                // What containers have mounted stays as it was.
                if were_there { Volumes::Mounted { refresh_at: Some(retry_at) } } else { Volumes::Failed { retry_at } }
            }
        };
    }

    fn sandbox_made(&mut self, result: Result<sandbox::Ready, String>) {
        match result {
            Ok(sandbox::Ready { id, netns, addresses }) => {
                self.watch_sandbox(id.clone());
                self.record.sandbox = Sandbox::Ready { id, netns, addresses };
            }
            Err(message) => {
                let note = format!("Failed to create pod sandbox: {message}");
                self.shared.event(&self.pod, Type::Warning, "FailedCreatePodSandBox", note);
                self.record.sandbox = Sandbox::Failed { retry_at: Instant::now() + RETRY_PERIOD };
            }
        }
    }

    /// The shim has died, and with it all containers: they start over in a new one.
    fn sandbox_lost(&mut self, id: &str) {
        if self.record.sandbox_id() != Some(id) {
            return;
        }
        let note = "Pod sandbox changed, it will be killed and re-created.";
        self.shared.event(&self.pod, Type::Normal, "SandboxChanged", note);
        self.probes.clear();
        let mut instances = Vec::new();
        for known in self.record.containers.values_mut() {
            instances.extend(known.instance.as_ref().map(|instance| instance.id.clone()));
            known.lose();
        }
        self.record.sandbox = Sandbox::Creating;
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.job(async move {
            let removed = shared.containers.remove_sandbox(names::uid(&pod)).await;
            for id in &instances {
                if let Err(error) = shared.images.unmount(id).await {
                    tracing::debug!(container = id, error = %error, "root file system not removed");
                }
            }
            match removed {
                Ok(()) => Outcome::Sandbox(sandbox::run(shared, pod).await),
                Err(error) => Outcome::Sandbox(Err(error.to_string())),
            }
        });
    }

    fn started(&mut self, name: &str, attempt: i32, outcome: start::Outcome) {
        match outcome {
            start::Outcome::Started(instance) => {
                self.install(name, attempt, instance);
                self.watch_container(name);
                self.post_start(name);
                self.start_probes(name);
            }
            start::Outcome::Stillborn(instance, failure) => {
                self.install(name, attempt, instance);
                let known = self.record.container(name);
                let delay = known.crash.on_exit(Instant::now());
                known.retry_at = Some(Instant::now() + delay);
                self.show_failure(name, &failure);
                if !delay.is_zero() {
                    let message = self.crash_message(name, delay);
                    self.back_off_later(name, "CrashLoopBackOff", message);
                }
            }
            start::Outcome::Failed(failure) => self.failed_to_start(name, &failure),
        }
    }

    /// A new run takes the place of the one before.
    fn install(&mut self, name: &str, attempt: i32, instance: Instance) {
        let container = self.container(name);
        let has = |kind: Kind| container.as_ref().is_some_and(|container| kind.of(container).is_some());
        let (started, ready) = (!has(Kind::Startup), !has(Kind::Readiness));
        self.pulls.remove(name);
        let known = self.record.container(name);
        if let Some(before) = known.instance.replace(instance) {
            known.crash.on_restart(Instant::now());
            known.last_id = Some(before.id.clone());
            known.last = before.terminated().cloned();
        }
        known.restarts = attempt;
        known.operation = Operation::Idle;
        known.waiting = None;
        known.restart_reason = None;
        (known.started, known.ready) = (started, ready);
    }

    fn post_start(&mut self, name: &str) {
        let Some(container) = self.container(name) else { return };
        let handler = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
        let address = self.sandbox().and_then(|sandbox| sandbox.addresses.first().copied());
        let known = self.record.container(name);
        let (Some(handler), Some(instance)) = (handler, known.instance.as_ref()) else { return };
        let (id, name) = (instance.id.clone(), name.to_owned());
        known.operation = Operation::PostStart;
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.job(async move {
            let ended = jobs::hook::run(&shared, &pod, &container, &id, address, &handler, HOOK_LIMIT).await;
            Outcome::PostStart(name, id, ended)
        });
    }

    fn post_start_ended(&mut self, name: &str, id: &str, result: Result<(), String>) {
        let known = self.record.container(name);
        let current = known.instance.as_ref().is_some_and(|instance| instance.id == id);
        if !current || known.operation != Operation::PostStart {
            return;
        }
        known.operation = Operation::Idle;
        if let Err(message) = result {
            tracing::debug!(pod = names::full(&self.pod), container = name, message, "postStart hook failed");
            known.restart_reason = Some("FailedPostStartHook".to_owned());
            self.shared.container_event(&self.pod, name, Type::Warning, "FailedPostStartHook", "PostStartHook failed");
        }
    }

    fn failed_to_start(&mut self, name: &str, failure: &Failure) {
        if self.cancel_pulls.is_cancelled() {
            self.record.container(name).operation = Operation::Idle;
            return;
        }
        self.show_failure(name, failure);
        let mut delay = RETRY_PERIOD;
        if failure.is_pull() {
            let backoff = self.pulls.entry(name.to_owned()).or_insert_with(|| Backoff::new(CRASH_FIRST, CRASH_LIMIT));
            delay = backoff.next_delay();
            let image = self.container(name).and_then(|container| container.image).unwrap_or_default();
            self.back_off_later(name, "ImagePullBackOff", format!("Back-off pulling image \"{image}\": {failure}"));
        }
        self.record.container(name).retry_at = Some(Instant::now() + delay);
    }

    fn show_failure(&mut self, name: &str, failure: &Failure) {
        let known = self.record.container(name);
        known.operation = Operation::Idle;
        known.waiting = Some(Waiting { reason: failure.reason.to_owned(), message: failure.message.clone() });
    }

    fn back_off_later(&mut self, name: &str, reason: &'static str, message: String) {
        let name = name.to_owned();
        self.job(async move {
            tokio::time::sleep(FAILURE_SHOWN).await;
            Outcome::BackOff(name, reason, message)
        });
    }

    fn show_back_off(&mut self, name: &str, reason: &'static str, message: String) {
        let known = self.record.container(name);
        if known.waiting.is_none() || known.operation != Operation::Idle {
            return;
        }
        known.waiting = Some(Waiting { reason: reason.to_owned(), message });
        let image = self.container(name).and_then(|container| container.image).unwrap_or_default();
        if reason == "ImagePullBackOff" {
            let note = format!("Back-off pulling image \"{image}\"");
            self.shared.container_event(&self.pod, name, Type::Normal, "BackOff", note);
            self.shared.container_event(&self.pod, name, Type::Warning, "Failed", "Error: ImagePullBackOff");
        }
    }

    fn exited(&mut self, name: &str, id: &str, terminated: ContainerStateTerminated) {
        let restarts = self.pod.spec.as_ref().is_some_and(|spec| {
            self.container(name).is_some_and(|container| plan::is_restarted(spec, &container, &terminated))
        });
        let known = self.record.container(name);
        let Some(instance) = known.instance.as_mut().filter(|instance| instance.id == id) else { return };
        instance.state = State::Exited(terminated);
        known.operation = Operation::Idle;
        known.restart_reason = None;
        (known.started, known.ready) = (false, false);
        self.probes.stop(name);
        if !restarts || self.is_deleted() {
            return;
        }
        let known = self.record.container(name);
        let delay = known.crash.on_exit(Instant::now());
        known.retry_at = Some(Instant::now() + delay);
        if !delay.is_zero() {
            let message = self.crash_message(name, delay);
            self.record.container(name).waiting = Some(Waiting { reason: "CrashLoopBackOff".into(), message });
            let note = format!("Back-off restarting failed container {name} in pod {}", names::full(&self.pod));
            self.shared.container_event(&self.pod, name, Type::Warning, "BackOff", note);
        }
    }

    fn crash_message(&self, name: &str, delay: Duration) -> String {
        let (minutes, seconds) = (delay.as_secs() / 60, delay.as_secs() % 60);
        let shown = if minutes > 0 { format!("{minutes}m{seconds}s") } else { format!("{seconds}s") };
        format!("back-off {shown} restarting failed container={name} pod={}", names::full(&self.pod))
    }

    fn stopped(&mut self, name: &str) {
        let known = self.record.container(name);
        // Its end may be known already, or be on its way: then that settles the operation.
        if known.operation == Operation::Stopping && !known.is_running() {
            known.operation = Operation::Idle;
        }
    }

    fn torn_down(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.record.sandbox = Sandbox::Removed;
                self.record.volumes = Volumes::Unmounted;
            }
            Err(error) => {
                tracing::warn!(pod = names::full(&self.pod), error, "pod not removed, trying again");
                let (shared, pod) = (self.shared.clone(), self.pod.clone());
                let instances = self.instances();
                self.job(async move {
                    tokio::time::sleep(RETRY_PERIOD).await;
                    Outcome::TornDown(jobs::teardown::run(shared, pod, instances).await)
                });
            }
        }
    }

    fn deleted(&mut self, outcome: report::Outcome) {
        self.report.delete_ended();
        match outcome {
            report::Outcome::Failed(error) => self.report.failed(&error),
            _ => self.forgotten = true,
        }
    }
}

/// Hooks have no limit of their own; this one is only there to be finite.
const HOOK_LIMIT: Duration = Duration::from_secs(24 * 3600);
