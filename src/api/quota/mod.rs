//! Resource quotas (Kubernetes documentation, "Resource Quotas"): what an object counts for, and
//! which quotas it counts in. Admission and the quota controller both go by this, so that they agree.

pub mod scope;
pub mod usage;
