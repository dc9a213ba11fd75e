//! Match conditions (stand-in while the engine is made).
use crate::{
    api::Status,
    apiserver::{
        admission::{Request, matching::Matched},
        authz::Authorizer,
    },
};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use serde_json::Value;
/// Conditions.
#[derive(Debug, Default)]
pub struct Conditions;
/// Ask.
pub struct Ask<'a> {
    /// r
    pub request: &'a Request<'a>,
    /// m
    pub matched: &'a Matched,
    /// o
    pub object: Option<&'a Value>,
    /// old
    pub old: Option<&'a Value>,
}
impl Conditions {
    /// c
    pub fn compile(_: &[MatchCondition], _: bool) -> Self {
        Self
    }
    /// h
    pub fn hold(&self, _: &Ask<'_>, _: &Authorizer) -> Result<bool, Status> {
        Ok(true)
    }
}
