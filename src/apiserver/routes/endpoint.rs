//! Which endpoints a resource has: the paths of upstream's routes, and their methods. What has another path is
//! not there (404), what is there may not take a method (405).

use crate::{
    api::{
        Status,
        kind::{Descriptor, Scope, Subresource},
    },
    apiserver::{attributes::Attributes, discovery::subresource, respond},
};

/// Verbs of requests for all objects at once.
const OF_ALL: [&str; 4] = ["create", "deletecollection", "list", "watch"];
/// Verbs of requests for one object.
const OF_ONE: [&str; 4] = ["delete", "get", "patch", "update"];

/// Refuses a request for which there is no endpoint.
pub(super) fn check(kind: &Descriptor, attributes: &Attributes) -> Result<(), Status> {
    check_scope(kind, attributes)?;
    if attributes.subresource.is_empty() { check_object(kind, attributes) } else { check_part(kind, attributes) }
}

fn check_object(kind: &Descriptor, attributes: &Attributes) -> Result<(), Status> {
    let verb = attributes.verb.as_str();
    let by_name = OF_ONE.contains(&verb) || (verb == "create" && !attributes.name.is_empty());
    if by_name && !kind.verbs.iter().any(|verb| OF_ONE.contains(verb)) {
        return Err(respond::no_such_path());
    }
    let named = !attributes.name.is_empty();
    let fits = match verb {
        "create" => !named,
        "update" | "patch" => named,
        _ => true,
    };
    if fits && kind.verbs.contains(&verb) { Ok(()) } else { Err(respond::no_such_method()) }
}

fn check_part(kind: &Descriptor, attributes: &Attributes) -> Result<(), Status> {
    let verb = attributes.verb.as_str();
    let known = kind.subresources.iter().find(|known| known.name() == attributes.subresource);
    let subresource = known.filter(|_| verb != "watch").ok_or_else(respond::no_such_path)?;
    // A proxy passes on whatever method.
    let passes = *subresource == Subresource::Custom("proxy");
    let verbs = subresource::facts(kind, *subresource).verbs;
    if passes || verbs.contains(&verb) { Ok(()) } else { Err(respond::no_such_method()) }
}

/// Cluster-wide kinds are not found inside namespaces; namespaced ones outside can only be read,
/// all at once.
fn check_scope(kind: &Descriptor, attributes: &Attributes) -> Result<(), Status> {
    let is_namespace = kind.plural == "namespaces" && kind.group.is_empty();
    let verb = attributes.verb.as_str();
    match kind.scope {
        Scope::Cluster if !attributes.namespace.is_empty() && !is_namespace => Err(respond::no_such_path()),
        Scope::Namespaced if attributes.namespace.is_empty() => {
            let is_read = kind.verbs.contains(&"list") && OF_ALL.contains(&verb);
            match verb {
                "list" | "watch" if is_read => Ok(()),
                _ if is_read => Err(respond::no_such_method()),
                _ => Err(respond::no_such_path()),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn code(plural: &str, verb: &str, namespace: &str, name: &str, subresource: &str) -> u16 {
        let kind = kinds::all().into_iter().find(|kind| kind.plural == plural).unwrap();
        let [verb, namespace, name, subresource] = [verb, namespace, name, subresource].map(str::to_owned);
        let attributes = Attributes { verb, namespace, name, subresource, ..Attributes::default() };
        check(&kind, &attributes).map_or_else(|status| status.code(), |()| 200)
    }

    #[test]
    fn what_has_no_path_is_not_found_and_what_has_one_takes_its_methods() {
        for (expected, plural, verb, namespace, name, subresource) in [
            (200, "pods", "list", "", "", ""),
            (405, "pods", "create", "", "", ""),
            (404, "pods", "get", "", "a", ""),
            (405, "pods", "create", "n", "a", ""),
            (405, "pods", "update", "n", "", ""),
            (404, "nodes", "get", "n", "a", ""),
            (405, "pods", "delete", "n", "a", "log"),
            (404, "pods", "get", "n", "a", "nothing"),
            (404, "pods", "watch", "n", "a", "log"),
            (404, "bindings", "list", "", "", ""),
            (404, "tokenreviews", "create", "", "a", ""),
            (404, "tokenreviews", "delete", "", "a", ""),
            (405, "tokenreviews", "list", "", "", ""),
            (200, "tokenreviews", "create", "", "", ""),
        ] {
            assert_eq!(
                code(plural, verb, namespace, name, subresource),
                expected,
                "{verb} {plural} {name} {subresource}"
            );
        }
    }
}
