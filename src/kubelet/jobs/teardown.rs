//! Taking everything of a pod away that is not its record: shim, root file systems, network,
//! volumes. Every step is tried, whatever became of the others.

use std::{fs, path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use crate::kubelet::{
    names,
    shared::Shared,
    volumes::{self, mounts},
};

/// Directories of a pod that end with its sandbox; its record stays until it is deleted.
const TRANSIENT: [&str; 3] = ["volumes", "volume-subpaths", "containers"];

/// Removes sandbox, root file systems (of `instances`), network and volumes.
pub async fn run(shared: Arc<Shared>, pod: Arc<Pod>, instances: Vec<String>) -> Result<(), String> {
    let uid = names::uid(&pod);
    let mut errors = Vec::new();
    errors.extend(shared.containers.remove_sandbox(uid).await.err().map(|error| error.to_string()));
    for id in &instances {
        errors.extend(shared.images.unmount(id).await.err().map(|error| error.to_string()));
    }
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    if !host_network {
        errors.extend(shared.network.detach(uid).await.err().map(|error| error.to_string()));
    }
    shared.disk_changed.notify_one();
    shared.tokens.forget(uid);
    let directory = names::directory(&shared.config, uid);
    let removed = shared.lane.run(move || remove_transient(&directory)).await;
    errors.extend(removed.err().map(|error| error.to_string()));
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

/// Removes what is left of a pod that was deleted: its record and its logs.
pub async fn forget(shared: &Shared, pod: &Pod) {
    let uid = names::uid(pod).to_owned();
    shared.objects.unsubscribe(&uid);
    shared.tokens.forget(&uid);
    let directory = names::directory(&shared.config, &uid);
    let logs = names::log_directory(&shared.config, pod);
    let links = shared.config.container_logs_dir.clone();
    let prefix = format!("{}_{}_", names::name(pod), names::namespace(pod));
    let removed = shared.lane.run(move || {
        remove_links(&links, &prefix, &logs);
        let removed = volumes::remove(&directory);
        match fs::remove_dir_all(&logs) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => removed.and(Err(error)),
            _ => removed,
        }
    });
    if let Err(error) = removed.await {
        tracing::warn!(uid, error = %error, "pod directory not removed");
    }
}

fn remove_transient(directory: &Path) -> std::io::Result<()> {
    mounts::unmount_below(directory)?;
    for name in TRANSIENT {
        match fs::remove_dir_all(directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Links into a pod's log directory; another pod of the same name keeps its own.
fn remove_links(links: &Path, prefix: &str, logs: &Path) {
    for entry in fs::read_dir(links).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix);
        if ours && fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(logs)) {
            // A link that somebody else removed is as good as removed.
            let _ = fs::remove_file(entry.path());
        }
    }
}
