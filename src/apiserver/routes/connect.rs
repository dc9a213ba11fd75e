//! Admission of subresources that open a stream (exec, attach, port-forward, proxy), before they do. What
//! is admitted are the options in their query.

use serde_json::{Map, Value, json};

use crate::{
    api::{Status, schema::FieldValidation},
    apiserver::{
        attributes::Attributes,
        query::Query,
        registry::{Call, Warnings},
        server::Inner,
    },
};

const FLAGS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

/// Lets admission refuse a stream. Requests for anything else pass.
pub(super) async fn admit(
    server: &Inner,
    attributes: &Attributes,
    query: &Query,
    warnings: &Warnings,
) -> Result<(), Status> {
    let Some(options) = options(attributes, query) else { return Ok(()) };
    let Some(kind) = server.kinds.of(attributes) else { return Ok(()) };
    let field_validation = FieldValidation::Ignore;
    let call = Call { attributes, kind: &kind, dry_run: false, field_validation, warnings, manager: "" };
    server.registry.connect(&call, options).await
}

/// `PodExecOptions` and its like.
fn options(attributes: &Attributes, query: &Query) -> Option<Value> {
    let kind = match (attributes.resource.as_str(), attributes.subresource.as_str()) {
        ("pods", "exec") => "PodExecOptions",
        ("pods", "attach") => "PodAttachOptions",
        ("pods", "portforward") => "PodPortForwardOptions",
        ("pods", "proxy") => "PodProxyOptions",
        ("services", "proxy") => "ServiceProxyOptions",
        ("nodes", "proxy") => "NodeProxyOptions",
        _ => return None,
    };
    let mut options = Map::new();
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "v1".into());
    let mut put = |field: &str, value: Value| _ = options.insert(field.to_owned(), value);
    match attributes.subresource.as_str() {
        "portforward" => {
            let ports: Vec<u16> = query.all("ports").filter_map(|port| port.parse().ok()).collect();
            put("ports", json!(ports));
        }
        "proxy" => put("path", proxied(&attributes.path).into()),
        subresource => {
            for flag in FLAGS.into_iter().filter(|flag| query.has(flag) && query.flag(flag)) {
                put(flag, true.into());
            }
            if let Some(container) = query.get("container") {
                put("container", container.into());
            }
            if subresource == "exec" {
                put("command", query.all("command").collect::<Vec<_>>().into());
            }
        }
    }
    Some(Value::Object(options))
}

/// What follows the subresource in a path.
fn proxied(path: &str) -> &str {
    path.split_once("/proxy").map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(resource: &str, subresource: &str, query: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/n/{resource}/a/{subresource}/x/y");
        let attributes =
            Attributes { resource: resource.into(), subresource: subresource.into(), path, ..Attributes::default() };
        options(&attributes, &Query::parse(query))
    }

    #[test]
    fn options_are_those_of_the_query() {
        assert_eq!(
            of("pods", "exec", "command=sh&command=-c&container=main&tty=true&stdin=false").unwrap(),
            json!({"kind": "PodExecOptions", "apiVersion": "v1", "command": ["sh", "-c"], "container": "main", "tty": true})
        );
        assert_eq!(of("pods", "portforward", "ports=80").unwrap()["ports"], json!([80]));
        assert_eq!(of("services", "proxy", "").unwrap()["path"], "/x/y");
        assert_eq!(of("pods", "log", ""), None);
    }
}
