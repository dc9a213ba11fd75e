//! The VAC protection controller: a class of volume attributes stays as long as a volume or a claim names it.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::VolumeAttributesClass,
};
use kube::{Api, api::PostParams};

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        finalizer::{Action, plan},
        ignore_not_found, is_conflict,
    },
};

const NAME: &str = "volumeattributesclass-protection-controller";
const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Runs the controller.
pub async fn run(context: Context) {
    let queue = WorkQueue::<ObjectKey>::new();
    let classes = context.informers.of::<VolumeAttributesClass>();
    let volumes = context.informers.of::<PersistentVolume>();
    let claims = context.informers.of::<PersistentVolumeClaim>();
    classes.synced().await;
    volumes.synced().await;
    claims.synced().await;
    let nudged = queue.clone();
    classes.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    // Who no longer names a class may have been the last.
    let nudged = queue.clone();
    volumes.on_change(move |delta| {
        let before = delta.old.and_then(|volume| of_volume(volume));
        before.into_iter().for_each(|class| nudged.add(ObjectKey::new("", class)));
    });
    let nudged = queue.clone();
    claims.on_change(move |delta| {
        let before = delta.old.map(|claim| of_claim(claim)).unwrap_or_default();
        before.into_iter().for_each(|class| nudged.add(ObjectKey::new("", class)));
    });
    let api: Api<VolumeAttributesClass> = Api::all(context.client(NAME));
    let reconcile = |key: ObjectKey| {
        let class = classes.get(&key);
        let (volumes, claims, api) = (&volumes, &claims, api.clone());
        async move {
            if let Some(class) = class
                && let Some(action) = plan(&class.metadata, FINALIZER, || is_used(&key.name, volumes, claims))
            {
                apply(&api, &class, action).await?;
            }
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run(NAME, 4, reconcile).await;
}

fn is_used(name: &str, volumes: &Informer<PersistentVolume>, claims: &Informer<PersistentVolumeClaim>) -> bool {
    volumes.list().iter().any(|volume| of_volume(volume) == Some(name))
        || claims.list().iter().any(|claim| of_claim(claim).contains(&name))
}

/// The class that a volume has.
fn of_volume(volume: &PersistentVolume) -> Option<&str> {
    volume.spec.as_ref()?.volume_attributes_class_name.as_deref()
}

/// Classes that a claim has, or is to have.
fn of_claim(claim: &PersistentVolumeClaim) -> Vec<&str> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let target = status
        .and_then(|status| status.modify_volume_status.as_ref())
        .and_then(|modification| modification.target_volume_attributes_class_name.as_deref());
    wanted.into_iter().chain(current).chain(target).collect()
}

/// Does it to the version that was seen, as a whole: the controller's role has no patches.
async fn apply(
    api: &Api<VolumeAttributesClass>,
    class: &Arc<VolumeAttributesClass>,
    action: Action,
) -> kube::Result<()> {
    let mut class = VolumeAttributesClass::clone(class);
    let finalizers = class.metadata.finalizers.get_or_insert_default();
    finalizers.retain(|one| one != FINALIZER);
    if action == Action::Add {
        finalizers.push(FINALIZER.to_owned());
    }
    let name = class.metadata.name.clone().unwrap_or_default();
    match ignore_not_found(api.replace(&name, &PostParams::default(), &class).await) {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_names_what_it_has_and_what_it_is_to_have() {
        let claim = json!({
            "metadata": {"name": "a"}, "spec": {"volumeAttributesClassName": "gold"},
            "status": {"currentVolumeAttributesClassName": "silver",
                       "modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "gold"}},
        });
        assert_eq!(of_claim(&serde_json::from_value(claim).unwrap()), ["gold", "silver", "gold"]);
        let volume = json!({"metadata": {"name": "a"}, "spec": {"volumeAttributesClassName": "gold"}});
        assert_eq!(of_volume(&serde_json::from_value(volume).unwrap()), Some("gold"));
    }
}
