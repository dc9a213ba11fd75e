//! Tests of the cache against a plain model, and of its bounds.

use rand::{RngExt as _, SeedableRng as _};

use super::{
    object::Change,
    watcher::{Seen, Watcher},
    *,
};
use crate::api::selector::{FieldSelector, LabelSelector};

const PREFIX: &str = "/registry/core/configmaps/";

fn cache() -> Arc<ResourceCache> {
    let kind = kinds::all().into_iter().find(|kind| kind.plural == "configmaps").unwrap();
    Arc::new(ResourceCache::new(kind, PREFIX, 0))
}

/// Writes to a cache as a store would.
struct Writer {
    cache: Arc<ResourceCache>,
    revision: Revision,
    keys: BTreeMap<String, Revision>,
}

impl Writer {
    fn new() -> Self {
        Self { cache: cache(), revision: 0, keys: BTreeMap::new() }
    }

    /// Stores a value, or deletes the key without one.
    fn set(&mut self, key: &str, value: Option<&str>) {
        let previous_revision = self.keys.get(key).copied().unwrap_or(0);
        if value.is_none() && previous_revision == 0 {
            return;
        }
        self.revision += 1;
        match value {
            Some(_) => self.keys.insert(key.into(), self.revision),
            None => self.keys.remove(key),
        };
        let (_, name) = key.split_once('/').unwrap();
        let event = store::Event {
            revision: self.revision,
            key: format!("{PREFIX}{key}").into(),
            value: value.map(|value| {
                format!(r#"{{"metadata":{{"name":"{name}","labels":{{"v":"{value}"}}}},"data":{{"v":"{value}"}}}}"#)
                    .into()
            }),
            create_revision: 1,
            previous_revision,
        };
        self.cache.apply([(&event, None)].into_iter());
    }
}

fn slice<'a>(namespace: Option<&'a str>, selector: &'a Selector) -> Slice<'a> {
    Slice { namespace, after: None, limit: 0, selector }
}

fn shown(objects: &[Arc<object::Object>]) -> Vec<String> {
    objects.iter().map(|object| format!("{}={}", object.name(), object.revision)).collect()
}

#[test]
fn a_list_at_an_earlier_revision_is_what_it_was_then() {
    let everything = Selector::everything();
    for seed in 0..20 {
        let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
        let mut writer = Writer::new();
        let mut then: Vec<Vec<String>> = vec![Vec::new()];
        for step in 0..60 {
            let key = format!("{}/k{}", ["a", "b"][random.random_range(0..2)], random.random_range(0..5));
            let value = (random.random_range(0..3) != 0).then(|| format!("{step}"));
            let before = writer.revision;
            writer.set(&key, value.as_deref());
            if writer.revision > before {
                then.push(shown(&writer.cache.list(&slice(Some("a"), &everything), 0).objects));
            }
        }
        for (revision, expected) in then.iter().enumerate() {
            let page = writer.cache.list_at(&slice(Some("a"), &everything), revision as Revision).unwrap();
            assert_eq!(&shown(&page.objects), expected, "seed {seed}, revision {revision}");
        }
    }
}

#[test]
fn pages_make_the_whole() {
    let everything = Selector::everything();
    let mut writer = Writer::new();
    for number in 0..60 {
        let namespace = ["a", "a-b", "a.b", "ab", "b"][number % 5];
        writer.set(&format!("{namespace}/k{number}"), Some("1"));
    }
    let revision = writer.revision;
    for namespace in [None, Some("a"), Some("a-b"), Some("ab"), Some("b"), Some("c")] {
        let whole = writer.cache.list(&slice(namespace, &everything), 0).objects;
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let slice = Slice { after: Some(&after), limit: 7, ..slice(namespace, &everything) };
            let page = writer.cache.list_at(&slice, revision).unwrap();
            pages.extend(shown(&page.objects));
            assert_eq!(page.remaining, Some(whole.len() - pages.len()));
            if !page.more {
                break;
            }
            after = page.objects.last().unwrap().key.to_string();
        }
        assert_eq!(pages, shown(&whole), "{namespace:?}");
    }
    let behind = Slice { after: Some("/registry/core/pods/a"), ..slice(Some("b"), &everything) };
    assert!(writer.cache.list(&behind, 0).objects.is_empty());
}

#[tokio::test]
async fn events_of_a_selective_watch_make_what_a_list_shows() {
    let selector = Selector { labels: LabelSelector::parse("v in (1,2)").unwrap(), fields: FieldSelector::default() };
    for seed in 0..20 {
        let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
        let mut writer = Writer::new();
        let mut watcher = Watcher::new(writer.cache.clone(), Some("a"), selector.clone(), 0);
        let mut seen: BTreeMap<Arc<str>, Revision> = BTreeMap::new();
        for _ in 0..60 {
            let key = format!("{}/k{}", ["a", "ab"][random.random_range(0..2)], random.random_range(0..4));
            let value = (random.random_range(0..4) != 0).then(|| random.random_range(0..4).to_string());
            writer.set(&key, value.as_deref());
            for Seen { change, object, .. } in watcher.ready().unwrap() {
                let before = match change {
                    Change::Deleted => seen.remove(&object.key),
                    _ => seen.insert(object.key.clone(), object.revision),
                };
                assert_eq!(before.is_some(), change != Change::Added, "seed {seed}");
            }
        }
        let page = writer.cache.list(&slice(Some("a"), &selector), 0);
        let listed: BTreeMap<_, _> = page.objects.iter().map(|object| (object.key.clone(), object.revision)).collect();
        assert_eq!(seen, listed, "seed {seed}");
    }
}

#[tokio::test]
async fn a_watcher_that_fell_behind_is_told_so() {
    let mut writer = Writer::new();
    let mut watcher = Watcher::new(writer.cache.clone(), None, Selector::everything(), 0);
    let large = "x".repeat(200_000);
    for n in 0..400 {
        writer.set("a/k", Some(&format!("{n}{large}")));
    }
    assert_eq!(watcher.ready().err(), Some(resource::Expired));
    assert!(!writer.cache.reaches(1) && writer.cache.reaches(writer.revision));
}

#[test]
fn bytes_of_the_announcing_event_are_shared() {
    let mut writer = Writer::new();
    writer.set("a/k", Some("1"));
    let object = writer.cache.get(&writer.cache.key("a", "k")).unwrap();
    let frame = object.frame(Change::Added);
    assert_eq!(frame.as_ptr(), object.frame(Change::Added).as_ptr());
    assert!(frame.as_ptr_range().contains(&object.json().as_ptr()));
}

#[test]
fn resources_are_told_by_their_keys() {
    assert_eq!(resource_of("/registry/core/pods/default/a"), Some("/registry/core/pods/"));
    assert_eq!(resource_of("/registry/core/nodes/a"), Some("/registry/core/nodes/"));
    assert_eq!(resource_of("/other"), None);
}

#[tokio::test]
async fn objects_older_than_the_history_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let value = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"n"}}"#;
    let change = store::Change {
        key: format!("{PREFIX}n/a").into(),
        value: Some(value.into()),
        expect: store::Expect::Absent,
        durability: store::Durability::Strict,
    };
    let store = Store::open(&path, store::Options::default()).unwrap();
    store.commit(change).await.unwrap();
    store.compact().await.unwrap();
    store.close().await;
    drop(store);
    let store = Store::open(&path, store::Options::default()).unwrap();
    let caches = Caches::load(&store, &kinds::all()).unwrap();
    let resource = GroupResource { group: "", resource: "configmaps" };
    assert!(Reader::get(&*caches, resource, "n", "a").is_some());
}
