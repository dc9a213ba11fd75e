//! `PUT /api/v1/namespaces/{name}/finalize`: the one way to change a namespace's `spec.finalizers`,
//! used by the namespace controller when nothing is left inside.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    api::{Status, meta},
    apiserver::registry::{CONFLICT_RETRIES, Call, MODIFIED, Registry, ownership, parse, update::Endpoint},
};

impl Registry {
    /// Takes `spec.finalizers` over from `namespace`, and removes the namespace when that was the
    /// last thing that held its deletion up.
    pub async fn finalize(&self, call: &Call<'_>, namespace: &Value) -> Result<Bytes, Status> {
        let (cache, key) = self.locate(call)?;
        for _ in 0..CONFLICT_RETRIES {
            let current = cache.get(&key).ok_or_else(|| call.not_found())?;
            let mut old = parse(&current)?;
            let given = meta::resource_version(namespace);
            if !given.is_empty() && given != meta::resource_version(&old) {
                return Err(call.conflict(MODIFIED));
            }
            let mut new = old.clone();
            let finalizers = namespace.pointer("/spec/finalizers").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
            new["spec"]["finalizers"] = finalizers;
            let known = ownership::take(&mut old);
            let new = self.own(call, Endpoint::Main, new.into(), Some((&old, &known)))?;
            if let Some(stored) = self.replace(call, &current, new, &old).await? {
                return Ok(stored);
            }
        }
        Err(call.conflict(MODIFIED))
    }
}
