//! What a claim asks for, as claims and templates of claims have it.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceToleration, OpaqueDeviceConfiguration,
    ResourceClaimSpec,
};
use serde_json::Value;

use super::{LIST_LIMIT, driver, each, raw, repeated, selector};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const FIRST_AVAILABLE_LIMIT: usize = 8;
const TOLERATIONS_LIMIT: usize = 16;
const EXPRESSION_LIMIT_BYTES: usize = 10 * 1024;
const PARAMETERS_LIMIT_BYTES: usize = 10 * 1024;
const MODES: &[&str] = &["All", "ExactCount"];
const OPERATORS: &[&str] = &["Equal", "Exists"];
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

/// How devices are asked for, in a request or one of its alternatives.
struct Ask<'a> {
    class: &'a str,
    mode: Option<&'a str>,
    count: Option<i64>,
    selectors: &'a [DeviceSelector],
    tolerations: &'a [DeviceToleration],
}

/// Fills in how many devices are meant.
pub fn default(spec: &mut ResourceClaimSpec) {
    let requests = spec.devices.iter_mut().flat_map(|devices| devices.requests.iter_mut().flatten());
    for request in requests {
        if let Some(exactly) = request.exactly.as_mut() {
            default_count(&mut exactly.allocation_mode, &mut exactly.count, &mut exactly.tolerations);
        }
        for alternative in request.first_available.iter_mut().flatten() {
            default_count(&mut alternative.allocation_mode, &mut alternative.count, &mut alternative.tolerations);
        }
    }
}

fn default_count(mode: &mut Option<String>, count: &mut Option<i64>, tolerations: &mut Option<Vec<DeviceToleration>>) {
    let mode = mode.get_or_insert_with(|| "ExactCount".to_owned());
    if mode == "ExactCount" && count.unwrap_or_default() == 0 {
        *count = Some(1);
    }
    for toleration in tolerations.iter_mut().flatten() {
        toleration.operator.get_or_insert_with(|| "Equal".to_owned());
    }
}

/// Problems of a claim's spec.
pub fn validate(spec: &ResourceClaimSpec, path: &Path) -> Vec<Cause> {
    let Some(devices) = &spec.devices else { return Vec::new() };
    let path = path.child("devices");
    let requests = devices.requests.as_deref().unwrap_or_default();
    let mut causes = each(requests, LIST_LIMIT, &path.child("requests"), request);
    causes.extend(repeated(requests, |one| &one.name, &path.child("requests")));
    let names = request_names(devices);
    let constraints = devices.constraints.as_deref().unwrap_or_default();
    causes.extend(each(constraints, LIST_LIMIT, &path.child("constraints"), |one, path| constraint(one, &names, path)));
    let configurations = devices.config.as_deref().unwrap_or_default();
    causes.extend(each(configurations, LIST_LIMIT, &path.child("config"), |one, path| {
        let mut causes = references(one.requests.as_deref().unwrap_or_default(), &names, &path.child("requests"));
        causes.extend(opaque(one.opaque.as_ref(), &path.child("opaque")));
        causes
    }));
    causes
}

/// Problems of the selectors of a request or class.
pub fn selectors(selectors: &[DeviceSelector], path: &Path) -> Vec<Cause> {
    each(selectors, LIST_LIMIT, path, |selector, path| match &selector.cel {
        None => vec![field::required(&path.child("cel"), "")],
        Some(cel) if cel.expression.len() > EXPRESSION_LIMIT_BYTES => {
            vec![field::too_long(&path.child("cel").child("expression"), EXPRESSION_LIMIT_BYTES)]
        }
        Some(cel) => selector::validate(&cel.expression, &path.child("cel").child("expression")).into_iter().collect(),
    })
}

/// Problems of a driver's own configuration.
pub fn opaque(opaque: Option<&OpaqueDeviceConfiguration>, path: &Path) -> Vec<Cause> {
    let Some(opaque) = opaque else { return vec![field::required(path, "")] };
    let mut causes = driver(&opaque.driver, &path.child("driver"));
    causes.extend(raw(&opaque.parameters, PARAMETERS_LIMIT_BYTES, &path.child("parameters")));
    causes
}

