//! Definitions as users write them, and the mistakes they make.

use serde_json::{Value, json};

use super::*;
use crate::api::{decoded::Decoded, kind::descriptor};

fn definition(schema: Value) -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn created(object: Value) -> Decoded {
    descriptor::<CustomResourceDefinitionKind>().strategy.prepare_for_create(object).unwrap()
}

fn problems(object: Value) -> Vec<String> {
    let causes = descriptor::<CustomResourceDefinitionKind>().strategy.validate(&created(object));
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn schema_problems(schema: Value) -> Vec<String> {
    let under = "spec.validation.openAPIV3Schema.";
    problems(definition(schema)).into_iter().map(|problem| problem.replace(under, "")).collect()
}

#[test]
fn names_and_conversion_are_filled_in_and_the_storage_version_remembered() {
    let made = created(definition(json!({"type": "object"})));
    assert_eq!(made["spec"]["names"]["singular"], "crontab");
    assert_eq!(made["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["metadata"]["generation"], 1);
}

#[test]
fn a_sound_definition_is_accepted() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "minimum": 0},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                     "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
            "any": {"x-kubernetes-preserve-unknown-fields": true}},
            "anyOf": [{"required": ["replicas"]}, {"properties": {"replicas": {"maximum": 5}}}]},
        "status": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^a+$"}}}});
    assert_eq!(problems(definition(schema)), Vec::<String>::new());
}

#[test]
fn the_name_is_made_of_plural_and_group() {
    let mut object = definition(json!({"type": "object"}));
    object["metadata"]["name"] = json!("crontab");
    object["spec"]["group"] = json!("example");
    assert_eq!(
        problems(object),
        [
            "metadata.name: Invalid value: \"crontab\": must be spec.names.plural+\".\"+spec.group",
            "spec.group: Invalid value: \"example\": should be a domain with at least one dot",
        ]
    );
}

#[test]
fn one_version_is_stored_and_served_ones_have_schemas() {
    let mut object = definition(json!({"type": "object"}));
    object["spec"]["versions"] = json!([{"name": "v1", "served": true, "storage": false}]);
    let found = problems(object);
    assert_eq!(found[0], "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required");
    assert!(found[1].ends_with("must have exactly one version marked as storage version"), "{found:?}");
}

#[test]
fn what_is_not_structural_is_refused() {
    assert_eq!(schema_problems(json!({})), ["type: Required value: must not be empty at the root"]);
    assert_eq!(
        schema_problems(json!({"type": "object", "properties": {"a": {}, "b": {"type": "array"}}})),
        [
            "properties[a].type: Required value: must not be empty for specified object fields",
            "properties[b].items: Required value: must be specified",
        ]
    );
    assert_eq!(
        schema_problems(json!({"type": "object", "anyOf": [{"properties": {"x": {"type": "string"}}}]})),
        [
            "anyOf[0].properties[x].type: Forbidden: must be empty to be structural",
            "properties[x]: Required value: because it is defined in \
             spec.validation.openAPIV3Schema.anyOf[0].properties[x]"
                .replace("spec.validation.openAPIV3Schema.", "")
                .as_str(),
        ]
    );
    assert_eq!(
        schema_problems(
            json!({"type": "object", "properties": {"metadata": {"type": "object", "required": ["name"]}}})
        ),
        [
            "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is \
          implicitly specified"
        ]
    );
}

#[test]
fn what_openapi_has_beyond_structural_schemas_is_refused() {
    assert_eq!(
        schema_problems(json!({"type": "object", "properties": {
            "a": {"type": "array", "uniqueItems": true, "items": {"type": "text"}},
            "b": {"type": "object", "properties": {"c": {"type": "string", "pattern": "("}},
                  "additionalProperties": {"type": "string"}}}}))
        .into_iter()
        .map(|problem| problem.split(", but").next().unwrap().to_owned())
        .collect::<Vec<_>>(),
        [
            "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes \
             quadratic",
            "properties[a].items.type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \
             \"number\", \"object\", \"string\"",
            "properties[b].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            "properties[b].properties[c].pattern: Invalid value: \"(\": must be a valid regular expression",
        ]
    );
    assert_eq!(
        schema_problems(
            json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}}}})
        ),
        [
            "properties[a].x-kubernetes-list-map-keys[0]: Invalid value: \"k\": entries must all be names of item properties"
        ]
    );
}

#[test]
fn an_established_definition_keeps_kind_and_scope() {
    let strategy = descriptor::<CustomResourceDefinitionKind>().strategy;
    let mut old = Value::clone(&created(definition(json!({"type": "object"}))));
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["names"]["kind"] = json!("Other");
    let fields: Vec<String> =
        strategy.validate_update(&new.into(), &old.into()).into_iter().map(|cause| cause.field).collect();
    assert_eq!(fields, ["spec.scope", "spec.names.kind"]);
}

#[test]
fn versions_columns_and_scale_are_checked() {
    let mut object = definition(json!({"type": "object"}));
    let version = &mut object["spec"]["versions"][0];
    version["name"] = json!("1");
    version["deprecationWarning"] = json!("old");
    version["additionalPrinterColumns"] = json!([{"name": "", "type": "text", "jsonPath": "spec"}]);
    version["subresources"] = json!({"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ""}});
    let found = problems(object);
    let under = "spec.versions[0].";
    let found: Vec<&str> = found.iter().map(|problem| problem.strip_prefix(under).unwrap()).collect();
    assert!(found[0].starts_with("name: Invalid value: \"1\": a DNS-1035 label"), "{found:?}");
    assert_eq!(
        found[1..],
        [
            "deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
            "subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            "subresources.scale.statusReplicasPath: Required value",
            "additionalPrinterColumns[0].name: Required value",
            "additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
            "additionalPrinterColumns[0].JSONPath: Invalid value: \"spec\": must be a simple json path starting with .",
        ]
    );
}
