//! What of a pod is kept on the node's disk, so that an agent that boots without its server can
//! run the pods it had: the pod with its last status, its ConfigMaps and Secrets, its tokens.
//! Files are 0600, the directory 0700. All of this blocks and runs on the lane.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    base::file::{self, SECRET_MODE},
    kubelet::{
        objects::{Object, Reference, Snapshot},
        volumes::tokens::Token,
    },
};

const POD: &str = "pod.json";
const OBJECTS: &str = "objects.json";
const TOKENS: &str = "tokens.json";
const DIRECTORY_MODE: u32 = 0o700;

/// Keeps a pod.
pub fn save_pod(directory: &Path, pod: &Pod) {
    save(directory, POD, pod);
}

/// Keeps ConfigMaps and Secrets, if they differ from what is kept.
pub fn save_objects(directory: &Path, objects: &Snapshot) {
    let list: Vec<(&Reference, Option<&Object>)> =
        objects.iter().map(|(reference, object)| (reference, object.as_deref())).collect();
    if !list.is_empty() {
        save(directory, OBJECTS, &list);
    }
}

/// Keeps tokens.
pub fn save_tokens(directory: &Path, tokens: &[Token]) {
    save(directory, TOKENS, &tokens);
}

/// The kept ConfigMaps and Secrets.
pub fn load_objects(directory: &Path) -> Option<Snapshot> {
    let list: Vec<(Reference, Option<Object>)> = load(&directory.join(OBJECTS))?;
    Some(list.into_iter().map(|(reference, object)| (reference, object.map(Arc::new))).collect())
}

/// The kept tokens.
pub fn load_tokens(directory: &Path) -> Vec<Token> {
    load(&directory.join(TOKENS)).unwrap_or_default()
}

/// All pods that are kept, and directories of UIDs that have none.
pub fn load_pods(pods: &Path) -> (Vec<Pod>, Vec<PathBuf>) {
    let (mut found, mut orphans) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(pods).into_iter().flatten().flatten() {
        let directory = entry.path();
        match load::<Pod>(&directory.join(POD)) {
            Some(pod) => found.push(pod),
            None => orphans.push(directory),
        }
    }
    (found, orphans)
}

fn save(directory: &Path, name: &str, value: &impl Serialize) {
    let Ok(bytes) = serde_json::to_vec(value) else { return };
    let path = directory.join(name);
    // What is on the disk already is not written again: flash wears.
    if fs::read(&path).is_ok_and(|kept| kept == bytes) {
        return;
    }
    // Whatever of a pod is kept first makes the directory: there is no order among them.
    let kept =
        file::create_directory(directory, DIRECTORY_MODE).and_then(|()| file::write_atomic(&path, &bytes, SECRET_MODE));
    if let Err(error) = kept {
        tracing::warn!(error = crate::base::log::chain(&error), "pod state not kept");
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::MetadataExt};

    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_is_private() {
        let pods = tempfile::tempdir().unwrap();
        let directory = pods.path().join("u");
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}})).unwrap();
        let data = BTreeMap::from([("k".to_owned(), ByteString(vec![0, 255]))]);
        let object = Some(Arc::new(Object { data, kind: "Opaque".into() }));
        let objects = Snapshot::from([(Reference::secret("s"), object), (Reference::config_map("none"), None)]);
        save_objects(&directory, &objects);
        save_pod(&directory, &pod);
        fs::create_dir(pods.path().join("orphan")).unwrap();
        let (found, orphans) = load_pods(pods.path());
        assert_eq!(found, [pod]);
        assert_eq!(orphans, [pods.path().join("orphan")]);
        assert!(load_objects(&directory).unwrap() == objects);
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(directory.join(OBJECTS)).unwrap().mode() & 0o777, 0o600);
    }
}
