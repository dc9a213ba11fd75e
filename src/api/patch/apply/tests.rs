//! Tests of apply and update as appliers and updaters see them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::schema::Library;

const TIMES: [&str; 4] =
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"];

/// An object on a server that only keeps track of fields.
struct Object {
    schema: Schema,
    live: Option<Value>,
    writes: usize,
}

impl Object {
    fn config_map() -> Self {
        Self { schema: Library::default().schema_of("v1", "ConfigMap"), live: None, writes: 0 }
    }

    fn deployment() -> Self {
        Self { schema: Library::default().schema_of("apps/v1", "Deployment"), live: None, writes: 0 }
    }

    fn tracker<'a>(&'a self, subresource: &'a str) -> Tracker<'a> {
        let now = TIMES[self.writes.min(3)].parse().unwrap();
        let reset = if subresource.is_empty() { "status" } else { "spec" };
        Tracker { schema: &self.schema, subresource, reset: Set::of_fields(&[reset]), elsewhere: &|_, _| None, now }
    }

    fn typed(&self, fields: Value) -> Value {
        let mut object = json!({"apiVersion": &*self.schema.api_version, "kind": &*self.schema.kind,
                                "metadata": {"name": "a"}});
        for (name, value) in fields.as_object().unwrap() {
            object[name] = value.clone();
        }
        object
    }

    fn apply_by(&mut self, manager: &str, config: Value, force: bool) -> Result<(), Status> {
        let applied = Applied { manager, config: self.typed(config), force };
        let object = self.tracker("").apply(self.live.as_ref(), applied)?;
        let (object, _) =
            crate::api::schema::check(object, &self.schema, Default::default(), Default::default()).unwrap();
        self.live = Some(object);
        self.writes += 1;
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: Value) {
        self.apply_by(manager, config, false).unwrap();
    }

    fn update_at(&mut self, manager: &str, subresource: &str, mut new: Value) {
        let entries = self.update_by(&self.tracker(subresource), manager, &new);
        meta::set(&mut new, "managedFields", entries);
        self.live = Some(new);
        self.writes += 1;
    }

    fn update_by(&self, tracker: &Tracker<'_>, manager: &str, new: &Value) -> Value {
        let old = self.live.as_ref().map(bare);
        let stored = self.live.as_ref().map_or(Value::Null, |live| managed_fields(live).clone());
        let update = Update { old: old.as_ref(), stored: &stored, new: &bare(new), sent: managed_fields(new), manager };
        tracker.update(&update)
    }

    fn create(&mut self, manager: &str, fields: Value) {
        let object = self.typed(fields);
        self.update_at(manager, "", object);
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        let mut new = self.live.clone().unwrap();
        change(&mut new);
        self.update_at(manager, "", new);
    }

    fn live(&self) -> &Value {
        self.live.as_ref().unwrap()
    }

    fn data(&self) -> &Value {
        &self.live()["data"]
    }

    /// Managers and their fields.
    fn owners(&self) -> Vec<(String, Vec<String>)> {
        let managers = Managers::decode(managed_fields(self.live())).unwrap();
        managers.iter().map(|(manager, owned)| (manager.name.clone(), owned.fields.paths())).collect()
    }

    fn owns(&self, manager: &str) -> Vec<String> {
        self.owners().into_iter().find(|(name, _)| name == manager).map(|(_, paths)| paths).unwrap_or_default()
    }
}

#[test]
fn what_is_no_longer_applied_is_removed() {
    let mut object = Object::config_map();
    object.apply("a", json!({"data": {"x": "1", "y": "1"}}));
    object.apply("a", json!({"data": {"x": "1"}}));
    assert_eq!(*object.data(), json!({"x": "1"}));
    assert_eq!(object.owns("a"), [".data.x"]);
    object.apply("a", json!({}));
    assert!(object.live().get("data").is_none());
    assert!(object.owners().is_empty());
}

#[test]
fn what_another_manager_owns_as_well_stays() {
    let mut object = Object::config_map();
    object.apply("a", json!({"data": {"x": "1", "y": "1"}}));
    object.apply("b", json!({"data": {"x": "1"}}));
    assert_eq!(object.owns("a"), [".data.x", ".data.y"]);
    object.apply("a", json!({"data": {"y": "1"}}));
    assert_eq!(*object.data(), json!({"x": "1", "y": "1"}));
    assert_eq!((object.owns("a"), object.owns("b")), (vec![".data.y".to_owned()], vec![".data.x".to_owned()]));
}

