//! Controller references: who manages an object, and how objects that match a selector are adopted
//! and those that no longer do are released (the "controller ref manager" of upstream).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Resource;

/// The managing owner of an object, if it has one.
pub fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.as_deref()?.iter().find(|owner| owner.controller == Some(true))
}

/// Whether the object with `uid` manages `object`.
pub fn is_controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| owner.uid == uid)
}

/// A reference that makes `owner` the manager, and lets a foreground deletion wait.
pub fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What is to become of an object that an owner may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the owner's.
    Owned,
    /// It matches and belongs to nobody: the owner's reference is to be added.
    Adopt,
    /// It is the owner's but does not match any more: the reference is to be removed.
    Release,
    /// It is none of the owner's business.
    Foreign,
}

/// Decides about `object` for `owner` with `selector`. An owner that is being deleted adopts nothing.
pub fn claim<O: Resource, K: Resource>(owner: &O, selector: &LabelSelector, object: &K) -> Claim {
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    let matches = selects(selector, object);
    match controller_of(object) {
        Some(controller) if controller.uid == uid => {
            if matches || owner.meta().deletion_timestamp.is_some() {
                Claim::Owned
            } else {
                Claim::Release
            }
        }
        Some(_) => Claim::Foreign,
        None => {
            let alive = owner.meta().deletion_timestamp.is_none() && object.meta().deletion_timestamp.is_none();
            if matches && alive { Claim::Adopt } else { Claim::Foreign }
        }
    }
}

/// Whether `selector` selects the labels of `object`. An empty selector selects nothing here:
/// workloads must name what is theirs.
pub fn selects<K: Resource>(selector: &LabelSelector, object: &K) -> bool {
    let labels = object.meta().labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let exact = selector.match_labels.as_ref();
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    if exact.is_none_or(|exact| exact.is_empty()) && expressions.is_empty() {
        return false;
    }
    exact.into_iter().flatten().all(|(key, value)| label(key) == Some(value.as_str()))
        && expressions.iter().all(|expression| {
            let value = label(&expression.key);
            let listed = |value: &str| expression.values.iter().flatten().any(|listed| listed == value);
            match expression.operator.as_str() {
                "In" => value.is_some_and(listed),
                "NotIn" => !value.is_some_and(listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// The patch that adds `owner`'s reference to an object, bound to the object's UID.
pub fn adoption<K: Resource<DynamicType = ()>>(owner: &K, uid: &str) -> serde_json::Value {
    serde_json::json!({"metadata": {"uid": uid, "ownerReferences": [reference(owner)]}})
}

/// The patch that removes the reference to the owner with `owner_uid`, bound to the object's UID.
pub fn release(owner_uid: &str, uid: &str) -> serde_json::Value {
    serde_json::json!({"metadata": {"uid": uid, "ownerReferences": [{"$patch": "delete", "uid": owner_uid}]}})
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};

    use super::*;

    fn parse<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn claims_follow_selector_and_reference() {
        let owner: ReplicaSet = parse(serde_json::json!({"metadata": {"uid": "u"}}));
        let selector: LabelSelector = parse(serde_json::json!({"matchLabels": {"app": "web"}}));
        let pod = |app: &str, owner: Option<&str>| -> Pod {
            let owners: Vec<_> = owner
                .map(|uid| serde_json::json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}))
                .into_iter()
                .collect();
            parse(serde_json::json!({"metadata": {"labels": {"app": app}, "ownerReferences": owners}}))
        };
        assert_eq!(claim(&owner, &selector, &pod("web", Some("u"))), Claim::Owned);
        assert_eq!(claim(&owner, &selector, &pod("web", None)), Claim::Adopt);
        assert_eq!(claim(&owner, &selector, &pod("db", Some("u"))), Claim::Release);
        assert_eq!(claim(&owner, &selector, &pod("web", Some("other"))), Claim::Foreign);
        assert_eq!(claim(&owner, &selector, &pod("db", None)), Claim::Foreign);
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        assert!(!selects(&LabelSelector::default(), &Pod::default()));
    }
}
