//! Daemon sets: a pod on every node that fits.

use std::num::{IntErrorKind, ParseIntError};

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{DaemonSet, DaemonSetUpdateStrategy},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use super::{
    cells, names, pod_template,
    workload::{self, SelectorRule, ShownRollingUpdate, ShownStrategy},
};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    meta,
    status::Cause,
    update_check::{self, UpdateCheck},
};

const ROLLING_UPDATE: &str = "RollingUpdate";
const ON_DELETE: &str = "OnDelete";
/// How often the template changed, which was a field before `apps/v1`; the server keeps it in an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const SELECTOR_RULE: SelectorRule = SelectorRule { is_required: false, unusable: None };

/// `apps/v1.DaemonSet`
pub struct DaemonSetKind;

impl Kind for DaemonSetKind {
    type Object = DaemonSet;
    const NAMES: Names = Names {
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::APPS, "DaemonSet", "daemonsets", "daemonset")
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Desired", "integer", "Nodes that should run a pod."),
        cells::column("Current", "integer", "Nodes that run a pod and should."),
        cells::column("Ready", "integer", "Nodes whose pod is ready."),
        cells::column("Up-to-date", "integer", "Nodes whose pod is of the current template."),
        cells::column("Available", "integer", "Nodes whose pod has been ready for long enough."),
        cells::column("Node Selector", "string", "Labels of the nodes."),
        cells::AGE,
        cells::wide("Containers", "string", "Names of the template's containers."),
        cells::wide("Images", "string", "Images of the template's containers."),
        cells::wide("Selector", "string", "Labels of the set's pods."),
    ];

    fn default(set: &mut DaemonSet) {
        let spec = set.spec.get_or_insert_default();
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        let kind = strategy.type_.take().filter(|kind| !kind.is_empty()).unwrap_or_else(|| ROLLING_UPDATE.to_owned());
        if kind == ROLLING_UPDATE {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        strategy.type_ = Some(kind);
        pod_template::defaults::template(&mut spec.template);
    }

    fn validate(set: &DaemonSet) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = set.spec.clone().unwrap_or_default();
        let numbers =
            [("minReadySeconds", spec.min_ready_seconds), ("revisionHistoryLimit", spec.revision_history_limit)];
        let mut causes = workload::non_negative(&numbers, &path);
        causes.extend(workload::selector_and_template(&spec.selector, &spec.template, SELECTOR_RULE, &path));
        causes.extend(workload::always_restarts(&spec.template, "DaemonSet", &path));
        if let Some(strategy) = &spec.update_strategy {
            causes.extend(self::strategy(strategy, &path.child("updateStrategy")));
        }
        causes
    }

    fn validate_update(new: &DaemonSet, old: &DaemonSet) -> Vec<Cause> {
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        workload::fixed_selector(&new.selector, &old.selector).into_iter().collect()
    }

    fn validate_status_update(new: &DaemonSet, old: &DaemonSet) -> Vec<Cause> {
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        let status = new.status.clone().unwrap_or_default();
        let path = Path::new("status");
        let others = [
            ("numberMisscheduled", Some(i64::from(status.number_misscheduled))),
            ("desiredNumberScheduled", Some(i64::from(status.desired_number_scheduled))),
            ("numberReady", Some(i64::from(status.number_ready))),
            ("observedGeneration", status.observed_generation),
            ("updatedNumberScheduled", status.updated_number_scheduled.map(i64::from)),
            ("numberAvailable", status.number_available.map(i64::from)),
            ("numberUnavailable", status.number_unavailable.map(i64::from)),
            ("collisionCount", status.collision_count.map(i64::from)),
        ];
        let scheduled = ("currentNumberScheduled", status.current_number_scheduled);
        let mut causes = workload::counts(scheduled, &[], &others, &path);
        causes.extend(workload::collisions(status.collision_count, before, &path));
        causes
    }

    fn before_decoding(object: &mut Value) -> Result<(), String> {
        let annotations = meta::metadata(object).and_then(|all| all.get("annotations"));
        let text = annotations.and_then(|all| all.get(TEMPLATE_GENERATION)).and_then(Value::as_str);
        text.map_or(Ok(()), |text| template_generation(text).map(|_| ()))
    }

    fn prepare_for_create(set: &mut DaemonSet) {
        pod_template::disabled::drop_from_template(&mut set.spec.get_or_insert_default().template, None);
        set_template_generation(set, 1);
    }

    fn prepare_for_update(new: &mut DaemonSet, old: &DaemonSet) {
        let before = old.spec.as_ref().map(|old| &old.template);
        pod_template::disabled::drop_from_template(&mut new.spec.get_or_insert_default().template, before);
        let changed = new.spec.as_ref().map(|new| &new.template) != before;
        let known = old.metadata.annotations.as_ref().and_then(|all| all.get(TEMPLATE_GENERATION));
        let generation = known.and_then(|text| template_generation(text).ok()).unwrap_or_default();
        set_template_generation(new, generation + i64::from(changed));
    }

    fn warnings(new: &DaemonSet, old: Option<&DaemonSet>) -> Vec<String> {
        let template = new.spec.as_ref().map(|spec| &spec.template);
        workload::warnings(template, &new.metadata, old.map(|old| &old.metadata))
    }

    fn cells(set: &DaemonSet, now: Timestamp) -> Vec<Value> {
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let template = spec.template.spec.as_ref();
        let (names, images) = cells::containers(template);
        vec![
            cells::name(&set.metadata),
            json!(status.desired_number_scheduled),
            json!(status.current_number_scheduled),
            json!(status.number_ready),
            json!(status.updated_number_scheduled.unwrap_or_default()),
            json!(status.number_available.unwrap_or_default()),
            json!(cells::labels(template.and_then(|spec| spec.node_selector.as_ref()))),
            cells::age(&set.metadata, now),
            json!(names),
            json!(images),
            json!(cells::selector(Some(&spec.selector))),
        ]
    }
}

