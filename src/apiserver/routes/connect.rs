//! Admission of subresources that open a stream (exec, attach, port-forward, proxy), before they do. What
//! is admitted are the options in their query and path, and what admission makes of them is what is served.

use http::{Request, Uri};
use serde_json::{Map, Value, json};

use crate::{
    api::{Status, schema::FieldValidation},
    apiserver::{
        attributes::Attributes,
        nodes::proxy::rest_of_path,
        query::Query,
        registry::{Call, Warnings},
        server::Inner,
    },
    http::body::Body,
};

/// Options that stand in a query.
const OPTIONS: [&str; 7] = ["command", "container", "ports", "stderr", "stdin", "stdout", "tty"];
const FLAGS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

/// Lets admission refuse a stream, or change what is asked of it. Requests for anything else pass.
pub(super) async fn admit(
    server: &Inner,
    attributes: &Attributes,
    query: &Query,
    mut request: Request<Body>,
    warnings: &Warnings,
) -> Result<Request<Body>, Status> {
    let Some(options) = options(attributes, query) else { return Ok(request) };
    let Some(kind) = server.kinds.of(attributes) else { return Ok(request) };
    let field_validation = FieldValidation::Ignore;
    let call = Call { attributes, kind: &kind, dry_run: false, field_validation, warnings, manager: "" };
    let admitted = server.registry.connect(&call, options.clone()).await?;
    if admitted != options {
        *request.uri_mut() = with(request.uri(), &admitted)?;
    }
    Ok(request)
}

/// The request's URI, with other options.
fn with(uri: &Uri, options: &Value) -> Result<Uri, Status> {
    let (mut path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default());
    if let Some(rest) = options["path"].as_str() {
        let own = rest_of_path(&path).unwrap_or_default().len();
        path.truncate(path.len() - own);
        path.push_str(if rest.is_empty() || rest.starts_with('/') { "" } else { "/" });
        path.push_str(rest);
        return joined(&path, query);
    }
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !OPTIONS.contains(&&**name));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(others);
    for name in OPTIONS {
        let values = match &options[name] {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            one => std::slice::from_ref(one),
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        query.extend_pairs(values.iter().map(|value| (name, text(value))));
    }
    joined(&path, &query.finish())
}

fn joined(path: &str, query: &str) -> Result<Uri, Status> {
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{path}{separator}{query}").parse().map_err(|_| Status::bad_request("invalid request path"))
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
        "proxy" => put("path", rest_of_path(&attributes.path).unwrap_or_default().into()),
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

    #[test]
    fn the_path_of_a_pod_called_like_its_proxy_is_told_apart() {
        let path = "/api/v1/namespaces/n/pods/proxy/proxy/x".to_owned();
        let (resource, subresource) = ("pods".to_owned(), "proxy".to_owned());
        let attributes = Attributes { resource, subresource, path, ..Attributes::default() };
        assert_eq!(options(&attributes, &Query::default()).unwrap()["path"], "/x");
    }

    #[test]
    fn changed_options_are_those_that_are_served() {
        let changed = |uri: &str, options: Value| with(&uri.parse().unwrap(), &options).unwrap().to_string();
        let exec = "/api/v1/namespaces/n/pods/a/exec";
        assert_eq!(
            changed(
                &format!("{exec}?command=sh&stdin=true&other=1&container=main"),
                json!({"command": ["echo", "a b"], "container": "side", "tty": true})
            ),
            format!("{exec}?other=1&command=echo&command=a+b&container=side&tty=true")
        );
        let forward = "/api/v1/namespaces/n/pods/a/portforward";
        assert_eq!(changed(&format!("{forward}?ports=80"), json!({"ports": [81]})), format!("{forward}?ports=81"));
        let proxy = "/api/v1/namespaces/n/pods/proxy/proxy";
        assert_eq!(changed(&format!("{proxy}/x?q=1"), json!({"path": "y/z"})), format!("{proxy}/y/z?q=1"));
    }
}
