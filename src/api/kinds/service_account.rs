//! Service accounts: identities of pods. Their tokens are made on request by `/token`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::kind::{Column, Kind, Names, Subresource};

/// `v1.ServiceAccount`
pub struct ServiceAccountKind;

impl Kind for ServiceAccountKind {
    type Object = ServiceAccount;
    const NAMES: Names = Names {
        short_names: &["sa"],
        subresources: &[Subresource::Custom("token")],
        ..names::namespaced(names::CORE, "ServiceAccount", "serviceaccounts", "serviceaccount")
    };
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Secrets", "string", "Number of secrets named by the account."), cells::AGE];

    fn cells(account: &ServiceAccount, now: Timestamp) -> Vec<Value> {
        let secrets = account.secrets.as_ref().map_or(0, Vec::len);
        vec![cells::name(&account.metadata), json!(secrets), cells::age(&account.metadata, now)]
    }
}
