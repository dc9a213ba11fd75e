//! From a method and a path to what the request is about, by the API's URL scheme
//! (`/api/v1/namespaces/{ns}/{resource}/{name}/{subresource}`, `/apis/{group}/{version}/…`).

use http::Method;

use crate::{
    api::selector::FieldSelector,
    apiserver::{attributes::Attributes, query::Query},
    http::identity::User,
};

/// Subresources of a namespace itself, which look like resources inside it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];
/// Subresources whose requests stay open.
const LONG_RUNNING_SUBRESOURCES: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Takes a request apart.
pub fn attributes(method: &Method, path: &str, query: &Query, user: User) -> Attributes {
    let base = Attributes { user, path: path.to_owned(), ..Attributes::default() };
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Attributes { verb: method.as_str().to_ascii_lowercase(), ..base },
    };
    // The deprecated form of a watch: /api/v1/watch/pods.
    let (old_watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let mut attributes = Attributes { group: decode(group), version: decode(version), ..base };
    place(&mut attributes, rest);
    attributes.verb = verb(method, &attributes.name, old_watch, query.flag("watch")).to_owned();
    if matches!(attributes.verb.as_str(), "list" | "watch" | "deletecollection") {
        // A selector that cannot be read limits nothing; the request itself fails later.
        attributes.fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default()).unwrap_or_default();
    }
    // A list or watch of a single object is authorized as one of that object.
    if matches!(attributes.verb.as_str(), "list" | "watch") && attributes.name.is_empty() {
        attributes.name = attributes.fields.exact("metadata.name").unwrap_or_default().to_owned();
    }
    attributes
}

/// Whether the answer may take as long as the client likes.
pub fn is_long_running(attributes: &Attributes) -> bool {
    attributes.verb == "watch" || LONG_RUNNING_SUBRESOURCES.contains(&attributes.subresource.as_str())
}

fn place(attributes: &mut Attributes, segments: &[&str]) {
    let rest = match segments {
        ["namespaces", namespace, rest @ ..] => {
            attributes.namespace = decode(namespace);
            match rest {
                [first, ..] if !NAMESPACE_SUBRESOURCES.contains(first) => rest,
                _ => segments,
            }
        }
        _ => segments,
    };
    let mut rest = rest.iter().map(|segment| decode(segment));
    attributes.resource = rest.next().unwrap_or_default();
    attributes.name = rest.next().unwrap_or_default();
    attributes.subresource = rest.next().unwrap_or_default();
}

fn verb(method: &Method, name: &str, old_watch: bool, watch: bool) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD if old_watch || (watch && name.is_empty()) => "watch",
        Method::GET | Method::HEAD if name.is_empty() => "list",
        Method::GET | Method::HEAD => "get",
        _ => "",
    }
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, path: &str, query: &str) -> Attributes {
        attributes(&method, path, &Query::parse(query), User::default())
    }

    #[test]
    fn resources_are_told_from_their_paths() {
        let pod = parse(Method::GET, "/api/v1/namespaces/a/pods/b/log", "");
        assert_eq!(
            (&*pod.verb, &*pod.namespace, &*pod.resource, &*pod.name, &*pod.subresource),
            ("get", "a", "pods", "b", "log")
        );
        let all = parse(Method::GET, "/apis/apps/v1/deployments", "watch=true");
        assert_eq!((&*all.verb, &*all.group, &*all.version, &*all.resource), ("watch", "apps", "v1", "deployments"));
        assert_eq!(parse(Method::DELETE, "/api/v1/namespaces/a/pods", "").verb, "deletecollection");
    }

    #[test]
    fn a_namespace_is_in_itself() {
        let namespace = parse(Method::GET, "/api/v1/namespaces/a", "");
        assert_eq!((&*namespace.namespace, &*namespace.resource, &*namespace.name), ("a", "namespaces", "a"));
        let finalize = parse(Method::PUT, "/api/v1/namespaces/a/finalize", "");
        assert_eq!((&*finalize.resource, &*finalize.name, &*finalize.subresource), ("namespaces", "a", "finalize"));
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in ["/healthz", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/"] {
            let attributes = parse(Method::GET, path, "");
            assert!(!attributes.is_resource() && attributes.path == path && attributes.verb == "get", "{path}");
        }
    }

    #[test]
    fn a_watch_of_one_object_has_its_name() {
        let watch = parse(Method::GET, "/api/v1/namespaces/a/pods", "watch=1&fieldSelector=metadata.name%3Db");
        assert_eq!((&*watch.verb, &*watch.name), ("watch", "b"));
        assert_eq!(parse(Method::GET, "/api/v1/watch/namespaces/a/pods/b", "").verb, "watch");
        assert_eq!(parse(Method::GET, "/api/v1/namespaces/a/pods/b", "watch=1").verb, "get");
    }
}
