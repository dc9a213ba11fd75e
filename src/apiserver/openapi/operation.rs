//! One operation on one path, and the item of a path with what its operations have in common.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Dialect, parameters::Parameter};

/// Media types of objects.
pub(super) const OBJECTS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// Media types of lists and watches.
pub(super) const STREAMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
/// Media types of custom resources.
pub(super) const CUSTOM: &[&str] = &["application/json", "application/yaml"];
/// Media types of what is not looked at.
pub(super) const ANY: &[&str] = &["*/*"];

/// What an operation does, takes and gives.
pub(super) struct Operation {
    /// HTTP method in lower case.
    pub(super) method: &'static str,
    /// `x-kubernetes-action`, and group, version and kind that it is about; discovery has none.
    pub(super) action: Option<(&'static str, Value)>,
    /// Unique name.
    pub(super) id: String,
    /// For people.
    pub(super) description: String,
    /// `apps_v1`
    pub(super) tag: String,
    /// Media types that it takes.
    pub(super) consumes: &'static [&'static str],
    /// Media types that it gives.
    pub(super) produces: &'static [&'static str],
    /// Parameters in path and query.
    pub(super) parameters: BTreeSet<Parameter>,
    /// Definition of the body it takes, and whether it must be there.
    pub(super) body: Option<(String, bool)>,
    /// Codes of success.
    pub(super) codes: &'static [u16],
    /// Definition of the object it gives; text otherwise.
    pub(super) response: Option<String>,
}

/// The item of a path. Parameters that all of its operations have are the path's own.
pub(super) fn item(mut operations: Vec<Operation>, dialect: Dialect) -> Value {
    let mut common = operations.first().map(|first| first.parameters.clone()).unwrap_or_default();
    common.retain(|parameter| operations.iter().all(|operation| operation.parameters.contains(parameter)));
    let mut item = Map::new();
    for operation in &mut operations {
        operation.parameters.retain(|parameter| !common.contains(parameter));
        item.insert(operation.method.into(), operation.value(dialect));
    }
    if !common.is_empty() {
        item.insert("parameters".into(), common.iter().map(|parameter| parameter.value(dialect)).collect());
    }
    item.into()
}

impl Operation {
    /// The operation as the dialect writes it.
    fn value(&self, dialect: Dialect) -> Value {
        let mut value = json!({
            "operationId": self.id, "description": self.description, "tags": [self.tag],
            "responses": self.responses(dialect),
        });
        if let Some((action, gvk)) = &self.action {
            value["x-kubernetes-action"] = (*action).into();
            value["x-kubernetes-group-version-kind"] = gvk.clone();
        }
        let mut parameters: Vec<Value> = self.parameters.iter().map(|parameter| parameter.value(dialect)).collect();
        match dialect {
            Dialect::V2 => {
                if !self.consumes.is_empty() {
                    value["consumes"] = json!(self.consumes);
                }
                value["produces"] = json!(self.produces);
                value["schemes"] = json!(["https"]);
                if let Some((definition, required)) = &self.body {
                    let body = json!({"name": "body", "in": "body", "schema": dialect.reference(definition)});
                    parameters.insert(0, with_required(body, *required));
                }
            }
            Dialect::V3 => {
                if let Some((definition, required)) = &self.body {
                    let content = content(self.consumes, &dialect.reference(definition));
                    value["requestBody"] = with_required(json!({"content": content}), *required);
                }
            }
        }
        if !parameters.is_empty() {
            value["parameters"] = parameters.into();
        }
        value
    }

    fn responses(&self, dialect: Dialect) -> Value {
        let schema = match &self.response {
            Some(definition) => dialect.reference(definition),
            None => json!({"type": "string"}),
        };
        let mut responses = Map::new();
        for code in self.codes {
            let description = meaning(*code);
            let value = match dialect {
                Dialect::V2 => json!({"description": description, "schema": schema}),
                Dialect::V3 => json!({"description": description, "content": content(self.produces, &schema)}),
            };
            responses.insert(code.to_string(), value);
        }
        responses.insert("401".into(), json!({"description": "Unauthorized"}));
        Value::Object(responses)
    }
}

fn with_required(mut body: Value, required: bool) -> Value {
    if required {
        body["required"] = true.into();
    }
    body
}

fn meaning(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    }
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    media_types.iter().map(|media_type| ((*media_type).to_owned(), json!({"schema": schema}))).collect()
}
