//! Finalizers of controllers that keep an object while it is in use.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::controllers::{ignore_not_found, is_conflict};

/// What is to be done about a finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The object has none, though it should.
    Add,
    /// Nothing uses the object that is being deleted.
    Remove,
}

/// What is to be done about `finalizer` of an object that is in use or not.
pub(super) fn plan(metadata: &ObjectMeta, finalizer: &str, in_use: impl FnOnce() -> bool) -> Option<Action> {
    let present = metadata.finalizers.iter().flatten().any(|one| one == finalizer);
    match (metadata.deletion_timestamp.is_some(), present) {
        (false, false) => Some(Action::Add),
        (true, true) if !in_use() => Some(Action::Remove),
        _ => None,
    }
}

/// Does it to the version that was seen. If that is no longer the present one, the watch brings what is.
pub(super) async fn apply<K>(api: &Api<K>, metadata: &ObjectMeta, finalizer: &str, action: Action) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let kept = metadata.finalizers.iter().flatten().filter(|one| *one != finalizer).cloned();
    let finalizers: Vec<String> = match action {
        Action::Add => kept.chain([finalizer.to_owned()]).collect(),
        Action::Remove => kept.collect(),
    };
    let patch = json!({"metadata": {"resourceVersion": metadata.resource_version, "finalizers": finalizers}});
    let name = metadata.name.as_deref().unwrap_or_default();
    match ignore_not_found(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await) {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn the_finalizer_stays_while_the_object_is_used() {
        let mut metadata = ObjectMeta::default();
        assert_eq!(plan(&metadata, "f", || true), Some(Action::Add));
        metadata.finalizers = Some(vec!["f".into()]);
        assert_eq!(plan(&metadata, "f", || false), None);
        metadata.deletion_timestamp = Some(Time(jiff::Timestamp::now()));
        assert_eq!(plan(&metadata, "f", || true), None);
        assert_eq!(plan(&metadata, "f", || false), Some(Action::Remove));
        metadata.finalizers = None;
        assert_eq!(plan(&metadata, "f", || false), None);
    }
}
