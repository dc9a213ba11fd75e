//! The downward API: values of the pod's own fields and resources, for environment variables and
//! volumes.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::kubelet::{record, resources};

/// What fields resolve to, beside the pod itself.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The pod's addresses, the primary one first.
    pub pod_ips: Vec<IpAddr>,
    /// The node's addresses.
    pub host_ips: Vec<IpAddr>,
    /// What the node has for pods: it stands in for a missing limit.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// Why a value cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The path names no field that may be used.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// The resource is none that may be used.
    #[error("unsupported container resource : {0}")]
    Resource(String),
    /// The named container does not exist.
    #[error("container {0} not found")]
    Container(String),
    /// The divisor is not a positive quantity.
    #[error("invalid divisor {0}")]
    Divisor(String),
}

/// The value of a `fieldRef`.
pub fn field(pod: &Pod, path: &str, context: &Context) -> Result<String, Error> {
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(Error::Field(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let first = |addresses: &[IpAddr]| addresses.first().map(ToString::to_string).unwrap_or_default();
    let all = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => map_lines(metadata.labels.as_ref()),
        "metadata.annotations" => map_lines(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => first(&context.host_ips),
        "status.hostIPs" => all(&context.host_ips),
        "status.podIP" => first(&context.pod_ips),
        "status.podIPs" => all(&context.pod_ips),
        _ => return Err(Error::Field(path.to_owned())),
    })
}

/// The value of a `resourceFieldRef`; `own` is the container that a reference without a name means.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    context: &Context,
) -> Result<String, Error> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let found = match (named, &pod.spec) {
        (Some(name), Some(spec)) => record::find_container(spec, name),
        _ => own.cloned(),
    };
    let container = found.ok_or_else(|| Error::Container(named.unwrap_or_default().to_owned()))?;
    let path = &selector.resource;
    let unsupported = || Error::Resource(path.clone());
    let (list, name) = path.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.unwrap_or_default();
    let amount = match list {
        "limits" => resources.limits.unwrap_or_default().get(name).or(context.allocatable.get(name)).cloned(),
        "requests" => resources.requests.unwrap_or_default().get(name).cloned(),
        _ => return Err(unsupported()),
    };
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !known {
        return Err(unsupported());
    }
    let amount = amount.as_ref().and_then(resources::milli).unwrap_or(0);
    Ok(divide_up(amount, divisor(selector)?).to_string())
}

/// `key="value"` lines, sorted, as upstream writes labels and annotations to files.
pub fn map_lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn divisor(selector: &ResourceFieldSelector) -> Result<i128, Error> {
    let Some(divisor) = selector.divisor.as_ref().filter(|divisor| !matches!(divisor.0.as_str(), "" | "0")) else {
        return Ok(1000);
    };
    resources::milli(divisor).filter(|divisor| *divisor > 0).ok_or_else(|| Error::Divisor(divisor.0.clone()))
}

fn divide_up(amount: i128, divisor: i128) -> i128 {
    amount.div_euclid(divisor) + i128::from(amount.rem_euclid(divisor) != 0)
}

/// `metadata.labels['key']` in its parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A Go string literal, which upstream's `%q` writes.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_control() => {
                write!(quoted, "\\x{:02x}", u32::from(control)).expect("writing to a String succeeds");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "say \"hi\"\n"}},
            "spec": {"nodeName": "edge", "serviceAccountName": "default", "containers": [{"name": "c",
                "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}}]}}))
        .unwrap()
    }

    #[test]
    fn fields_of_the_pod() {
        let context = Context { pod_ips: vec!["10.42.0.2".parse().unwrap()], ..Context::default() };
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.uid", "u"),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"say \\\"hi\\\"\\n\"\nb=\"2\""),
            ("spec.nodeName", "edge"),
            ("status.podIP", "10.42.0.2"),
            ("status.hostIP", ""),
        ] {
            assert_eq!(field(&pod(), path, &context).unwrap(), expected, "{path}");
        }
        assert_eq!(field(&pod(), "spec.secret", &context), Err(Error::Field("spec.secret".into())));
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let allocatable = BTreeMap::from([("ephemeral-storage".to_owned(), Quantity("1Gi".into()))]);
        let context = Context { allocatable, ..Context::default() };
        for (name, divisor, expected) in [
            ("limits.cpu", "", "2"),
            ("limits.cpu", "1m", "1500"),
            ("requests.cpu", "1m", "250"),
            ("limits.memory", "1Mi", "64"),
            ("requests.memory", "", "0"),
            ("limits.ephemeral-storage", "1Mi", "1024"),
        ] {
            let selector = serde_json::from_value(json!({"containerName": "c", "resource": name, "divisor": divisor}));
            assert_eq!(resource(&pod(), None, &selector.unwrap(), &context).unwrap(), expected, "{name}");
        }
    }
}