#[test]
fn a_conflict_is_refused_and_forced() {
    let mut object = Object::config_map();
    object.apply("a", json!({"data": {"x": "1"}}));
    let status = object.apply_by("b", json!({"data": {"x": "2"}}), false).unwrap_err();
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"a\": .data.x");
    object.apply_by("b", json!({"data": {"x": "2"}}), true).unwrap();
    assert_eq!(*object.data(), json!({"x": "2"}));
    assert_eq!(object.owners(), [("b".to_owned(), vec![".data.x".to_owned()])]);
}

#[test]
fn an_update_takes_what_it_changes() {
    let mut object = Object::config_map();
    object.apply("a", json!({"data": {"x": "1", "y": "1"}}));
    object.update("b", |new| new["data"]["x"] = "2".into());
    assert_eq!((object.owns("a"), object.owns("b")), (vec![".data.y".to_owned()], vec![".data.x".to_owned()]));
    let status = object.apply_by("a", json!({"data": {"x": "1", "y": "1"}}), false).unwrap_err();
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"b\" using v1: .data.x");
    // Giving a field up leaves it to its new owner.
    object.apply("a", json!({"data": {"y": "1"}}));
    assert_eq!(*object.data(), json!({"x": "2", "y": "1"}));
}

#[test]
fn a_create_owns_what_it_brings() {
    let mut object = Object::deployment();
    object.create(
        "kubectl-create",
        json!({"spec": {"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}}}}),
    );
    let entries = managed_fields(object.live());
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}, "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                           "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}}}}}}})
    );
    assert_eq!(entries[0]["operation"], "Update");
    assert_eq!(entries[0]["time"], TIMES[0]);
}

#[test]
fn times_change_with_what_is_owned_and_its_values() {
    let mut object = Object::config_map();
    object.apply("a", json!({"data": {"x": "1"}}));
    object.apply("a", json!({"data": {"x": "1"}}));
    assert_eq!(managed_fields(object.live())[0]["time"], TIMES[0]);
    object.apply("a", json!({"data": {"x": "2"}}));
    assert_eq!(managed_fields(object.live())[0]["time"], TIMES[2]);
    object.update("b", |new| new["data"]["y"] = "1".into());
    assert_eq!(managed_fields(object.live())[0]["time"], TIMES[2]);
}

#[test]
fn subresources_are_managers_of_their_own() {
    let mut object = Object::deployment();
    object.create("m", json!({"spec": {"replicas": 1}, "status": {"replicas": 5}}));
    assert_eq!(object.owns("m"), [".spec.replicas"]);
    let mut new = object.live().clone();
    new["status"] = json!({"readyReplicas": 1});
    new["spec"]["replicas"] = 7.into();
    object.update_at("m", "status", new);
    let entries = managed_fields(object.live());
    assert_eq!(
        (&entries[1]["subresource"], &entries[1]["fieldsV1"]),
        (&json!("status"), &json!({"f:status": {"f:readyReplicas": {}}}))
    );
}

#[test]
fn scaling_by_an_update_conflicts_with_its_subresource_named() {
    let mut object = Object::deployment();
    object.apply("a", json!({"spec": {"replicas": 1}}));
    let mut new = object.live().clone();
    new["spec"]["replicas"] = 3.into();
    let tracker = Tracker { reset: Set::default(), ..object.tracker("scale") };
    let entries = object.update_by(&tracker, "hpa", &new);
    meta::set(&mut new, "managedFields", entries);
    object.live = Some(new);
    let status = object.apply_by("a", json!({"spec": {"replicas": 1}}), false).unwrap_err();
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
}

#[test]
fn untracked_objects_stay_so_until_they_are_applied_to() {
    let mut object = Object::config_map();
    object.create("a", json!({"data": {"x": "1"}}));
    object.update("a", |new| new["metadata"]["managedFields"] = json!([{}]));
    assert!(object.owners().is_empty());
    object.update("a", |new| new["data"]["y"] = "1".into());
    assert!(object.owners().is_empty());
    object.apply("b", json!({"data": {"z": "1"}}));
    assert_eq!(object.owns("before-first-apply"), [".data", ".data.x", ".data.y"]);
    assert_eq!(object.owns("b"), [".data.z"]);
}

