//! Authorization: members of `system:masters` may do everything; then the node authorizer and RBAC
//! are asked, and either may allow. Nothing denies; what nobody allows is forbidden.

use std::sync::Arc;

use crate::{
    api::Status,
    apiserver::{attributes::Attributes, reader::Reader},
    http::identity::{MASTERS, User},
};

pub mod coverage;
pub mod node;
pub mod rbac;
pub mod rule;

pub use rule::Rule;

/// Decides who may do what.
pub struct Authorizer {
    rbac: rbac::Rbac,
    node: node::NodeAuthorizer,
}

impl Authorizer {
    /// Decides by the roles, bindings and pods that `reader` sees.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { rbac: rbac::Rbac::new(reader.clone()), node: node::NodeAuthorizer::new(reader) }
    }

    /// 403 in upstream's words unless the request is allowed.
    pub fn authorize(&self, attributes: &Attributes) -> Result<(), Status> {
        if self.allows(attributes) {
            return Ok(());
        }
        let why = denial(attributes);
        Err(Status::forbidden(&attributes.group, &attributes.resource, &attributes.name, &why))
    }

    /// Whether the request is allowed.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        attributes.user.is_in(MASTERS) || self.node.allows(attributes) || self.rbac.allows(attributes)
    }

    /// Why the request is allowed, as far as there is something to say.
    pub fn reason(&self, attributes: &Attributes) -> String {
        if attributes.user.is_in(MASTERS) || self.node.allows(attributes) {
            return String::new();
        }
        self.rbac.reason(attributes)
    }

    /// Every RBAC rule that `user` has in `namespace` (cluster-wide ones alone if it is empty).
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.rbac.rules(user, namespace)
    }

    /// The rules of a role, resolved as a binding's `roleRef` in `namespace` would be.
    pub fn role_rules(&self, role_kind: &str, role_name: &str, namespace: &str) -> Option<Vec<Rule>> {
        self.rbac.role_rules(role_kind, role_name, namespace)
    }
}

/// `User "x" cannot list resource "pods" in API group "" in the namespace "default"`.
pub fn denial(attributes: &Attributes) -> String {
    let (user, verb) = (&attributes.user.name, &attributes.verb);
    if !attributes.is_resource() {
        return format!("User \"{user}\" cannot {verb} path \"{}\"", attributes.path);
    }
    let place = match attributes.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let (resource, group) = (attributes.resource_path(), &attributes.group);
    format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_reads_as_upstreams() {
        let mut attributes = Attributes {
            user: User::component("jane"),
            verb: "list".into(),
            resource: "pods".into(),
            namespace: "default".into(),
            ..Attributes::default()
        };
        assert_eq!(
            denial(&attributes),
            r#"User "jane" cannot list resource "pods" in API group "" in the namespace "default""#
        );
        attributes.namespace.clear();
        attributes.subresource = "log".into();
        assert_eq!(
            denial(&attributes),
            r#"User "jane" cannot list resource "pods/log" in API group "" at the cluster scope"#
        );
        let path = Attributes { verb: "get".into(), path: "/metrics".into(), ..Attributes::default() };
        assert_eq!(denial(&path), r#"User "" cannot get path "/metrics""#);
    }
}