/// How many templates the set has had, in Go's words if it is no number.
fn template_generation(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {}: {why}", json!(text))
    })
}

fn set_template_generation(set: &mut DaemonSet, generation: i64) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string());
}

fn strategy(strategy: &DaemonSetUpdateStrategy, path: &Path) -> Vec<Cause> {
    let path_rolling = path.child("rollingUpdate");
    match (strategy.type_.as_deref().unwrap_or_default(), &strategy.rolling_update) {
        (ON_DELETE, _) => Vec::new(),
        (ROLLING_UPDATE, None) => vec![field::required(&path_rolling, "")],
        (ROLLING_UPDATE, Some(update)) => {
            let (surge, unavailable) = (update.max_surge.as_ref(), update.max_unavailable.as_ref());
            let mut causes = workload::count_or_percent(unavailable, &path_rolling.child("maxUnavailable"), true);
            causes.extend(workload::count_or_percent(surge, &path_rolling.child("maxSurge"), true));
            match (workload::is_zero(unavailable), workload::is_zero(surge)) {
                (true, true) => {
                    let detail = "cannot be 0 when maxSurge is 0";
                    causes.push(field::required(&path_rolling.child("maxUnavailable"), detail));
                }
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    causes.push(field::invalid(&path_rolling.child("maxSurge"), surge, detail));
                }
                _ => {}
            }
            causes
        }
        (kind, update) => {
            let rolling_update = update.as_ref().map(|update| ShownRollingUpdate {
                max_unavailable: update.max_unavailable.as_ref(),
                max_surge: update.max_surge.as_ref(),
            });
            let shown = ShownStrategy { r#type: kind, rolling_update };
            vec![field::unsupported(path, shown, &[ROLLING_UPDATE, ON_DELETE])]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn a_set_replaces_one_pod_at_a_time() {
        let strategy = descriptor::<DaemonSetKind>().strategy;
        let set = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        let set = strategy.decode(set).unwrap();
        assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 0}));
        assert_eq!(strategy.validate(&set), []);
        assert_eq!(strategy.cells(&set, Timestamp::UNIX_EPOCH)[6], "<none>");
    }
}
