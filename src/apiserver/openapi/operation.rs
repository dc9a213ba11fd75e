//! One operation on one path.

use serde_json::{Map, Value, json};

use super::{
    Dialect, definitions,
    parameters::{self, Parameter},
};

const OBJECTS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const ANY: &[&str] = &["*/*"];

/// What an operation does, takes and gives.
pub(super) struct Operation {
    /// HTTP method in lower case.
    pub(super) method: &'static str,
    /// `x-kubernetes-action`
    pub(super) action: &'static str,
    /// Unique name.
    pub(super) id: String,
    /// For people.
    pub(super) description: String,
    /// Group, version and kind that it is about.
    pub(super) gvk: Value,
    /// `apps_v1`
    pub(super) tag: String,
    /// Media types of patches that the kind takes.
    pub(super) patches: &'static [&'static str],
    /// Query parameters.
    pub(super) parameters: &'static [Parameter],
    /// Definition of the body it takes.
    pub(super) body: Option<String>,
    /// Definition of the object it gives; text otherwise.
    pub(super) response: Option<String>,
}

impl Operation {
    /// The operation as the dialect writes it.
    pub(super) fn value(&self, dialect: Dialect) -> Value {
        let mut parameters: Vec<Value> =
            self.parameters.iter().map(|parameter| parameters::value(parameter, dialect)).collect();
        let mut value = json!({
            "operationId": self.id, "description": self.description, "tags": [self.tag],
            "x-kubernetes-action": self.action, "x-kubernetes-group-version-kind": self.gvk,
            "responses": self.responses(dialect),
        });
        match dialect {
            Dialect::V2 => {
                value["consumes"] = json!(self.consumes());
                value["produces"] = json!(self.produces());
                value["schemes"] = json!(["https"]);
                parameters.extend(self.body.as_ref().map(|body| {
                    json!({"name": "body", "in": "body", "required": self.needs_body(),
                           "schema": dialect.reference(body)})
                }));
            }
            Dialect::V3 => {
                if let Some(body) = &self.body {
                    let content = content(self.consumes(), &dialect.reference(body));
                    value["requestBody"] = json!({"content": content, "required": self.needs_body()});
                }
            }
        }
        if !parameters.is_empty() {
            value["parameters"] = parameters.into();
        }
        value
    }

    fn needs_body(&self) -> bool {
        self.method != "delete"
    }

    fn consumes(&self) -> &'static [&'static str] {
        if self.action == "patch" { self.patches } else { ANY }
    }

    fn produces(&self) -> &'static [&'static str] {
        match (self.action, &self.response) {
            (_, None) => ANY,
            ("list", _) => STREAMS,
            _ => OBJECTS,
        }
    }

    fn responses(&self, dialect: Dialect) -> Value {
        let schema = match &self.response {
            Some(definition) => dialect.reference(definition),
            None => json!({"type": "string"}),
        };
        let codes: &[(&str, &str)] = match self.action {
            "post" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            "put" | "patch" => &[("200", "OK"), ("201", "Created")],
            "delete" => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        let mut responses = Map::new();
        for (code, description) in codes {
            let value = match dialect {
                Dialect::V2 => json!({"description": description, "schema": schema}),
                Dialect::V3 => json!({"description": description, "content": content(self.produces(), &schema)}),
            };
            responses.insert((*code).to_owned(), value);
        }
        responses.insert("401".into(), json!({"description": "Unauthorized"}));
        Value::Object(responses)
    }
}

/// Definition that a method takes as its body when its kind's is `own`.
pub(super) fn body_of(method: &str, own: &str) -> Option<String> {
    match method {
        "post" | "put" => Some(own.to_owned()),
        "patch" => Some(definitions::PATCH.to_owned()),
        "delete" => Some(definitions::DELETE_OPTIONS.to_owned()),
        _ => None,
    }
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    media_types.iter().map(|media_type| ((*media_type).to_owned(), json!({"schema": schema}))).collect()
}
