//! Conditions that must hold before a device is bound, and those that say that it cannot be (KEP-5007).

use super::{each, repeated};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const LIMIT: usize = 4;

/// Problems of binding conditions and their failures, of a device or of what was allocated of it.
pub fn validate(conditions: Option<&Vec<String>>, failures: Option<&Vec<String>>, path: &Path) -> Vec<Cause> {
    let [conditions_path, failures_path] =
        ["bindingConditions", "bindingFailureConditions"].map(|name| path.child(name));
    let label = |text: &String, path: &Path| field::invalid_each(path, text, &name::qualified_name(text));
    let list = |given: Option<&'_ Vec<String>>| given.cloned().unwrap_or_default();
    let (wanted, failed) = (list(conditions), list(failures));
    let mut causes = each(&wanted, LIMIT, &conditions_path, label);
    causes.extend(each(&failed, LIMIT, &failures_path, label));
    causes.extend(repeated(&wanted, |text| text, &conditions_path));
    let twice = repeated(&failed, |text| text, &failures_path);
    for (index, text) in failed.iter().enumerate() {
        let path = failures_path.index(index);
        causes.extend(twice.iter().filter(|cause| cause.field == path.as_str()).cloned());
        if wanted.contains(text) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            causes.push(field::invalid(&path, text, detail));
        }
    }
    if wanted.is_empty() && !failed.is_empty() {
        let detail = "bindingConditions are required to use bindingFailureConditions";
        causes.push(field::invalid(&conditions_path, conditions, detail));
    }
    if failed.is_empty() && !wanted.is_empty() {
        let detail = "bindingFailureConditions are required to use bindingConditions";
        causes.push(field::invalid(&failures_path, failures, detail));
    }
    causes
}
