//! Kinds that say who else has a word in admission: webhooks, and policies in CEL.

pub mod expressions;
pub mod matching;
pub mod mutating_policy;
pub mod mutating_webhooks;
pub mod policy;
pub mod policy_binding;
pub mod validating_policy;
pub mod validating_webhooks;
pub mod webhook;

use super::names::GroupVersion;

/// `admissionregistration.k8s.io/v1`
const GROUP_VERSION: GroupVersion = GroupVersion::v1("admissionregistration.k8s.io");
/// The category of kinds that extend the API.
const CATEGORIES: &[&str] = &["api-extensions"];

#[cfg(test)]
mod tests;
