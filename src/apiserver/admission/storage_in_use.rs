//! StorageObjectInUseProtection: new claims, volumes and classes of their attributes are held by a finalizer, which their
//! controllers take away when nothing uses them any more.

use serde_json::Value;

use crate::{
    api::{Status, meta},
    apiserver::admission::{Operation, Plugin, Request, Warnings},
};

/// Kinds that are protected, and their finalizers.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<Warnings, Status> {
        let protected = PROTECTED.iter().find(|(group, resource, _)| request.is_for(group, resource));
        if let Some((_, _, finalizer)) = protected
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
        protect(&mut claim, PROTECTED[0].2);
        protect(&mut claim, PROTECTED[0].2);
        assert_eq!(meta::finalizers(&claim), ["a", "kubernetes.io/pvc-protection"]);
    }
}
