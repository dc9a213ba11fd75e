//! Config maps: text and bytes by key.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

/// Most bytes of all values of a config map or secret together.
pub const SIZE_LIMIT_BYTES: usize = 1024 * 1024;

/// `v1.ConfigMap`
pub struct ConfigMapKind;

impl Kind for ConfigMapKind {
    type Object = ConfigMap;
    const NAMES: Names =
        Names { short_names: &["cm"], ..names::namespaced(names::CORE, "ConfigMap", "configmaps", "configmap") };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_WHOLE;
    const COLUMNS: &'static [Column] = &[cells::NAME, cells::column("Data", "string", "Number of keys."), cells::AGE];

    fn validate(map: &ConfigMap) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut size_bytes = 0;
        for (key, value) in map.data.iter().flatten() {
            causes.extend(field::invalid_each(&Path::new("data").key(key), key, &name::config_map_key(key)));
            if map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
                let message = "duplicate of key present in binaryData";
                causes.push(field::invalid(&Path::new("data").key(key), key, message));
            }
            size_bytes += value.len();
        }
        for (key, value) in map.binary_data.iter().flatten() {
            causes.extend(field::invalid_each(&Path::new("binaryData").key(key), key, &name::config_map_key(key)));
            size_bytes += value.0.len();
        }
        if size_bytes > SIZE_LIMIT_BYTES {
            causes.push(field::too_long(&Path::new(""), SIZE_LIMIT_BYTES));
        }
        causes
    }

    fn validate_update(new: &ConfigMap, old: &ConfigMap) -> Vec<Cause> {
        if old.immutable != Some(true) {
            return Vec::new();
        }
        let detail = "field is immutable when `immutable` is set";
        let changed = [
            ("immutable", new.immutable != Some(true)),
            ("data", new.data != old.data),
            ("binaryData", new.binary_data != old.binary_data),
        ];
        changed
            .iter()
            .filter(|(_, changed)| *changed)
            .map(|(name, _)| field::forbidden(&Path::new(name), detail))
            .collect()
    }

    fn cells(map: &ConfigMap, now: Timestamp) -> Vec<Value> {
        let count =
            map.data.as_ref().map_or(0, |data| data.len()) + map.binary_data.as_ref().map_or(0, |data| data.len());
        vec![cells::name(&map.metadata), json!(count), cells::age(&map.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn an_immutable_map_stays_as_it_is() {
        let strategy = descriptor::<ConfigMapKind>().strategy;
        let map = |value: &str, immutable: bool| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"},
                   "data": {"k": value}, "immutable": immutable})
            .into()
        };
        assert!(strategy.validate_update(&map("2", true), &map("1", false)).is_empty());
        let causes = strategy.validate_update(&map("2", false), &map("1", true));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["immutable", "data"]);
        assert_eq!(causes[0].message, "Forbidden: field is immutable when `immutable` is set");
    }

    #[test]
    fn keys_are_checked() {
        let map = json!({"metadata": {"name": "a", "namespace": "b"}, "data": {"a/b": ""}});
        let causes = descriptor::<ConfigMapKind>().strategy.validate(&map.into());
        assert_eq!(causes[0].field, "data[a/b]");
        assert!(causes[0].message.starts_with("Invalid value: \"a/b\": a valid config key must consist of"));
    }
}
