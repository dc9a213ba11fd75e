//! Service accounts: identities of pods. Their tokens are made on request by `/token`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    kind::{Column, Kind, Names, Subresource},
    update_check::{self, UpdateCheck},
};

const ENFORCE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

/// `v1.ServiceAccount`
pub struct ServiceAccountKind;

impl Kind for ServiceAccountKind {
    type Object = ServiceAccount;
    const NAMES: Names = Names {
        short_names: &["sa"],
        subresources: &[Subresource::Custom("token")],
        ..names::namespaced(names::CORE, "ServiceAccount", "serviceaccounts", "serviceaccount")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_WHOLE;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Secrets", "string", "Number of secrets named by the account."), cells::AGE];

    /// Of secrets, their names alone are kept.
    fn prepare_for_create(account: &mut ServiceAccount) {
        for secret in account.secrets.iter_mut().flatten() {
            *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
        }
    }

    fn prepare_for_update(new: &mut ServiceAccount, _old: &ServiceAccount) {
        Self::prepare_for_create(new);
    }

    fn warnings(new: &ServiceAccount, old: Option<&ServiceAccount>) -> Vec<String> {
        let is_set = |account: &ServiceAccount| {
            account.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ENFORCE_SECRETS))
        };
        if !is_set(new) || old.is_some_and(is_set) {
            return Vec::new();
        }
        let detail = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        vec![format!("metadata.annotations[{ENFORCE_SECRETS}]: {detail}")]
    }

    fn cells(account: &ServiceAccount, now: Timestamp) -> Vec<Value> {
        let secrets = account.secrets.as_ref().map_or(0, Vec::len);
        vec![cells::name(&account.metadata), json!(secrets), cells::age(&account.metadata, now)]
    }
}
