//! Where pods come from: the API's watch of those bound to this node, and before it answers, the
//! node's own disk. It starts a worker per pod and hands on what happens to its pod.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::sync::mpsc;

use crate::kubelet::{
    names,
    record::{Record, Sandbox},
    recovery::Known,
    shared::Shared,
    worker::{Worker, inbox::Inbox},
};

/// Workers that have ended and wait to be forgotten.
const ENDED_LIMIT: usize = 256;
/// How long the API may take to confirm the pods of before: after that they are started without it.
/// A server that is unreachable, rather than down, does not even refuse.
const CONFIRMATION_TIME: Duration = Duration::from_secs(5);

/// Starts workers and keeps their inboxes.
pub struct Source {
    shared: Arc<Shared>,
    workers: HashMap<String, Inbox>,
    /// Pods from the disk that do not run: started when the API confirms them, or is away.
    waiting: HashMap<String, Known>,
    listed: Option<HashSet<String>>,
    ended: mpsc::Sender<String>,
}

/// Follows the pods of this node for as long as the process lives.
pub async fn run(shared: Arc<Shared>, known: Vec<Known>) {
    let api: Api<Pod> = Api::all(shared.client.clone());
    let selector = format!("spec.nodeName={}", shared.config.node_name);
    let events = watcher::watcher(api, watcher::Config::default().fields(&selector)).default_backoff();
    pin_mut!(events);
    let (ended, mut ends) = mpsc::channel(ENDED_LIMIT);
    let mut source = Source { shared, workers: HashMap::new(), waiting: HashMap::new(), listed: None, ended };
    source.resume(known);
    let patience = tokio::time::sleep(CONFIRMATION_TIME);
    pin_mut!(patience);
    loop {
        tokio::select! {
            () = &mut patience, if !source.waiting.is_empty() => source.run_what_is_known(),
            event = events.next() => match event {
                Some(Ok(event)) => source.take(event),
                Some(Err(error)) => {
                    tracing::debug!(error = crate::base::log::chain(&error), "the API does not answer");
                    source.run_what_is_known();
                }
                None => return,
            },
            Some(uid) = ends.recv() => {
                source.workers.remove(&uid);
            }
        }
    }
}

impl Source {
    /// Pods that run are looked after at once; others wait for the API's word.
    fn resume(&mut self, known: Vec<Known>) {
        for known in known {
            if matches!(known.record.sandbox, Sandbox::Ready { .. }) {
                self.start(Inbox::default(), known.pod, known.record);
            } else {
                self.waiting.insert(names::uid(&known.pod).to_owned(), known);
            }
        }
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed = Some(HashSet::new()),
            Event::InitApply(pod) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(names::uid(&pod).to_owned());
                }
                self.apply(pod);
            }
            Event::InitDone => self.forget_unlisted(),
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.delete(pod),
        }
    }

    fn apply(&mut self, mut pod: Pod) {
        // Of no use here, and often larger than all the rest.
        pod.metadata.managed_fields = None;
        let pod = Arc::new(pod);
        let uid = names::uid(&pod);
        if let Some(inbox) = self.workers.get(uid) {
            inbox.set(pod);
            return;
        }
        let record = match self.waiting.remove(uid) {
            Some(known) => known.record,
            None => Record::from_status(&pod, Timestamp::now()),
        };
        self.start(Inbox::default(), pod, record);
    }

    fn delete(&mut self, mut pod: Pod) {
        pod.metadata.managed_fields = None;
        if let Some(inbox) = self.workers.get(names::uid(&pod)) {
            inbox.set(Arc::new(pod));
            inbox.set_gone();
        }
    }

    /// After a full list, whatever was not in it has been deleted while nobody watched.
    fn forget_unlisted(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        for (_, known) in self.waiting.drain().collect::<Vec<_>>() {
            // Told before it starts: otherwise it would begin to run what is to be removed.
            let inbox = Inbox::default();
            inbox.set_gone();
            self.start(inbox, known.pod, known.record);
        }
        for (_, inbox) in self.workers.iter().filter(|(uid, _)| !listed.contains(*uid)) {
            inbox.set_gone();
        }
    }

    /// The API is away: the pods this node had are what it runs until it hears otherwise.
    fn run_what_is_known(&mut self) {
        for (_, known) in self.waiting.drain().collect::<Vec<_>>() {
            self.start(Inbox::default(), known.pod, known.record);
        }
    }

    fn start(&mut self, inbox: Inbox, pod: Arc<Pod>, record: Record) {
        let uid = names::uid(&pod).to_owned();
        let worker = Worker::new(self.shared.clone(), inbox.clone(), pod, record);
        let ended = self.ended.clone();
        self.workers.insert(uid.clone(), inbox);
        self.shared.supervisor.spawn("pod worker", async move {
            Box::pin(worker.run()).await;
            // An error means that the whole kubelet is going down.
            let _ = ended.send(uid).await;
        });
    }
}
