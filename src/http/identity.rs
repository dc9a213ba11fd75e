//! Who makes a request (`authentication.k8s.io` UserInfo). Put into a request's extensions by
//! whoever has proven it: the authenticator, or the in-process transport, which needs no proof.

use std::collections::BTreeMap;

/// Group of everyone who proved an identity.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Group of everyone who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group whose members may do everything, whatever RBAC says.
pub const MASTERS: &str = "system:masters";

/// Extra attribute that says by which token or certificate a user is known.
pub const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// A user, a service account or a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name, such as `system:node:edge1`.
    pub name: String,
    /// UID, where the authenticator knows one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Anything else the authenticator said.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A component of the control plane, such as `system:kube-scheduler`.
    pub fn component(name: &str) -> Self {
        Self { name: name.into(), groups: vec![AUTHENTICATED.into()], ..Self::default() }
    }

    /// Whether the user is a member of `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|member| member == group)
    }
}
