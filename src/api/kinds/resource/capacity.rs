//! Capacities of devices, and how much of one may be asked for (KEP-5075).

use k8s_openapi::{
    api::resource::v1::{CapacityRequestPolicy, CapacityRequestPolicyRange, DeviceCapacity},
    apimachinery::pkg::api::resource::Quantity as Text,
};

use super::{each, repeated};
use crate::api::{
    field::{self, Path},
    quantity::{Format, Quantity},
    status::Cause,
};

const OPTIONS_LIMIT: usize = 10;

/// Problems of a capacity; only a device that may be allocated more than once is asked for parts of one.
pub fn validate(capacity: &DeviceCapacity, is_shared: bool, path: &Path) -> Vec<Cause> {
    let Some(policy) = &capacity.request_policy else { return Vec::new() };
    let path = path.child("requestPolicy");
    if !is_shared {
        return vec![field::forbidden(&path, "allowMultipleAllocations must be true")];
    }
    validate_policy(policy, parsed(&capacity.value), &path)
}

fn validate_policy(policy: &CapacityRequestPolicy, most: Quantity, path: &Path) -> Vec<Cause> {
    let options = policy.valid_values.as_deref().unwrap_or_default();
    let default = policy.default.as_ref().map(parsed);
    let missing =
        |which: &str| vec![field::required(&path.child("default"), &format!("required when {which} is defined"))];
    match (options.is_empty(), &policy.valid_range) {
        (false, Some(_)) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at \
                          the same time";
            vec![field::forbidden(path, detail)]
        }
        (false, None) => default.map_or_else(
            || missing("validValues"),
            |default| validate_options(options, default, most, &path.child("validValues")),
        ),
        (true, Some(range)) => default.map_or_else(
            || missing("validRange"),
            |default| validate_range(range, default, most, &path.child("validRange")),
        ),
        (true, None) => Vec::new(),
    }
}

fn validate_options(options: &[Text], default: Quantity, most: Quantity, path: &Path) -> Vec<Cause> {
    let options: Vec<Quantity> = options.iter().map(parsed).collect();
    let mut causes = Vec::new();
    for (index, pair) in options.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let detail = "values must be sorted in ascending order";
            causes.push(field::invalid(&path.index(index + 1), pair[1].to_string(), detail));
        }
    }
    causes.extend(each(&options, OPTIONS_LIMIT, path, |option, path| {
        let detail = format!("option is larger than capacity value: {most}");
        if *option > most { vec![field::invalid(path, option.to_string(), &detail)] } else { Vec::new() }
    }));
    causes.extend(repeated(&options, |option| option.value().to_string(), path));
    if !options.contains(&default) {
        let detail = "default value is not valid according to the requestPolicy";
        causes.push(field::invalid(path, default.to_string(), detail));
    }
    causes
}

fn validate_range(range: &CapacityRequestPolicyRange, default: Quantity, most: Quantity, path: &Path) -> Vec<Cause> {
    if range.min.0.is_empty() {
        return vec![field::required(&path.child("min"), "required when validRange is defined")];
    }
    let (low, high) = (parsed(&range.min), range.max.as_ref().map(parsed));
    let mut causes = Vec::new();
    let mut refuse = |holds: bool, name: &str, value: Quantity, detail: String| {
        if holds {
            causes.push(field::invalid(&path.child(name), value.to_string(), &detail));
        }
    };
    refuse(low > most, "min", low, format!("min is larger than capacity value: {most}"));
    refuse(default < low, "min", default, format!("default is less than min: {low}"));
    if let Some(high) = high {
        refuse(low > high, "max", low, format!("min is larger than max: {high}"));
        refuse(high > most, "max", high, format!("max is larger than capacity value: {most}"));
        refuse(default > high, "max", default, format!("default is more than max: {high}"));
    }
    if let Some(step) = range.step.as_ref().map(parsed) {
        let added = low + step;
        refuse(added > most, "step", step, format!("one step {added} is larger than capacity value: {most}"));
        for value in std::iter::once(default).chain(high) {
            let off = value.value().wrapping_sub(low.value()).checked_rem(step.value()) != Some(0);
            refuse(off, "step", value, format!("value is not a multiple of a given step ({step}) from ({low})"));
        }
    }
    causes
}

/// Decoding has refused what is no quantity.
fn parsed(text: &Text) -> Quantity {
    text.0.parse().unwrap_or_else(|_| Quantity::new(0, Format::DecimalSi))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(policy: Value) -> Vec<String> {
        let capacity = serde_json::from_value(json!({"value": "10Gi", "requestPolicy": policy})).unwrap();
        let causes = validate(&capacity, true, &Path::new("c"));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn what_may_be_asked_for_fits_the_capacity() {
        let range = |min: &str, max: &str, step: &str| json!({"min": min, "max": max, "step": step});
        assert_eq!(problems(json!({"default": "1Gi", "validRange": range("1Gi", "10Gi", "1Gi")})), [""; 0]);
        assert_eq!(
            problems(json!({"default": "7", "validRange": range("1Gi", "10Gi", "1Gi")})),
            [
                "c.requestPolicy.validRange.min: Invalid value: \"7\": default is less than min: 1Gi",
                "c.requestPolicy.validRange.step: Invalid value: \"7\": value is not a multiple of a given step (1Gi) from \
                 (1Gi)"
            ]
        );
        assert_eq!(
            problems(json!({"default": "3", "validValues": ["2", "1", "11Gi"]})),
            [
                "c.requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
                "c.requestPolicy.validValues[2]: Invalid value: \"11Gi\": option is larger than capacity value: 10Gi",
                "c.requestPolicy.validValues: Invalid value: \"3\": default value is not valid according to the \
                 requestPolicy",
            ]
        );
    }
}
