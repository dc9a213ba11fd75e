//! The built-in kinds: one file each, and the table of all of them. A kind that is not in the
//! table does not exist for the server.

pub mod cells;
pub mod config_map;
pub mod lease;
pub mod names;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod pod_template;
pub mod secret;
pub mod service_account;

use crate::api::kind::{Descriptor, descriptor};

/// Every built-in kind, in the order in which discovery lists them.
pub fn all() -> Vec<Descriptor> {
    vec![
        descriptor::<namespace::NamespaceKind>(),
        descriptor::<node::NodeKind>(),
        descriptor::<pod::PodKind>(),
        descriptor::<config_map::ConfigMapKind>(),
        descriptor::<secret::SecretKind>(),
        descriptor::<service_account::ServiceAccountKind>(),
        descriptor::<lease::LeaseKind>(),
    ]
}
