//! StorageObjectInUseProtection: new claims and volumes are held by a finalizer, which their
//! controllers take away when nothing uses them any more.

use serde_json::Value;

use crate::{
    api::{Status, meta},
    apiserver::admission::{Operation, Plugin, Request, Warnings},
};

/// Kinds that are protected, and their finalizers.
const PROTECTED: [(&str, &str); 2] =
    [("persistentvolumeclaims", "kubernetes.io/pvc-protection"), ("persistentvolumes", "kubernetes.io/pv-protection")];

pub struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<Warnings, Status> {
        let protected = PROTECTED.iter().find(|(resource, _)| request.is_for("", resource));
        if let Some((_, finalizer)) = protected
            && request.operation == Operation::Create
        {
            protect(object, finalizer);
        }
        Ok(Warnings::new())
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    let mut finalizers: Vec<Value> = meta::finalizers(object).into_iter().map(Value::from).collect();
    if finalizers.iter().all(|present| present != finalizer) {
        finalizers.push(finalizer.into());
        meta::set(object, "finalizers", finalizers);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_finalizer_is_added_once() {
        let mut claim = json!({"metadata": {"finalizers": ["a"]}});
        protect(&mut claim, PROTECTED[0].1);
        protect(&mut claim, PROTECTED[0].1);
        assert_eq!(meta::finalizers(&claim), ["a", "kubernetes.io/pvc-protection"]);
    }
}
