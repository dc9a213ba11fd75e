//! Default values in a schema: what is filled in must itself be what the schema asks for, or no
//! object could be stored that leaves it out.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::json;

use crate::api::{
    custom::{
        prune,
        rules::{self, Rules},
        structural::Structural,
        validate,
    },
    field::{self, Path},
    status::Cause,
};

/// Problems of the default values of a structural schema.
pub fn validate(root: &JSONSchemaProps, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(&Structural::read(&json!(root)), path, &mut causes);
    causes
}

fn walk(schema: &Structural, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(default) = &schema.default {
        let path = path.child("default");
        if !prune::prune_value(&mut default.clone(), schema).is_empty() {
            causes.push(field::invalid(&path, default, "must not have unknown fields"));
        }
        let mut problems = validate::validate_at(default, None, schema, &path);
        if let (true, Some(rules)) = (problems.is_empty(), Rules::compile(schema, schema.embedded)) {
            // It must be fit to be stored, and to stay.
            problems = rules::validate_at(default, Some(&**default), schema, &rules, &path);
            problems.retain(|problem| !problem.is_tolerated);
            if problems.is_empty() {
                problems = rules::validate_at(default, None, schema, &rules, &path);
            }
        }
        causes.extend(problems);
    }
    if let Some(items) = &schema.items {
        walk(items, &path.child("items"), causes);
    }
    for (name, property) in &schema.properties {
        walk(property, &path.child("properties").key(name), causes);
    }
}
