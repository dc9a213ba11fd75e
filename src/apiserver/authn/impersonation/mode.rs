//! Modes of impersonation (KEP-5284): whom they are for, and for which requests somebody may use them.

use crate::{
    api::{Status, validation::name},
    apiserver::{attributes::Attributes, authz::Authorizer},
    http::identity::User,
};

/// Extra attribute of a service account whose token is bound to a node, or to a pod there.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_PREFIX: &str = "system:node:";
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A mode.
#[derive(Debug, PartialEq, Eq)]
pub struct Mode {
    /// Its name in verbs.
    pub name: &'static str,
    whom: Whom,
}

#[derive(Debug, PartialEq, Eq)]
enum Whom {
    AssociatedNode,
    Node,
    ServiceAccount,
    Anybody,
}

/// All modes, the narrowest first.
pub const MODES: [Mode; 4] = [
    Mode { name: "associated-node", whom: Whom::AssociatedNode },
    Mode { name: "arbitrary-node", whom: Whom::Node },
    Mode { name: "serviceaccount", whom: Whom::ServiceAccount },
    Mode { name: "user-info", whom: Whom::Anybody },
];

impl Mode {
    /// Whether it is for `requestor` to act as `wanted`.
    pub fn applies(&self, wanted: &User, requestor: &User) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node(&wanted.name), service_account(&wanted.name));
        match self.whom {
            Whom::AssociatedNode => only_name && node.is_some_and(|node| is_on(requestor, node)),
            Whom::Node => only_name && node.is_some(),
            Whom::ServiceAccount => only_name && account.is_some(),
            // Who nodes and service accounts are is known, so they have modes of their own.
            Whom::Anybody => node.is_none() && account.is_none(),
        }
    }

    /// Whether somebody may make this request as somebody else.
    pub fn check_request(&self, request: &Attributes, authorizer: &Authorizer) -> Result<(), Status> {
        let verb = format!("impersonate-on:{}:{}", self.name, request.verb);
        authorizer.authorize(&Attributes { verb, ..request.clone() })
    }

    /// Whether a right to it is a right to act as any node that the requestor happens to be on.
    pub fn is_for_own_node(&self) -> bool {
        self.whom == Whom::AssociatedNode
    }
}

/// The node that a user name is of.
pub fn node(user: &str) -> Option<&str> {
    user.strip_prefix(NODE_PREFIX).filter(|name| name::dns1123_subdomain(name).is_empty())
}

/// Namespace and name of the service account that a user name is of.
pub fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
    let is_valid = name::dns1123_label(namespace).is_empty() && name::dns1123_subdomain(name).is_empty();
    is_valid.then_some((namespace, name))
}

fn is_on(requestor: &User, node: &str) -> bool {
    service_account(&requestor.name).is_some()
        && requestor.extra.get(NODE_NAME).is_some_and(|nodes| nodes.as_slice() == [node])
}
