//! Stateful sets: numbered pods, each with a name and volumes of its own.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    cells, names, persistent_volume_claim, pod_template,
    workload::{self, SelectorRule, ShownStrategy},
};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, NameRule, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const ROLLING_UPDATE: &str = "RollingUpdate";
const STRATEGIES: &[&str] = &["OnDelete", ROLLING_UPDATE];
const RETENTIONS: &[&str] = &["Retain", "Delete"];
const SELECTOR_RULE: SelectorRule = SelectorRule { is_required: true, unusable: Some("") };

/// `apps/v1.StatefulSet`
pub struct StatefulSetKind;

impl Kind for StatefulSetKind {
    type Object = StatefulSet;
    const NAMES: Names = Names {
        short_names: &["sts"],
        categories: &["all"],
        subresources: &[Subresource::Status, Subresource::Scale],
        ..names::namespaced(names::APPS, "StatefulSet", "statefulsets", "statefulset")
    };
    const NAME_RULE: NameRule = NameRule::Label;
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Ready", "string", "Ready pods of all that should be."),
        cells::AGE,
        cells::wide("Containers", "string", "Names of the template's containers."),
        cells::wide("Images", "string", "Images of the template's containers."),
    ];

    fn default(set: &mut StatefulSet) {
        let spec = set.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.pod_management_policy.get_or_insert_with(|| "OrderedReady".to_owned());
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.as_deref().unwrap_or_default().is_empty() {
            strategy.type_ = Some(ROLLING_UPDATE.to_owned());
            strategy.rolling_update.get_or_insert_default();
        }
        if let Some(update) =
            strategy.rolling_update.as_mut().filter(|_| strategy.type_.as_deref() == Some(ROLLING_UPDATE))
        {
            update.partition.get_or_insert(0);
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        retention.when_deleted.get_or_insert_with(|| "Retain".to_owned());
        retention.when_scaled.get_or_insert_with(|| "Retain".to_owned());
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            persistent_volume_claim::default(claim);
        }
        pod_template::defaults::template(&mut spec.template);
    }

    /// Claims in templates are of one type, whatever they say.
    fn before_decoding(object: &mut Value) -> Result<(), String> {
        let claims = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
        for claim in claims.into_iter().flatten().filter_map(Value::as_object_mut) {
            claim.remove("apiVersion");
            claim.remove("kind");
        }
        Ok(())
    }

    fn prepare_for_create(set: &mut StatefulSet) {
        let spec = set.spec.get_or_insert_default();
        pod_template::disabled::drop_from_template(&mut spec.template, None);
        drop_max_unavailable(spec, None);
    }

    fn prepare_for_update(new: &mut StatefulSet, old: &StatefulSet) {
        let (spec, old) = (new.spec.get_or_insert_default(), old.spec.as_ref());
        pod_template::disabled::drop_from_template(&mut spec.template, old.map(|old| &old.template));
        drop_max_unavailable(spec, old);
    }

    fn validate(set: &StatefulSet) -> Vec<Cause> {
        let spec = set.spec.clone().unwrap_or_default();
        let path = Path::new("spec");
        let mut causes = validate_spec(&spec, &path);
        causes.extend(claims(&spec, &path));
        if let Some(service) = spec.service_name.as_deref().filter(|service| !service.is_empty()) {
            causes.extend(field::invalid_each(&path.child("serviceName"), service, &name::dns1123_label(service)));
        }
        causes
    }

    /// What cannot change is not looked at again.
    fn validate_again(new: &StatefulSet, _: &StatefulSet) -> Vec<Cause> {
        validate_spec(&new.spec.clone().unwrap_or_default(), &Path::new("spec"))
    }

    fn validate_status_update(new: &StatefulSet, old: &StatefulSet) -> Vec<Cause> {
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        let status = new.status.clone().unwrap_or_default();
        let path = Path::new("status");
        let count = Option::unwrap_or_default;
        let parts = [
            ("readyReplicas", count(status.ready_replicas)),
            ("currentReplicas", count(status.current_replicas)),
            ("updatedReplicas", count(status.updated_replicas)),
            ("availableReplicas", count(status.available_replicas)),
        ];
        let others = [
            ("observedGeneration", status.observed_generation),
            ("collisionCount", status.collision_count.map(i64::from)),
        ];
        let mut causes = workload::counts(("replicas", status.replicas), &parts, &others, &path);
        let (available, ready) = (count(status.available_replicas), count(status.ready_replicas));
        causes.extend(workload::available(available, ready, "status.readyReplicas", &path));
        causes.extend(workload::collisions(status.collision_count, before, &path));
        causes
    }

    fn warnings(new: &StatefulSet, old: Option<&StatefulSet>) -> Vec<String> {
        let template = new.spec.as_ref().map(|spec| &spec.template);
        let mut warnings = workload::warnings(template, &new.metadata, old.map(|old| &old.metadata));
        if new.spec.as_ref().and_then(|spec| spec.revision_history_limit).is_some_and(|limit| limit < 0) {
            let advice = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {advice}"));
        }
        warnings
    }

    fn validate_update(new: &StatefulSet, old: &StatefulSet) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        if fixed(&new) == fixed(&old) {
            return Vec::new();
        }
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        vec![field::forbidden(&Path::new("spec"), detail)]
    }

    fn cells(set: &StatefulSet, now: Timestamp) -> Vec<Value> {
        let spec = set.spec.clone().unwrap_or_default();
        let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let (names, images) = cells::containers(spec.template.spec.as_ref());
        vec![
            cells::name(&set.metadata),
            json!(format!("{ready}/{}", spec.replicas.unwrap_or_default())),
            cells::age(&set.metadata, now),
            json!(names),
            json!(images),
        ]
    }
}

