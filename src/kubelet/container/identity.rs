//! As whom a container runs: from its security context, the image's user, and the image's own
//! account files.

use std::path::Path;

use crate::{
    image::user::{self, User},
    kubelet::container::security::Security,
};

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// Home directory, for `HOME`.
    pub home: String,
}

/// Why nobody can be found to run as.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image has no such user or group.
    #[error(transparent)]
    Account(#[from] user::Error),
    /// `runAsNonRoot` with `runAsUser: 0`.
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    BreaksNonRoot {
        /// `name_namespace(uid)` of the pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// `runAsNonRoot`, and the image's user is a name.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    NonNumeric {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)` of the pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// `runAsNonRoot`, and the image runs as root.
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    ImageRunsAsRoot {
        /// `name_namespace(uid)` of the pod.
        pod: String,
        /// The container.
        container: String,
    },
}

/// Checks `runAsNonRoot` with upstream's rules: the user must be known to be another by number.
pub fn verify_non_root(security: &Security, image_user: &str, pod: &str, container: &str) -> Result<(), Error> {
    let (pod, container) = (pod.to_owned(), container.to_owned());
    if !security.non_root {
        return Ok(());
    }
    if let Some(user) = security.user {
        return if user == 0 { Err(Error::BreaksNonRoot { pod, container }) } else { Ok(()) };
    }
    let user = image_user.split(':').next().unwrap_or_default();
    match user.parse::<i64>() {
        Ok(0) => Err(Error::ImageRunsAsRoot { pod, container }),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => Err(Error::ImageRunsAsRoot { pod, container }),
        Err(_) => Err(Error::NonNumeric { user: user.to_owned(), pod, container }),
    }
}

/// Resolves whom to run as, with the account files of the image at `rootfs`.
pub fn resolve(security: &Security, image_user: &str, rootfs: &Path) -> Result<Identity, Error> {
    let from_pod = security.user.map(|user| user.to_string());
    let wanted = from_pod.as_deref().unwrap_or(image_user);
    // The image's group need not exist where the pod names another.
    let wanted = if security.group.is_some() { wanted.split(':').next().unwrap_or_default() } else { wanted };
    let User { uid, gid, additional_gids, home } = user::resolve(rootfs, wanted)?;
    let gid = security.group.and_then(|group| u32::try_from(group).ok()).unwrap_or(gid);
    let mut groups: Vec<u32> = security.groups.iter().filter_map(|group| u32::try_from(*group).ok()).collect();
    if !security.strict_groups {
        groups.extend(additional_gids);
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let default_home = if uid == 0 { "/root" } else { "/" };
    let home = home.filter(|home| !home.is_empty()).unwrap_or_else(|| default_home.to_owned());
    Ok(Identity { uid, gid, groups, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/false\nbroken";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\nmedia:x:44:other,www-data\n";

    fn rootfs() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.path().join("etc/group"), GROUP).unwrap();
        root
    }

    fn security(user: Option<i64>, non_root: bool) -> Security {
        let pod = k8s_openapi::api::core::v1::Pod::default();
        let container = k8s_openapi::api::core::v1::Container::default();
        let plain = crate::kubelet::container::security::of(&pod, &container, Path::new("/"));
        Security { user, non_root, ..plain }
    }

    fn resolved(user: Option<i64>, image: &str) -> (u32, u32, Vec<u32>) {
        let identity = resolve(&security(user, false), image, rootfs().path()).unwrap();
        (identity.uid, identity.gid, identity.groups)
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(resolved(None, ""), (0, 0, vec![0]));
        assert_eq!(resolved(None, "www-data"), (33, 33, vec![33, 44]));
        assert_eq!(resolved(None, "33:media"), (33, 44, vec![44]));
        assert_eq!(resolved(None, "1234:99"), (1234, 99, vec![99]));
        assert_eq!(resolved(Some(1000), "www-data"), (1000, 0, vec![0]));
    }

    #[test]
    fn the_pods_group_stands_in_for_the_images() {
        let security = Security { group: Some(7), ..security(None, false) };
        let identity = resolve(&security, "www-data:missing", rootfs().path()).unwrap();
        assert_eq!((identity.uid, identity.gid, identity.groups), (33, 7, vec![7, 44]));
    }

    #[test]
    fn unknown_names_are_refused() {
        let error = resolve(&security(None, false), "ghost", rootfs().path()).unwrap_err();
        assert_eq!(error.to_string(), "unable to find user ghost: no matching entries in passwd file");
    }

    #[test]
    fn non_root_must_be_known_by_number() {
        let check = |user, image: &str| verify_non_root(&security(user, true), image, "p_n(u)", "c");
        assert!(check(Some(1), "").is_ok());
        assert!(check(None, "1000").is_ok());
        assert!(matches!(check(Some(0), "1000"), Err(Error::BreaksNonRoot { .. })));
        assert!(matches!(check(None, "0"), Err(Error::ImageRunsAsRoot { .. })));
        assert_eq!(
            check(None, "www-data").unwrap_err().to_string(),
            "container has runAsNonRoot and image has non-numeric user (www-data), cannot verify user is non-root (pod: \"p_n(u)\", container: c)"
        );
    }
}
