//! What a request is about, as authorization and admission see it (`authorizer.Attributes`).

use crate::{api::selector::FieldSelector, http::identity::User};

/// A request, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// Who asks.
    pub user: User,
    /// `get list watch create update patch delete deletecollection`, for resources; the HTTP
    /// method in lower case otherwise.
    pub verb: String,
    /// API group; empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource name; empty for non-resource requests.
    pub resource: String,
    /// Subresource; empty for none.
    pub subresource: String,
    /// Namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// Name of the object; empty for collections (for create: the name in the object, if any).
    pub name: String,
    /// The path, for non-resource requests.
    pub path: String,
    /// What a list, watch or deletion of many is limited to.
    pub fields: FieldSelector,
}

impl Attributes {
    /// Whether the request is for a resource rather than a bare path.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }

    /// `pods/log`, or `pods` without a subresource: what RBAC rules name.
    pub fn resource_path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}