#[test]
fn managed_fields_are_changed_by_updates_alone() {
    let mut object = Object::config_map();
    object.create("a", json!({"data": {"x": "1"}}));
    let before = managed_fields(object.live()).clone();
    object.update("b", |new| new["metadata"]["managedFields"] = Value::Null);
    assert_eq!(*managed_fields(object.live()), before);
    object.update("b", |new| new["metadata"]["managedFields"][0]["manager"] = "kubectl".into());
    assert_eq!(object.owns("kubectl"), [".data", ".data.x"]);
    let status = object.apply_by("b", json!({"metadata": {"name": "a", "managedFields": []}}), false).unwrap_err();
    assert_eq!((status.code(), &*status.message), (400, "metadata.managedFields must be nil"));
}

#[test]
fn a_configuration_of_another_type_or_shape_is_refused() {
    let mut object = Object::deployment();
    let status = object.apply_by("a", json!({"apiVersion": "v1"}), false).unwrap_err();
    assert_eq!(status.message, "invalid object type: /v1, Kind=Deployment");
    let metadata = json!({"name": "web", "namespace": "default"});
    let status = object.apply_by("a", json!({"metadata": metadata, "spec": {"foo": 1}}), false).unwrap_err();
    assert_eq!(status.code(), 500);
    assert_eq!(
        status.message,
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.foo: field not declared \
         in schema"
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let mut object = Object::config_map();
    let applied = object.typed(json!({"data": {"x": "1", "y": "1"}}));
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()});
    object.create(
        "kubectl-client-side-apply",
        json!({"metadata": {"name": "a", "annotations": annotations}, "data": {"x": "1", "y": "1"}}),
    );
    object.update("other", |new| new["data"]["y"] = "2".into());
    let status = object.apply_by("kubectl", json!({"data": {"x": "3", "y": "3"}}), false).unwrap_err();
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"other\" using v1: .data.y");
    object.apply("kubectl", json!({"data": {"x": "3", "y": "2"}}));
    assert_eq!(*object.data(), json!({"x": "3", "y": "2"}));
    let annotation = meta::annotations(object.live()).next().unwrap().1;
    assert_eq!(annotation, format!("{}\n", object.typed(json!({"data": {"x": "3", "y": "2"}}))));
}

#[test]
fn defaults_stay_when_the_applier_gives_them_up() {
    let mut object = Object::deployment();
    object.apply("a", json!({"spec": {"paused": true, "replicas": null}}));
    assert_eq!(object.owns("a"), [".spec.paused", ".spec.replicas"]);
    object.update("controller", |new| new["spec"]["minReadySeconds"] = 1.into());
    object.apply("a", json!({}));
    assert_eq!(object.live()["spec"], json!({"minReadySeconds": 1}));
}

#[test]
fn associative_items_are_removed_with_their_last_owner() {
    let containers = |items: Value| json!({"spec": {"template": {"spec": {"containers": items}}}});
    let mut object = Object::deployment();
    object.apply("a", containers(json!([{"name": "app", "image": "x"}, {"name": "side", "image": "y"}])));
    object.apply("b", containers(json!([{"name": "side", "args": ["1"]}, {"name": "extra"}])));
    let list = |object: &Object| object.live()["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(
        list(&object),
        json!([{"name": "app", "image": "x"}, {"name": "side", "image": "y", "args": ["1"]}, {"name": "extra"}])
    );
    object.apply("a", containers(json!([{"name": "app", "image": "x"}])));
    assert_eq!(
        list(&object),
        json!([{"name": "app", "image": "x"}, {"name": "side", "args": ["1"]}, {"name": "extra"}])
    );
    object.apply("b", json!({}));
    assert_eq!(list(&object), json!([{"name": "app", "image": "x"}]));
}

fn configs() -> impl Strategy<Value = Value> {
    let data = proptest::collection::btree_map("[a-d]", "[12]", 0..4);
    let finalizers = proptest::collection::btree_set("[x-z]", 0..3);
    (data, finalizers).prop_map(|(data, finalizers)| {
        let finalizers: Vec<String> = finalizers.into_iter().collect();
        json!({"metadata": {"name": "a", "finalizers": finalizers}, "data": data})
    })
}

/// An object without managed fields.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    meta::set(&mut object, "managedFields", Value::Null);
    object
}

