//! The issuers whose tokens are accepted, as the operator's flags or file say; a file that changes is
//! read again. One that cannot be understood leaves what was believed before.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use crate::{
    apiserver::authn::{Issuers, oidc},
    base::{lane::Lane, task::Supervisor},
    boot::api_flags::{Authentication, read_authentication},
    sys::inotify,
};

/// Issuers as `authentication` describes them. `own_issuer` is that of the cluster's own tokens.
pub async fn issuers(
    authentication: Authentication,
    own_issuer: &str,
    files: &Lane,
    supervisor: &Supervisor,
) -> anyhow::Result<Arc<Issuers>> {
    let issuers = Arc::new(Issuers::new(own_issuer, supervisor.clone()));
    match authentication {
        Authentication::Own => {}
        Authentication::Flags(configuration, algorithms) => {
            let configured = issuers.clone();
            let result = files.run(move || configured.configure(*configuration, &algorithms)).await;
            result.map_err(anyhow::Error::msg).context("the --oidc-… flags cannot be used")?;
        }
        Authentication::File(path) => {
            // Watched before it is read: no change goes unnoticed.
            let watch = watch(&path).with_context(|| format!("failed to watch {}", path.display()))?;
            load(&issuers, &path, files).await?;
            supervisor.spawn("authentication configuration", follow(watch, issuers.clone(), path, files.clone()));
        }
    }
    Ok(issuers)
}

/// The folder: editors and config maps put a new file in the place of the old one.
fn watch(path: &Path) -> io::Result<inotify::Watch> {
    inotify::Watch::new(path.parent().unwrap_or(Path::new("/")), inotify::FILES)
}

async fn follow(mut watch: inotify::Watch, issuers: Arc<Issuers>, path: PathBuf, files: Lane) {
    while let Ok(changed) = watch.changed().await {
        // A mounted config map changes a link beside the file, whose name begins with two dots.
        let own = path.file_name().unwrap_or_default();
        if !changed.iter().any(|name| name == own || name.to_string_lossy().starts_with("..")) {
            continue;
        }
        match load(&issuers, &path, &files).await {
            Ok(()) => tracing::info!(path = %path.display(), "the authentication configuration was read again"),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the authentication configuration cannot be used; that before it stays");
            }
        }
    }
}

async fn load(issuers: &Arc<Issuers>, path: &Path, files: &Lane) -> anyhow::Result<()> {
    let (issuers, path) = (issuers.clone(), path.to_owned());
    let read = move || {
        let configuration = read_authentication(&path)?;
        let configured = issuers.configure(configuration, &oidc::all_algorithms()).map_err(anyhow::Error::msg);
        configured.with_context(|| format!("invalid authentication configuration in {}", path.display()))
    };
    files.run(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

    async fn eventually(mut probe: impl FnMut() -> bool) {
        for _ in 0..200 {
            if probe() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the file was not read again");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_broken_one_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authentication.yaml");
        let anonymous = |path: &str| format!("{HEAD}anonymous: {{enabled: true, conditions: [{{path: {path}}}]}}\n");
        std::fs::write(&path, anonymous("/livez")).unwrap();
        let (files, supervisor) = (Lane::new(1), Supervisor::new());
        let file = Authentication::File(path.clone());
        let issuers = issuers(file, "https://own", &files, &supervisor).await.unwrap();
        assert_eq!(issuers.allows_anonymous("/livez"), Some(true));
        std::fs::write(&path, anonymous("/readyz")).unwrap();
        eventually(|| issuers.allows_anonymous("/readyz") == Some(true)).await;
        std::fs::write(&path, format!("{HEAD}jwt: [{{}}]\n")).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(issuers.allows_anonymous("/readyz"), Some(true));
    }
}
