//! The event recorder: what `kubectl describe` shows under "Events". Recording never waits and
//! never fails its caller; an event that repeats raises the count of the first one (as client-go's
//! correlator does), so that a crash loop does not fill the store.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;

use crate::base::task::Supervisor;

/// Events waiting to be written; further ones are dropped.
const QUEUE_LIMIT: usize = 1024;
/// Distinct events remembered for counting repetitions.
const REMEMBERED_LIMIT: usize = 512;
/// Longest note, in bytes (`events.k8s.io/v1` note).
const NOTE_LIMIT_BYTES: usize = 1024;

/// The two types of events there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Things go as they should.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl Type {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    namespace: String,
    name: String,
    uid: String,
    field: String,
    kind: Type,
    reason: String,
    note: String,
}

struct Recorded {
    regarding: ObjectReference,
    kind: Type,
    reason: String,
    note: String,
    at: Timestamp,
}

/// Records events of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Recorded>,
}

impl Recorder {
    /// A recorder that writes through `client` as `component` (`kubelet`, `default-scheduler`),
    /// on `host`, if it belongs to one.
    pub fn new(supervisor: &Supervisor, client: Client, component: &str, host: Option<&str>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let source = EventSource { component: Some(component.into()), host: host.map(Into::into) };
        let writer = Writer { client, source, known: HashMap::new(), order: VecDeque::new() };
        supervisor.spawn("event recorder", writer.run(receiver));
        Self { sender }
    }

    /// A recorder and the other end of it, for tests: `(type, reason, note)` of each event.
    pub fn detached() -> (Self, impl FnMut() -> Option<(Type, String, String)>) {
        let (sender, mut receiver) = mpsc::channel(QUEUE_LIMIT);
        let next = move || receiver.try_recv().ok().map(|event: Recorded| (event.kind, event.reason, event.note));
        (Self { sender }, next)
    }

    /// Records that something happened to `regarding`.
    pub fn record(&self, regarding: &ObjectReference, kind: Type, reason: &str, note: impl Into<String>) {
        let mut note = note.into();
        note.truncate(note.floor_char_boundary(NOTE_LIMIT_BYTES));
        let event = Recorded { regarding: regarding.clone(), kind, reason: reason.into(), note, at: Timestamp::now() };
        // A full queue means that the server is away or slow; events are the least of its worries.
        if self.sender.try_send(event).is_err() {
            tracing::debug!(reason, "event dropped");
        }
    }
}

struct Known {
    name: String,
    count: i32,
}

struct Writer {
    client: Client,
    source: EventSource,
    known: HashMap<Arc<Identity>, Known>,
    order: VecDeque<Arc<Identity>>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Recorded>) {
        while let Some(event) = receiver.recv().await {
            if let Err(error) = self.write(&event).await {
                tracing::debug!(reason = event.reason, error = %error, "event not written");
            }
        }
    }

    async fn write(&mut self, event: &Recorded) -> kube::Result<()> {
        let identity = identity(event);
        let namespace = namespace_of(&event.regarding);
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(known) = self.known.get_mut(&identity) {
            let change = serde_json::json!({"count": known.count + 1, "lastTimestamp": Time(event.at)});
            match api.patch(&known.name, &PatchParams::default(), &Patch::Merge(change)).await {
                Ok(_) => {
                    known.count += 1;
                    return Ok(());
                }
                // It has expired meanwhile: a new one is written.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let object = self.object(event, namespace);
        let name = object.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &object).await?;
        self.remember(identity, name);
        Ok(())
    }

    fn remember(&mut self, identity: Identity, name: String) {
        let identity = Arc::new(identity);
        if self.known.insert(identity.clone(), Known { name, count: 1 }).is_none() {
            self.order.push_back(identity);
        }
        if self.order.len() > REMEMBERED_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn object(&self, event: &Recorded, namespace: &str) -> Event {
        let regarding = event.regarding.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{regarding}.{:x}", event.at.as_nanosecond())),
                namespace: Some(namespace.into()),
                ..ObjectMeta::default()
            },
            involved_object: event.regarding.clone(),
            type_: Some(event.kind.as_str().into()),
            reason: Some(event.reason.clone()),
            message: Some(event.note.clone()),
            source: Some(self.source.clone()),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            first_timestamp: Some(Time(event.at)),
            last_timestamp: Some(Time(event.at)),
            count: Some(1),
            ..Event::default()
        }
    }
}

fn identity(event: &Recorded) -> Identity {
    let regarding = &event.regarding;
    Identity {
        namespace: regarding.namespace.clone().unwrap_or_default(),
        name: regarding.name.clone().unwrap_or_default(),
        uid: regarding.uid.clone().unwrap_or_default(),
        field: regarding.field_path.clone().unwrap_or_default(),
        kind: event.kind,
        reason: event.reason.clone(),
        note: event.note.clone(),
    }
}

/// Events live beside their object; those of cluster-wide objects in `default`.
fn namespace_of(regarding: &ObjectReference) -> &str {
    regarding.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use parking_lot::Mutex;

    use super::*;
    use crate::{
        client::transport,
        http::{
            body::{self, Body},
            identity::User,
        },
    };

    #[tokio::test]
    async fn a_repeated_event_raises_the_count_of_the_first() {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let client = transport::in_process(
            move |request: Request<Body>| {
                seen.lock().push(request.method().to_string());
                let event = serde_json::json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a.1"}, "involvedObject": {}});
                async move { Response::new(body::full(event.to_string())) }
            },
            User::component("system:test"),
        );
        let supervisor = Supervisor::new();
        let recorder = Recorder::new(&supervisor, client, "test", None);
        let regarding = ObjectReference { name: Some("a".into()), ..ObjectReference::default() };
        recorder.record(&regarding, Type::Warning, "BackOff", "again");
        recorder.record(&regarding, Type::Warning, "BackOff", "again");
        recorder.record(&regarding, Type::Normal, "Started", "at last");
        let expected = ["POST", "PATCH", "POST"];
        tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while requests.lock().len() < expected.len() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(*requests.lock(), expected);
    }
}
