//! What a pod asks for in all, out of what its containers ask for: all containers together, or the
//! hungriest init container if that is more, with sidecars beside both (KEP-753), and the pod's own
//! figures in the place of the sum (KEP-2837). Works on untyped specs, for admission and quotas.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::quantity::Quantity;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Resources that a pod can state as a whole, beside huge pages.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];
/// What names of huge pages begin with.
const HUGE_PAGES: &str = "hugepages-";

/// One of the two lists of `resources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is set aside.
    Requests,
    /// What may be used at most.
    Limits,
}

impl Side {
    /// The field's name.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// A resource list. What cannot be parsed is left out: validation refuses it.
pub fn list(value: &Value) -> Amounts {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

/// A quantity, which may be written as a number too.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// One of the lists of a container's `resources`.
pub fn of_container(container: &Value, side: Side) -> Amounts {
    list(&container["resources"][side.field()])
}

/// Whether a pod can state the resource as a whole.
pub fn is_pod_level(resource: &str) -> bool {
    POD_LEVEL.contains(&resource) || is_huge_page(resource)
}

/// Whether the resource is huge pages of some size, of which a pod gets what it asks for and no more.
pub fn is_huge_page(resource: &str) -> bool {
    resource.starts_with(HUGE_PAGES)
}

/// What the containers of a pod spec and its own `resources` come to, without overhead.
pub fn of_pod(spec: &Value, side: Side) -> Amounts {
    let mut running = of_containers(spec, side);
    let stated = list(&spec["resources"][side.field()]);
    running.extend(stated.into_iter().filter(|(name, _)| is_pod_level(name)));
    running
}

/// What the containers of a pod spec come to.
pub fn of_containers(spec: &Value, side: Side) -> Amounts {
    let mut running = Amounts::new();
    for container in containers(spec, "containers") {
        add(&mut running, &of_container(container, side));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in containers(spec, "initContainers") {
        let mut own = of_container(container, side);
        if container["restartPolicy"] == "Always" {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            add(&mut own, &sidecars);
            raise(&mut starting, &own);
        }
    }
    raise(&mut running, &starting);
    running
}

/// As [`of_pod`], with the overhead of the pod's runtime class. What has no limit gets none by that.
pub fn with_overhead(spec: &Value, side: Side) -> Amounts {
    let mut amounts = of_pod(spec, side);
    let mut overhead = list(&spec["overhead"]);
    if side == Side::Limits {
        overhead.retain(|name, _| amounts.contains_key(name));
    }
    add(&mut amounts, &overhead);
    amounts
}

/// Adds `more` to `amounts`.
pub fn add(amounts: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = amounts.get(name).copied().map_or(*amount, |before| before + *amount);
        amounts.insert(name.clone(), sum);
    }
}

/// The containers of one of a spec's lists.
pub fn containers<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    spec[list].as_array().into_iter().flatten()
}

fn raise(amounts: &mut Amounts, to: &Amounts) {
    for (name, amount) in to {
        if amounts.get(name).is_none_or(|before| amount > before) {
            amounts.insert(name.clone(), *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cpu(amounts: &Amounts) -> String {
        amounts["cpu"].to_string()
    }

    #[test]
    fn sidecars_count_beside_containers_and_later_init_containers() {
        let asks = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let spec = json!({
            "containers": [{"resources": asks("300m")}, {"resources": asks("100m")}],
            "initContainers": [{"restartPolicy": "Always", "resources": asks("100m")}, {"resources": asks("1")}],
            "overhead": {"cpu": "10m", "memory": "1Mi"},
        });
        assert_eq!(cpu(&of_pod(&spec, Side::Requests)), "1100m");
        assert_eq!(cpu(&with_overhead(&spec, Side::Requests)), "1110m");
        assert!(with_overhead(&spec, Side::Requests).contains_key("memory"));
        assert!(!with_overhead(&spec, Side::Limits).contains_key("memory"));
    }

    #[test]
    fn what_the_pod_states_takes_the_place_of_the_sum() {
        let spec = json!({"containers": [{"resources": {"requests": {"cpu": "1", "example.com/a": "1"}}}],
                          "resources": {"requests": {"cpu": "2"}}});
        let amounts = of_pod(&spec, Side::Requests);
        assert_eq!((cpu(&amounts).as_str(), amounts.len()), ("2", 2));
    }
}