/// Problems of what may change.
fn validate_spec(spec: &StatefulSetSpec, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = pod_management(spec, &path.child("podManagementPolicy")).into_iter().collect();
    causes.extend(update_strategy(spec, &path.child("updateStrategy")));
    causes.extend(retention(spec, &path.child("persistentVolumeClaimRetentionPolicy")));
    let numbers = [("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds)];
    causes.extend(workload::non_negative(&numbers, path));
    if let Some(start) = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start) {
        causes.extend(workload::non_negative(&[("start", Some(start))], &path.child("ordinals")));
    }
    let template = as_in_pods(spec);
    causes.extend(workload::selector_and_template(&spec.selector, &template, SELECTOR_RULE, path));
    // Upstream looks at these twice.
    causes.extend(pod_template::metadata(&template, &path.child("template")));
    causes.extend(workload::always_restarts(&spec.template, "StatefulSet", path));
    causes
}

/// A feature that is off unless somebody turns it on (KEP-961).
fn drop_max_unavailable(spec: &mut StatefulSetSpec, old: Option<&StatefulSetSpec>) {
    let had = old.and_then(|old| old.update_strategy.as_ref()?.rolling_update.as_ref()?.max_unavailable.as_ref());
    let update = spec.update_strategy.as_mut().and_then(|strategy| strategy.rolling_update.as_mut());
    if let Some(update) = update.filter(|_| had.is_none()) {
        update.max_unavailable = None;
    }
}

fn pod_management(spec: &StatefulSetSpec, path: &Path) -> Option<Cause> {
    match spec.pod_management_policy.as_deref().unwrap_or_default() {
        "OrderedReady" | "Parallel" => None,
        "" => Some(field::required(path, "")),
        policy => Some(field::invalid(path, policy, "must be 'OrderedReady' or 'Parallel'")),
    }
}

/// What becomes of claims.
fn retention(spec: &StatefulSetSpec, path: &Path) -> Vec<Cause> {
    let retention = spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
    let mut causes = Vec::new();
    for (name, when) in [("whenDeleted", &retention.when_deleted), ("whenScaled", &retention.when_scaled)] {
        causes.extend(field::one_of(&path.child(name), when.as_deref().unwrap_or_default(), RETENTIONS));
    }
    causes
}

/// Templates of claims.
fn claims(spec: &StatefulSetSpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        let path = path.child("volumeClaimTemplates").index(index).child("spec");
        causes.extend(persistent_volume_claim::validate(&claim.spec.clone().unwrap_or_default(), &path));
    }
    causes
}

fn update_strategy(spec: &StatefulSetSpec, path: &Path) -> Vec<Cause> {
    let strategy = spec.update_strategy.clone().unwrap_or_default();
    let kind = strategy.type_.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    if kind.is_empty() {
        causes.push(field::required(path, ""));
    } else if !STRATEGIES.contains(&kind) {
        let rolling_update = strategy.rolling_update.as_ref().map(|update| ShownPartition {
            partition: update.partition.unwrap_or_default(),
            max_unavailable: update.max_unavailable.as_ref(),
        });
        let shown = ShownStrategy { r#type: kind, rolling_update };
        causes.push(field::invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'"));
        return causes;
    }
    let rolling = path.child("rollingUpdate");
    match &strategy.rolling_update {
        Some(_) if strategy.type_.as_deref() == Some("OnDelete") => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            causes.push(field::invalid(&rolling, &strategy.rolling_update, detail));
        }
        Some(update) => {
            causes.extend(workload::non_negative(&[("partition", update.partition)], &rolling));
            let unavailable = update.max_unavailable.as_ref();
            causes.extend(workload::count_or_percent(unavailable, &rolling.child("maxUnavailable"), true));
            if unavailable.is_some() && workload::is_zero(unavailable) {
                causes.push(field::invalid(&rolling.child("maxUnavailable"), unavailable, "cannot be 0"));
            }
        }
        None => {}
    }
    causes
}

/// How a rolling update goes, as errors show it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownPartition<'a> {
    partition: i32,
    max_unavailable: Option<&'a IntOrString>,
}

/// The template with a volume for each claim, as its pods get them, and without the names that pods get of their own.
fn as_in_pods(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let Some(pod) = &mut template.spec else { return template };
    (pod.subdomain, pod.hostname) = (None, None);
    for claim in spec.volume_claim_templates.iter().flatten() {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let volumes = pod.volumes.get_or_insert_default();
        volumes.retain(|volume| volume.name != name);
        let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), ..Default::default() };
        volumes.push(Volume { name, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    template
}

/// The spec without what an update may change.
fn fixed(spec: &StatefulSetSpec) -> StatefulSetSpec {
    StatefulSetSpec {
        replicas: None,
        ordinals: None,
        template: Default::default(),
        update_strategy: None,
        revision_history_limit: None,
        persistent_volume_claim_retention_policy: None,
        min_ready_seconds: None,
        ..spec.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn only_some_fields_may_change() {
        let strategy = descriptor::<StatefulSetKind>().strategy;
        let set = |service: &str, replicas: i32| {
            let set = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"serviceName": service,
                "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
            strategy.decode(set).unwrap()
        };
        assert_eq!(strategy.validate(&set("s", 1)), []);
        assert_eq!(strategy.validate_update(&set("s", 3), &set("s", 1)), []);
        let causes = strategy.validate_update(&set("t", 1), &set("s", 1));
        assert!(
            causes[0].message.starts_with("Forbidden: updates to statefulset spec for fields other than 'replicas'")
        );
    }
}
