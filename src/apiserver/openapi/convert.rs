//! From version 2 to version 3, for servers behind this one that have no documents of version 3.
//!
//! As upstream's conversion it takes a document as it is: what version 2 cannot tell, version 3 does not
//! tell either. Shared parameters are put where they are used.

use serde_json::{Map, Value, json};

use super::{Dialect, definitions::rewrite_references};

/// The methods of a path's item.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
/// What a document or an operation says in both versions.
const DOCUMENT: [&str; 2] = ["info", "externalDocs"];
const OPERATION: [&str; 7] =
    ["description", "externalDocs", "tags", "summary", "deprecated", "operationId", "security"];

/// `document` in version 3.
pub(super) fn to_v3(document: Value) -> Value {
    let mut document = if document.is_object() { document } else { json!({}) };
    let parameters = document["parameters"].take();
    let mut new = kept(&document, &DOCUMENT);
    new.insert("openapi".into(), "3.0.0".into());
    let paths = document["paths"].take();
    let items = members(&paths).map(|(path, item)| (path.clone(), path_item(item, &parameters)));
    new.insert("paths".into(), items.collect());
    let mut components = Map::new();
    let mut schemas = document["definitions"].take();
    if let Some(schemas) = schemas.as_object_mut() {
        schemas.values_mut().for_each(schema);
        components.insert("schemas".into(), std::mem::take(schemas).into());
    }
    let schemes: Map<String, Value> = members(&document["securityDefinitions"])
        .map(|(name, scheme)| (name.clone(), security_scheme(scheme)))
        .collect();
    if !schemes.is_empty() {
        components.insert("securitySchemes".into(), schemes.into());
    }
    new.insert("components".into(), components.into());
    new.into()
}

fn path_item(item: &Value, shared: &Value) -> Value {
    let mut new = extensions(item);
    for method in METHODS {
        if item[method].is_object() {
            new.insert(method.into(), operation(&item[method], shared));
        }
    }
    let parameters: Vec<Value> = list(&item["parameters"]).map(|one| parameter(resolved(one, shared))).collect();
    if !parameters.is_empty() {
        new.insert("parameters".into(), parameters.into());
    }
    new.into()
}

fn operation(operation: &Value, shared: &Value) -> Value {
    let mut new = kept(operation, &OPERATION);
    let mut parameters = Vec::new();
    for one in list(&operation["parameters"]).map(|one| resolved(one, shared)) {
        if one["in"] == "body" {
            let content = content(&operation["consumes"], &one["schema"]);
            let mut body = json!({"content": content});
            if one["required"] == true {
                body["required"] = true.into();
            }
            new.insert("requestBody".into(), body);
        } else {
            parameters.push(parameter(one));
        }
    }
    if !parameters.is_empty() {
        new.insert("parameters".into(), parameters.into());
    }
    let responses = members(&operation["responses"]).map(|(code, response)| {
        let mut new = kept(response, &["description"]);
        if response["schema"].is_object() {
            new.insert("content".into(), content(&operation["produces"], &response["schema"]));
        }
        (code.clone(), Value::Object(new))
    });
    new.insert("responses".into(), responses.collect());
    new.into()
}

/// A parameter is what it is, or a reference to a shared one.
fn resolved<'a>(parameter: &'a Value, shared: &'a Value) -> &'a Value {
    let name = parameter["$ref"].as_str().and_then(|pointer| pointer.strip_prefix("#/parameters/"));
    name.and_then(|name| shared.get(name)).unwrap_or(parameter)
}

fn parameter(parameter: &Value) -> Value {
    let mut new = kept(parameter, &["name", "in", "description", "required", "allowEmptyValue"]);
    let of_schema = kept(parameter, &["type", "format", "uniqueItems", "items"]);
    let mut own = Value::Object(of_schema.into_iter().filter(|(name, _)| !name.starts_with("x-")).collect());
    schema(&mut own);
    new.insert("schema".into(), own);
    new.into()
}

fn content(media_types: &Value, of: &Value) -> Value {
    let mut of = of.clone();
    schema(&mut of);
    list(media_types)
        .filter_map(Value::as_str)
        .map(|media_type| (media_type.to_owned(), json!({"schema": of})))
        .collect()
}

fn schema(schema: &mut Value) {
    rewrite_references(schema, Dialect::V3);
}

fn security_scheme(scheme: &Value) -> Value {
    let mut new = kept(scheme, &["type", "description", "name", "in"]);
    if let Some(flow) = scheme["flow"].as_str() {
        let mut of_flow = kept(scheme, &["authorizationUrl", "tokenUrl", "scopes"]);
        of_flow.retain(|name, _| !name.starts_with("x-"));
        new.insert("flows".into(), json!({flow: of_flow}));
    }
    new.into()
}

/// These fields, and extensions.
fn kept(value: &Value, fields: &[&str]) -> Map<String, Value> {
    let is_kept = |name: &str| fields.contains(&name) || name.starts_with("x-");
    members(value).filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn extensions(value: &Value) -> Map<String, Value> {
    kept(value, &[])
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_meaning() {
        let body = json!({"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/Foo"}});
        let document = json!({
            "swagger": "2.0", "info": {"title": "foos", "version": "1"},
            "paths": {"/foos/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": true, "type": "string"}],
                "put": {
                    "operationId": "replaceFoo", "consumes": ["*/*"], "produces": ["application/json"],
                    "parameters": [{"$ref": "#/parameters/force-1"}, body], "x-kubernetes-action": "put",
                    "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/Foo"}}},
                },
            }},
            "parameters": {"force-1": {"name": "force", "in": "query", "type": "boolean", "uniqueItems": true}},
            "definitions": {"Foo": {"properties": {"spec": {"description": "s", "$ref": "#/definitions/Spec"}}}},
            "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        });
        let reference = json!({"$ref": "#/components/schemas/Foo"});
        let spec = json!({"description": "s", "allOf": [{"$ref": "#/components/schemas/Spec"}]});
        let content = |media_type: &str| json!({media_type: {"schema": reference}});
        let expected = json!({
            "openapi": "3.0.0", "info": {"title": "foos", "version": "1"},
            "paths": {"/foos/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}],
                "put": {
                    "operationId": "replaceFoo", "x-kubernetes-action": "put",
                    "parameters": [{"name": "force", "in": "query", "schema": {"type": "boolean", "uniqueItems": true}}],
                    "requestBody": {"content": content("*/*"), "required": true},
                    "responses": {"200": {"description": "OK", "content": content("application/json")}},
                },
            }},
            "components": {
                "schemas": {"Foo": {"properties": {"spec": spec}}},
                "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
            },
        });
        assert_eq!(to_v3(document), expected);
    }

    #[test]
    fn nonsense_becomes_an_empty_document() {
        for nonsense in [json!([]), json!({"paths": 1, "definitions": [1]}), json!("a")] {
            assert_eq!(to_v3(nonsense)["paths"], json!({}));
        }
    }
}
