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
    assert_eq!(found[0], "spec.versions[0].schema.openAPIV3Schema: Required value");
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
            "properties[a].x-kubernetes-list-map-keys: Invalid value: [\"k\"]: entries must all be names of item properties"
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
    // What is wrong with the first version's name is said of the definition, too.
    let (own, found) = found.split_last().unwrap();
    assert!(own.starts_with("spec.version: Invalid value: \"1\": a DNS-1035 label"), "{own}");
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

fn rule_problems(schema: Value) -> Vec<String> {
    schema_problems(json!({"type": "object", "properties": {"spec": schema}}))
        .into_iter()
        .map(|problem| problem.replace("properties[spec].", ""))
        .collect()
}

fn with_rule(rule: Value) -> Value {
    json!({"type": "object", "properties": {"x": {"type": "integer"}}, "x-kubernetes-validations": [rule]})
}

#[test]
fn rules_compile_against_the_type_of_what_they_are_about() {
    assert_eq!(rule_problems(with_rule(json!({"rule": "self.x > 1", "messageExpression": "string(self.x)"}))).len(), 0);
    let shown = |rule: &str| {
        format!(
            "{{\"Rule\":\"{rule}\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\
             \"OptionalOldSelf\":null}}"
        )
    };
    assert_eq!(
        rule_problems(with_rule(json!({"rule": "self.z == 100"}))),
        [format!(
            "x-kubernetes-validations[0].rule: Invalid value: {}: compilation failed: ERROR: <input>:1:5: undefined \
             field 'z'\n | self.z == 100\n | ....^",
            shown("self.z == 100")
        )]
    );
    let found = rule_problems(with_rule(json!({"rule": "self.x = 42"})));
    assert!(
        found[0].contains("compilation failed: ERROR: <input>:1:") && found[0].contains("Syntax error"),
        "{found:?}"
    );
    assert_eq!(
        rule_problems(with_rule(json!({"rule": "self.x"}))),
        [format!(
            "x-kubernetes-validations[0].rule: Invalid value: {}: cel expression must evaluate to a bool",
            shown("self.x")
        )]
    );
    let found = rule_problems(with_rule(json!({"rule": "true", "messageExpression": "self.x"})));
    let start = "x-kubernetes-validations[0].messageExpression: Invalid value: ";
    assert!(found[0].starts_with(start) && found[0].ends_with("messageExpression must evaluate to a string"));
}

#[test]
fn rules_that_may_take_too_long_are_refused() {
    let strings = json!({"type": "array", "items": {"type": "array", "items": {"type": "string"},
                         "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}});
    let expensive = json!({"type": "object", "properties": {"x": strings}});
    let found = rule_problems(expensive);
    let rule = "properties[x].items.x-kubernetes-validations[0].rule: Forbidden: ";
    assert_eq!(
        found,
        [
            format!(
                "{rule}estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or \
                 adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
            ),
            format!("{rule}contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"),
            "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for \
             entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding \
             maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
                .to_owned(),
        ]
    );
    let bounded = json!({"type": "object", "properties": {"x": {"type": "array", "maxItems": 10, "items": {
        "type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10},
        "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}});
    assert!(rule_problems(bounded).is_empty());
}

#[test]
fn rules_about_changes_stand_where_there_is_a_past() {
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
        "x": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}}});
    let list = |kind: &str, keys: Value| {
        let mut list = json!({"type": "array", "maxItems": 5, "x-kubernetes-list-type": kind, "items": item});
        list["x-kubernetes-list-map-keys"] = keys;
        json!({"type": "object", "properties": {"list": list}})
    };
    assert!(rule_problems(list("map", json!(["name"]))).is_empty());
    assert_eq!(
        rule_problems(list("atomic", Value::Null)),
        ["properties[list].items.properties[x].x-kubernetes-validations[0].rule: Invalid value: \"self >= \
             oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within \
             spec.validation.openAPIV3Schema.properties[spec].properties[list]"
            .replace("spec.validation.openAPIV3Schema.properties[spec].", "")]
    );
    assert_eq!(
        rule_problems(with_rule(json!({"rule": "self.x > 1", "optionalOldSelf": true}))),
        ["x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used \
             in rule"]
    );
}

#[test]
fn rules_are_written_soundly() {
    let found = rule_problems(with_rule(json!({"rule": "self.x > 1", "message": "a\nb", "messageExpression": " ",
                                               "reason": "No", "fieldPath": ".y"})));
    let path = "x-kubernetes-validations[0]";
    assert_eq!(
        found,
        [
            format!("{path}.message: Invalid value: \"a\\nb\": must not contain line breaks"),
            format!("{path}.messageExpression: Required value: messageExpression must be non-empty if specified"),
            format!(
                "{path}.reason: Unsupported value: \"No\": supported values: \"FieldValueDuplicate\", \
                 \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\""
            ),
            format!("{path}.fieldPath: Invalid value: \".y\": must be a valid path"),
        ]
    );
    let multiline = with_rule(json!({"rule": "self.x > 1\n&& true"}));
    assert_eq!(
        rule_problems(multiline),
        [format!("{path}.message: Required value: message must be specified if rule contains line breaks")]
    );
    let nested = json!({"type": "object", "properties": {"x": {"type": "integer"}},
                        "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]});
    assert_eq!(rule_problems(nested), ["allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"]);
}

#[test]
fn defaults_are_what_the_schema_asks_for() {
    let rule = json!([{"rule": "self != 'never'"}]);
    let schema = json!({"type": "object", "properties": {
        "good": {"type": "string", "default": "a"},
        "kind": {"type": "integer", "default": "a"},
        "rule": {"type": "string", "default": "never", "x-kubernetes-validations": rule},
        "unknown": {"type": "object", "default": {"x": 1}},
    }});
    assert_eq!(
        rule_problems(schema),
        [
            "properties[kind].default: Invalid value: \"string\":  in body must be of type integer: \"string\""
                .to_owned(),
            "properties[rule].default: Invalid value: \"never\": failed rule: self != 'never'".to_owned(),
            "properties[unknown].default: Invalid value: {\"x\":1}: must not have unknown fields".to_owned(),
        ]
    );
}
