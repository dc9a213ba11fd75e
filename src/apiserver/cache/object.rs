//! One object as the cache holds it: encoded once, as the watch event that announced it. The
//! object's own JSON is a slice of that, so lists, gets and all watchers share the same bytes.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

use crate::{
    api::{custom::CustomKind, encode, kind::Strategy, meta},
    apiserver::cache::selectable::Selectable,
    store::{self, Revision},
};

const API_VERSION: &[u8] = b"{\"apiVersion\":\"";
const METADATA: &[u8] = b"\"metadata\":{";
const FRAME_END: &[u8] = b"}\n";

/// What happened to an object, from a watcher's point of view (`watch.EventType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created, or began to match.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted, or ceased to match.
    Deleted,
}

impl Change {
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    const fn frame_start(self) -> &'static [u8] {
        match self {
            Self::Added => b"{\"type\":\"ADDED\",\"object\":",
            Self::Modified => b"{\"type\":\"MODIFIED\",\"object\":",
            Self::Deleted => b"{\"type\":\"DELETED\",\"object\":",
        }
    }
}

/// An encoded object at one revision.
#[derive(Debug)]
pub struct Object {
    /// The store's key.
    pub key: Arc<str>,
    /// The revision: its resource version.
    pub revision: Revision,
    /// What announced this revision.
    pub change: Change,
    frame: Bytes,
    /// Where `metadata`'s content begins, in the JSON; the resource version is the first of it.
    metadata_at: usize,
    selectable: OnceLock<Arc<Selectable>>,
    /// The watch event in its other encoding, once somebody has asked for it.
    other_frame: OnceLock<Bytes>,
}

impl Object {
    /// Encodes what a commit has stored. `None` if the value is no object with metadata.
    pub fn stored(event: &store::Event) -> Option<Self> {
        let value = event.value.as_ref()?;
        let change = if event.previous_revision == 0 { Change::Added } else { Change::Modified };
        let metadata_at = find(value, METADATA)? + METADATA.len();
        let (before, after) = value.split_at(metadata_at);
        let frame = frame(change, before, event.revision, after);
        Some(Self::new(event.key.clone(), event.revision, change, frame, metadata_at))
    }

    /// The last state of this object, as the deletion at `revision` announces it.
    pub fn deleted(&self, revision: Revision) -> Self {
        let json = self.json();
        let (before, after) = (&json[..self.metadata_at], &json[self.metadata_at + splice_len(self.revision)..]);
        // Whether a comma follows the spliced field was decided by what comes after it.
        let after = after.strip_prefix(b",").unwrap_or(after);
        let frame = frame(Change::Deleted, before, revision, after);
        let deleted = Self::new(self.key.clone(), revision, Change::Deleted, frame, self.metadata_at);
        if let Some(selectable) = self.selectable.get() {
            deleted.set_selectable(selectable.clone());
        }
        deleted
    }

    /// The object with its resource version.
    pub fn json(&self) -> Bytes {
        self.frame.slice(self.change.frame_start().len()..self.frame.len() - FRAME_END.len())
    }

    /// The watch event, one line of JSON, as `change` says. Shared unless `change` differs from
    /// what announced this revision.
    pub fn frame(&self, change: Change) -> Bytes {
        if change == self.change {
            return self.frame.clone();
        }
        let json = self.json();
        let mut out = BytesMut::with_capacity(json.len() + Change::Modified.frame_start().len() + FRAME_END.len());
        out.put_slice(change.frame_start());
        out.put_slice(&json);
        out.put_slice(FRAME_END);
        out.freeze()
    }

    /// The watch event in the one encoding that is not [`Object::frame`]'s, which `encode` makes of
    /// the object's JSON. Shared likewise.
    pub fn other_frame(&self, change: Change, encode: impl FnOnce(&[u8]) -> Bytes) -> Bytes {
        if change == self.change {
            return self.other_frame.get_or_init(|| encode(&self.json())).clone();
        }
        encode(&self.json())
    }