fn request(request: &DeviceRequest, path: &Path) -> Vec<Cause> {
    let mut causes = field::invalid_each(&path.child("name"), &request.name, &name::dns1123_label(&request.name));
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    match (&request.exactly, alternatives.is_empty()) {
        (None, true) => {
            causes.push(field::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (Some(_), false) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            causes.push(field::invalid(path, Value::Null, detail));
        }
        (Some(exactly), true) => {
            let asked = Ask {
                class: &exactly.device_class_name,
                mode: exactly.allocation_mode.as_deref(),
                count: exactly.count,
                selectors: exactly.selectors.as_deref().unwrap_or_default(),
                tolerations: exactly.tolerations.as_deref().unwrap_or_default(),
            };
            causes.extend(ask(&asked, &path.child("exactly")));
        }
        (None, false) => {
            let path = path.child("firstAvailable");
            causes.extend(each(alternatives, FIRST_AVAILABLE_LIMIT, &path, |one, path| {
                let mut causes = field::invalid_each(&path.child("name"), &one.name, &name::dns1123_label(&one.name));
                let asked = Ask {
                    class: &one.device_class_name,
                    mode: one.allocation_mode.as_deref(),
                    count: one.count,
                    selectors: one.selectors.as_deref().unwrap_or_default(),
                    tolerations: one.tolerations.as_deref().unwrap_or_default(),
                };
                causes.extend(ask(&asked, path));
                causes
            }));
            causes.extend(repeated(alternatives, |one| &one.name, &path));
        }
    }
    causes
}

fn ask(asked: &Ask<'_>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let class = path.child("deviceClassName");
    if asked.class.is_empty() {
        causes.push(field::required(&class, ""));
    } else {
        causes.extend(field::invalid_each(&class, asked.class, &name::dns1123_subdomain(asked.class)));
    }
    causes.extend(selectors(asked.selectors, &path.child("selectors")));
    let count = asked.count.unwrap_or_default();
    match asked.mode.unwrap_or_default() {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            causes.push(field::invalid(&path.child("count"), count, detail));
        }
        "ExactCount" if count <= 0 => {
            causes.push(field::invalid(&path.child("count"), count, "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        mode => causes.push(field::unsupported(&path.child("allocationMode"), mode, MODES)),
    }
    causes.extend(each(asked.tolerations, TOLERATIONS_LIMIT, &path.child("tolerations"), toleration));
    causes
}

fn toleration(toleration: &DeviceToleration, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() {
        causes.extend(field::invalid_each(&path.child("key"), key, &name::qualified_name(key)));
    }
    let value = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" if !value.is_empty() => {
            let detail = "must be empty for operator `Exists`";
            causes.push(field::invalid(&path.child("value"), value, detail));
        }
        "Equal" => causes.extend(field::invalid_each(&path.child("value"), value, &name::label_value(value))),
        "Exists" => {}
        "" => causes.push(field::required(&path.child("operator"), "")),
        operator => causes.push(field::unsupported(&path.child("operator"), operator, OPERATORS)),
    }
    if let Some(effect) = toleration.effect.as_deref().filter(|effect| !effect.is_empty() && !EFFECTS.contains(effect))
    {
        causes.push(field::unsupported(&path.child("effect"), effect, EFFECTS));
    }
    causes
}

/// `request`, and `request/alternative` for those with alternatives.
pub fn request_names(devices: &DeviceClaim) -> BTreeSet<String> {
    let requests = devices.requests.iter().flatten();
    requests
        .flat_map(|request| {
            let alternatives = request.first_available.iter().flatten();
            let full = alternatives.map(|alternative| format!("{}/{}", request.name, alternative.name));
            std::iter::once(request.name.clone()).chain(full)
        })
        .collect()
}

fn constraint(constraint: &DeviceConstraint, names: &BTreeSet<String>, path: &Path) -> Vec<Cause> {
    let requests = constraint.requests.as_deref().unwrap_or_default();
    let mut causes = references(requests, names, &path.child("requests"));
    let attributes =
        [("matchAttribute", &constraint.match_attribute), ("distinctAttribute", &constraint.distinct_attribute)];
    let given: Vec<_> = attributes.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))).collect();
    match given.as_slice() {
        [] => {
            let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields \
                          are set";
            causes.push(field::required(path, detail));
        }
        [(field, text)] => {
            let path = path.child(field);
            causes.extend(qualified(text, &path));
            if !text.contains('/') {
                let detail = "a fully qualified name must be a domain and a name separated by a slash";
                causes.push(field::invalid(&path, text, detail));
            }
        }
        _ => {
            let detail =
                "exactly one of `matchAttribute` or `distinctAttribute` is required, but multiple fields are set";
            causes.push(field::invalid(path, Value::Null, detail));
        }
    }
    causes
}

/// `[domain/]identifier`; what has more parts is not looked at.
pub fn qualified(text: &str, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [id] => causes.extend(identifier(id, path)),
        [domain, id] => {
            if domain.is_empty() {
                causes.push(field::invalid(path, "", "the domain must not be empty"));
            } else {
                causes.extend(driver(domain, path));
            }
            if id.is_empty() {
                causes.push(field::invalid(path, "", "the name must not be empty"));
            } else {
                causes.extend(identifier(id, path));
            }
        }
        _ => {}
    }
    causes
}

/// A C identifier of at most 32 bytes.
fn identifier(text: &str, path: &Path) -> Vec<Cause> {
    const LIMIT_BYTES: usize = 32;
    let mut causes = Vec::new();
    if text.len() > LIMIT_BYTES {
        causes.push(field::too_long(path, LIMIT_BYTES));
    }
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if starts && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return causes;
    }
    let detail = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                  alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation \
                  is '[A-Za-z_][A-Za-z0-9_]*')";
    causes.push(field::invalid(path, text, detail));
    causes
}

/// Problems of references to requests of the claim.
pub fn references(requests: &[String], names: &BTreeSet<String>, path: &Path) -> Vec<Cause> {
    let mut causes = each(requests, LIST_LIMIT, path, |text, path| reference(text, names, path));
    if requests.len() <= LIST_LIMIT {
        causes.extend(repeated(requests, |text| text, path));
    }
    causes
}

/// Problems of a reference to a request of the claim.
pub fn reference(text: &str, names: &BTreeSet<String>, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() <= 2 {
        let problems = parts.into_iter().map(|part| (part, name::dns1123_label(part)));
        causes.extend(problems.flat_map(|(part, problems)| field::invalid_each(path, part, &problems)));
    }
    if !names.contains(text) {
        let detail =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        causes.push(field::invalid(path, text, detail));
    }
    causes
}