/// Finalizers as a set, since their order tells of the past.
fn content(object: &Object) -> (Value, Vec<String>) {
    let mut finalizers: Vec<String> = meta::finalizers(object.live()).into_iter().map(str::to_owned).collect();
    finalizers.sort_unstable();
    let data = object.data().as_object().filter(|data| !data.is_empty());
    (json!(data), finalizers)
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(first in configs(), second in configs()) {
        let mut object = Object::config_map();
        object.apply("a", first);
        object.apply_by("b", second.clone(), true).unwrap();
        let once = object.live().clone();
        object.apply_by("b", second, true).unwrap();
        prop_assert_eq!(object.live(), &once);
    }

    #[test]
    fn a_lone_manager_gets_exactly_its_last_configuration(first in configs(), second in configs()) {
        let mut object = Object::config_map();
        object.apply("a", first);
        object.apply("a", second.clone());
        let mut fresh = Object::config_map();
        fresh.apply("a", second);
        prop_assert_eq!(content(&object), content(&fresh));
        prop_assert_eq!(object.owners(), fresh.owners());
    }

    #[test]
    fn two_managers_have_both_what_they_apply(first in configs(), second in configs(), third in configs()) {
        let mut object = Object::config_map();
        object.apply("a", first);
        object.apply_by("b", second.clone(), true).unwrap();
        object.apply_by("a", third.clone(), true).unwrap();
        for (name, value) in third["data"].as_object().unwrap() {
            prop_assert_eq!(&object.data()[name], value);
        }
        for (name, value) in second["data"].as_object().unwrap() {
            let expected = third["data"].get(name).unwrap_or(value);
            prop_assert_eq!(&object.data()[name], expected);
        }
        // Nothing is left that neither of them applies.
        for name in object.data().as_object().into_iter().flatten().map(|(name, _)| name) {
            prop_assert!(second["data"].get(name).is_some() || third["data"].get(name).is_some());
        }
        // Every field has an owner, and shared fields are agreed upon.
        let owned: Vec<String> = object.owners().into_iter().flat_map(|(_, paths)| paths).collect();
        for name in object.data().as_object().into_iter().flatten().map(|(name, _)| name) {
            prop_assert!(owned.contains(&format!(".data.{name}")), "{name}");
        }
    }

    #[test]
    fn a_refused_apply_is_one_that_would_take_from_others(first in configs(), second in configs()) {
        let mut object = Object::config_map();
        object.apply("a", first.clone());
        let before = bare(object.live());
        let conflicts = second["data"].as_object().unwrap().iter().any(|(name, value)| {
            first["data"].get(name).is_some_and(|known| known != value)
        });
        prop_assert_eq!(object.apply_by("b", second, false).is_err(), conflicts);
        if conflicts {
            prop_assert_eq!(bare(object.live()), before);
        }
    }
}

#[test]
fn who_comes_to_own_what_is_there_already_has_no_time() {
    let mut map = Object::config_map();
    map.update_at("a", "", map.typed(json!({"data": {"x": "1"}})));
    map.apply("b", json!({"data": {"x": "1"}}));
    let entries = managed_fields(map.live.as_ref().unwrap()).as_array().unwrap();
    let time = |manager: &str| entries.iter().find(|entry| entry["manager"] == manager).unwrap().get("time").cloned();
    assert_eq!((time("a"), time("b")), (Some(TIMES[0].into()), None));
}

#[test]
fn nobody_adds_what_is_always_there() {
    let mut slice =
        Object { schema: Library::default().schema_of("discovery.k8s.io/v1", "EndpointSlice"), ..Object::config_map() };
    slice.update_at("a", "", slice.typed(json!({"addressType": "IPv4", "endpoints": null, "ports": null})));
    let entries = managed_fields(slice.live.as_ref().unwrap());
    assert_eq!(entries[0]["fieldsV1"], json!({"f:addressType": {}}));
}

#[test]
fn items_that_nothing_tells_apart_end_the_tracking() {
    let mut account = Object { schema: Library::default().schema_of("v1", "ServiceAccount"), ..Object::config_map() };
    account.update_at("a", "", account.typed(json!({"secrets": [{"name": "s"}]})));
    assert!(managed_fields(account.live.as_ref().unwrap()).is_array());
    account.update_at("a", "", account.typed(json!({"secrets": [{}]})));
    assert!(!managed_fields(account.live.as_ref().unwrap()).is_array());
}
