//! Owners that an object names twice: the server takes them once, and says so (`dedupOwnerReferences` of apiserver's
//! handlers).

use serde_json::Value;

use crate::api::meta;

/// Drops owner references that are there already, and returns what to warn of.
pub(super) fn dedup(object: &mut Value) -> Option<String> {
    let owners = meta::metadata_mut(object)?.get_mut("ownerReferences")?.as_array_mut()?;
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut again = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            again.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    (!again.is_empty()).then(|| {
        let uids = again.join(" ");
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
             reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: [{uids}]"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_owner_is_there_once() {
        let (a, b) = (json!({"uid": "a", "controller": true}), json!({"uid": "b"}));
        let mut object = json!({"metadata": {"ownerReferences": [a, b, a]}});
        assert!(dedup(&mut object).unwrap().ends_with("duplicate UID(s) observed: [a]"));
        assert_eq!(object["metadata"]["ownerReferences"], json!([a, b]));
        assert_eq!(dedup(&mut object), None);
    }
}
