//! Built-in kinds that are shapes of the same objects: in two groups, or in two versions.

use std::sync::LazyLock;

use serde_json::Value;

use super::{all, shared_storage};
use crate::api::{
    Status,
    kind::{Descriptor, GroupResource},
};

/// All kinds that are not alone with their objects.
static SHARING: LazyLock<Vec<Descriptor>> = LazyLock::new(|| {
    let kinds = all();
    let shared: Vec<GroupResource<'static>> =
        kinds.iter().filter_map(|kind| shared_storage(kind.group_resource()).map(|shared| shared.stored)).collect();
    kinds.iter().filter(|kind| shared.contains(&home(kind))).cloned().collect()
});

/// The other kinds that show the objects of `kind`.
pub fn of(kind: &Descriptor) -> impl Iterator<Item = &'static Descriptor> {
    let is_other = |other: &&Descriptor| other.group != kind.group || other.version != kind.version;
    SHARING.iter().filter(|other| home(other) == home(kind)).filter(is_other)
}

/// One of the kinds that share their objects with others.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Descriptor> {
    SHARING.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// An object of `from` as one of `to`, an equivalent.
pub fn convert(object: Value, from: &Descriptor, to: &Descriptor) -> Result<Value, Status> {
    let stored = match shared_storage(from.group_resource()) {
        Some(shared) => (shared.to_stored)(object)?,
        None => object,
    };
    match shared_storage(to.group_resource()) {
        Some(shared) => (shared.from_stored)(stored),
        None => Ok(stored),
    }
}

fn home(kind: &Descriptor) -> GroupResource<'_> {
    shared_storage(kind.group_resource()).map_or(kind.group_resource(), |shared| shared.stored)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(api_version: &str, plural: &str) -> Descriptor {
        all().into_iter().find(|kind| kind.api_version() == api_version && kind.plural == plural).unwrap()
    }

    #[test]
    fn events_have_an_equivalent() {
        let others = |api_version: &str, plural: &str| -> Vec<String> {
            of(&kind(api_version, plural)).map(Descriptor::api_version).collect()
        };
        assert_eq!(others("v1", "events"), ["events.k8s.io/v1"]);
        assert_eq!(others("v1", "pods"), Vec::<String>::new());
    }

    #[test]
    fn objects_change_their_shape_and_come_back() {
        let (core, other) = (kind("v1", "events"), kind("events.k8s.io/v1", "events"));
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "n"},
                           "involvedObject": {"kind": "Pod", "name": "p"}, "message": "hello"});
        let shown = convert(event, &core, &other).unwrap();
        assert_eq!((&shown["apiVersion"], &shown["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
        assert_eq!(convert(shown, &other, &core).unwrap()["message"], "hello");
    }
}
