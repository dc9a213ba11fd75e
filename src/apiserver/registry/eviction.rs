//! Eviction of a pod: `POST …/pods/{name}/eviction` with a policy/v1 Eviction. A deletion that
//! disruption budgets will be asked about.

use serde_json::Value;

use crate::{
    api::{Status, meta},
    apiserver::{
        query::Query,
        registry::{Call, Registry, delete::DeleteOptions},
    },
};

impl Registry {
    /// Deletes the pod that `call` names, as `deleteOptions` of the eviction say.
    pub async fn evict(&self, call: &Call<'_>, eviction: &Value, query: &Query) -> Result<(), Status> {
        let name = meta::name(eviction);
        if !name.is_empty() && name != call.attributes.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let eviction = &self.admit_part(call, "policy/v1", "Eviction", eviction).await?;
        let options = DeleteOptions::read(eviction.get("deleteOptions").filter(|value| !value.is_null()), query)?;
        let call = Call { dry_run: call.dry_run || options.dry_run, ..*call };
        self.delete(&call, &options).await.map(drop)
    }
}
