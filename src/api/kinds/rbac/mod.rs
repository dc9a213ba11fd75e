//! Role-based access control: which rules exist, and to whom they are bound.

pub mod binding;
pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;
pub mod rule;