    /// Memory that the encoded object takes, in bytes.
    pub fn size(&self) -> usize {
        self.frame.len()
    }

    /// Namespace; empty for cluster-wide objects.
    pub fn namespace(&self) -> &str {
        let path = self.path();
        path.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// Name.
    pub fn name(&self) -> &str {
        self.key.rsplit_once('/').map_or(&*self.key, |(_, name)| name)
    }

    /// Labels and fields that selectors look at; read from the JSON when first asked for.
    pub fn selectable(&self, strategy: &dyn Strategy) -> &Selectable {
        self.selectable.get_or_init(|| Arc::new(self.read(strategy)))
    }

    /// As [`Object::selectable`], read from the JSON each time.
    pub fn read(&self, strategy: &dyn Strategy) -> Selectable {
        let value: Value = serde_json::from_slice(&self.json()).unwrap_or_default();
        Selectable::of(&value.into(), strategy)
    }

    /// Sets what whoever encoded the object knew already.
    pub fn set_selectable(&self, selectable: Arc<Selectable>) {
        // A second value would be equal: both come from the same bytes.
        let _ = self.selectable.set(selectable);
    }

    /// The object in another API version of its kind.
    pub fn in_version(self: &Arc<Self>, api_version: &str) -> Arc<Self> {
        let json = self.json();
        let shown = in_version(json.clone(), api_version);
        if shown == json {
            return self.clone();
        }
        let metadata_at = self.metadata_at + shown.len() - json.len();
        let mut frame = BytesMut::with_capacity(self.change.frame_start().len() + shown.len() + FRAME_END.len());
        frame.put_slice(self.change.frame_start());
        frame.put_slice(&shown);
        frame.put_slice(FRAME_END);
        Arc::new(Self::new(self.key.clone(), self.revision, self.change, frame.freeze(), metadata_at))
    }

    /// The object as `value` has it, which is encoded without a resource version.
    pub fn with_json(&self, value: &[u8]) -> Self {
        let metadata_at = find(value, METADATA).map_or(value.len(), |at| at + METADATA.len());
        let (before, after) = value.split_at(metadata_at);
        let frame = frame(self.change, before, self.revision, after);
        Self::new(self.key.clone(), self.revision, self.change, frame, metadata_at)
    }

    /// The object as its definition has it by now; `None` if that is what it is.
    pub fn refreshed(&self, kind: &CustomKind) -> Option<Arc<Self>> {
        let mut object = kind.refreshed(&serde_json::from_slice(&self.json()).ok()?)?;
        meta::set(&mut object, "resourceVersion", Value::Null);
        let event = store::Event {
            revision: self.revision,
            key: self.key.clone(),
            value: Some(encode::encode(&object)),
            create_revision: 0,
            previous_revision: u64::from(self.change != Change::Added),
        };
        Self::stored(&event).map(Arc::new)
    }

    fn new(key: Arc<str>, revision: Revision, change: Change, frame: Bytes, metadata_at: usize) -> Self {
        Self { key, revision, change, frame, metadata_at, selectable: OnceLock::new(), other_frame: OnceLock::new() }
    }

    /// `<namespace>/<name>` or `<name>`: what follows `/registry/<group>/<plural>/`.
    fn path(&self) -> &str {
        self.key.splitn(5, '/').nth(4).unwrap_or_default()
    }
}

/// The API version that leads an encoded object.
pub fn api_version(json: &[u8]) -> Option<&str> {
    let rest = json.strip_prefix(API_VERSION)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// An encoded object in another API version: its `apiVersion`, which leads, is another one.
pub fn in_version(json: Bytes, api_version: &str) -> Bytes {
    let Some(rest) = json.strip_prefix(API_VERSION) else { return json };
    let Some(end) = rest.iter().position(|byte| *byte == b'"') else { return json };
    if &rest[..end] == api_version.as_bytes() {
        return json;
    }
    [API_VERSION, api_version.as_bytes(), &rest[end..]].concat().into()
}

/// `value`, an encoded object without a resource version, with `revision` put in as such.
pub fn with_revision(value: &[u8], revision: Revision) -> Bytes {
    let Some(at) = find(value, METADATA).map(|at| at + METADATA.len()) else {
        return Bytes::copy_from_slice(value);
    };
    let mut out = BytesMut::with_capacity(value.len() + splice_len(revision) + 1);
    put_object(&mut out, &value[..at], revision, &value[at..]);
    out.freeze()
}

fn frame(change: Change, before: &[u8], revision: Revision, after: &[u8]) -> Bytes {
    let start = change.frame_start();
    let size = start.len() + before.len() + splice_len(revision) + 1 + after.len() + FRAME_END.len();
    let mut out = BytesMut::with_capacity(size);
    out.put_slice(start);
    put_object(&mut out, before, revision, after);
    out.put_slice(FRAME_END);
    out.freeze()
}

fn put_object(out: &mut BytesMut, before: &[u8], revision: Revision, after: &[u8]) {
    out.put_slice(before);
    out.put_slice(splice(revision).as_bytes());
    if !after.starts_with(b"}") {
        out.put_u8(b',');
    }
    out.put_slice(after);
}

fn splice(revision: Revision) -> String {
    format!("\"resourceVersion\":\"{revision}\"")
}

fn splice_len(revision: Revision) -> usize {
    splice(revision).len()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: &str, revision: Revision, previous_revision: Revision) -> Object {
        let event = store::Event {
            revision,
            key: "/registry/core/pods/ns/a".into(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            create_revision: 1,
            previous_revision,
        };
        Object::stored(&event).unwrap()
    }

    #[test]
    fn the_resource_version_is_put_in_once() {
        let object = stored(r#"{"apiVersion":"v1","metadata":{"name":"a"},"x":1}"#, 7, 0);
        assert_eq!(object.json(), r#"{"apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a"},"x":1}"#);
        let frame = object.frame(Change::Added);
        assert_eq!(
            frame,
            format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", std::str::from_utf8(&object.json()).unwrap())
        );
        assert_eq!((object.namespace(), object.name()), ("ns", "a"));
    }

    #[test]
    fn the_other_encoding_is_made_once_for_the_event_itself() {
        let object = stored(r#"{"metadata":{"name":"a"}}"#, 7, 3);
        let first = object.other_frame(Change::Modified, |json| Bytes::copy_from_slice(&json[..5]));
        assert_eq!(object.other_frame(Change::Modified, |_| unreachable!("it was made already")), first);
        assert_eq!(object.other_frame(Change::Added, |_| Bytes::from_static(b"x")), "x");
    }

    #[test]
    fn another_version_is_the_same_object() {
        let object = Arc::new(stored(r#"{"apiVersion":"g/v1","metadata":{"name":"a"}}"#, 7, 0));
        let other = object.in_version("g/v1beta1");
        assert_eq!(other.json(), r#"{"apiVersion":"g/v1beta1","metadata":{"resourceVersion":"7","name":"a"}}"#);
        let deleted = r#"{"apiVersion":"g/v1beta1","metadata":{"resourceVersion":"8","name":"a"}}"#;
        assert_eq!(other.deleted(8).json(), deleted);
        assert!(Arc::ptr_eq(&object, &object.in_version("g/v1")));
    }

    #[test]
    fn a_deletion_carries_its_own_revision() {
        let object = stored(r#"{"metadata":{"name":"a"}}"#, 99, 3);
        let deleted = object.deleted(100);
        assert_eq!(deleted.json(), r#"{"metadata":{"resourceVersion":"100","name":"a"}}"#);
        assert_eq!(stored(r#"{"metadata":{}}"#, 1, 0).deleted(2).json(), r#"{"metadata":{"resourceVersion":"2"}}"#);
    }
}
