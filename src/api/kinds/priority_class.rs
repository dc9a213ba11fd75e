//! Priority classes: names for how much a pod matters.

use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
};

/// Highest value that users may give; what is above belongs to the system.
pub const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;
const SYSTEM: [(&str, i32); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// `scheduling.k8s.io/v1.PriorityClass`
pub struct PriorityClassKind;

impl Kind for PriorityClassKind {
    type Object = PriorityClass;
    const NAMES: Names = Names {
        short_names: &["pc"],
        ..names::cluster(
            names::GroupVersion::v1("scheduling.k8s.io"),
            "PriorityClass",
            "priorityclasses",
            "priorityclass",
        )
    };
    const GENERATION: Generation = Generation::Once;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Value", "integer", "The priority; higher matters more."),
        cells::column("Global-Default", "boolean", "Whether pods without a class get this one."),
        cells::AGE,
        cells::column("PreemptionPolicy", "string", "Whether pods of the class drive out others."),
    ];

    fn default(class: &mut PriorityClass) {
        class.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    }

    fn validate(class: &PriorityClass) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (name, value) = (class.metadata.name.as_deref().unwrap_or_default(), class.value.unwrap_or_default());
        if name.starts_with("system-") {
            if !SYSTEM.contains(&(name, value)) {
                let detail = "priority class names with 'system-' prefix are reserved for system use only. error: the \
                              system-critical priority class is not known";
                causes.push(field::forbidden(&Path::new("metadata.name"), detail));
            }
        } else if value > HIGHEST_USER_PRIORITY {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
            causes.push(field::forbidden(&Path::new("value"), &detail));
        }
        let (policies, path) = (["PreemptLowerPriority", "Never"], Path::new("preemptionPolicy"));
        match class.preemption_policy.as_deref().unwrap_or_default() {
            "" => causes.push(field::required(&path, "")),
            policy if !policies.contains(&policy) => {
                causes.push(field::unsupported(&path, policy, &policies));
            }
            _ => {}
        }
        causes
    }

    /// Of a change, only what may not be changed is looked at.
    fn validate_again(_: &PriorityClass, _: &PriorityClass) -> Vec<Cause> {
        Vec::new()
    }

    fn validate_update(new: &PriorityClass, old: &PriorityClass) -> Vec<Cause> {
        let mut causes = Vec::new();
        if new.value != old.value {
            causes.push(field::forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        causes.extend(field::immutable(&Path::new("preemptionPolicy"), &new.preemption_policy, &old.preemption_policy));
        causes
    }

    fn cells(class: &PriorityClass, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(&class.metadata),
            json!(class.value.unwrap_or_default()),
            json!(class.global_default.unwrap_or_default()),
            cells::age(&class.metadata, now),
            json!(class.preemption_policy),
        ]
    }
}
