//! As whom a container runs: from its security context, the image's user, and the image's own
//! account files.

use crate::kubelet::container::security::Security;

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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The image names a user that it does not have.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// Likewise a group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
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

/// Resolves whom to run as. `passwd` and `group` are the texts of the image's account files.
pub fn resolve(security: &Security, image_user: &str, passwd: &str, group: &str) -> Result<Identity, Error> {
    let (name, group_name) = match (security.user, image_user.split_once(':')) {
        (Some(user), _) => (user.to_string(), None),
        (None, Some((user, group))) => (user.to_owned(), Some(group)),
        (None, None) => (image_user.to_owned(), None),
    };
    let account = find_account(&name, passwd);
    let uid = match (&account, name.parse::<u32>()) {
        (Some(account), _) => account.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) if name.is_empty() => 0,
        (None, Err(_)) => return Err(Error::User(name)),
    };
    let gid = match (security.group, group_name.filter(|group| !group.is_empty())) {
        (Some(group), _) => u32::try_from(group).unwrap_or(0),
        (None, Some(wanted)) => find_group(wanted, group)?,
        (None, None) => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut groups: Vec<u32> = security.groups.iter().filter_map(|group| u32::try_from(*group).ok()).collect();
    if let Some(account) = account.as_ref().filter(|_| !security.strict_groups) {
        groups.extend(groups_of(&account.name, group));
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = account.map(|account| account.home).filter(|home| !home.is_empty());
    Ok(Identity { uid, gid, groups, home: home.unwrap_or_else(|| if uid == 0 { "/root".into() } else { "/".into() }) })
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// A line of passwd(5), found by name or number; an empty name is root.
fn find_account(wanted: &str, passwd: &str) -> Option<Account> {
    let number = if wanted.is_empty() { Some(0) } else { wanted.parse::<u32>().ok() };
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return None };
        let uid: u32 = uid.parse().ok()?;
        let matches = number.map_or(*name == wanted, |number| number == uid);
        let home = rest.get(1).copied().unwrap_or_default();
        matches.then(|| Account { name: (*name).to_owned(), uid, gid: gid.parse().unwrap_or(0), home: home.to_owned() })
    })
}

/// A group's number, by name or number (group(5)).
fn find_group(wanted: &str, group: &str) -> Result<u32, Error> {
    if let Ok(number) = wanted.parse() {
        return Ok(number);
    }
    let found = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| Error::Group(wanted.to_owned()))
}

fn groups_of<'a>(user: &'a str, group: &'a str) -> impl Iterator<Item = u32> + 'a {
    group.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields.as_slice() else { return None };
        members.split(',').any(|member| member == user).then(|| gid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/false\nbroken";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\nmedia:x:44:other,www-data\n";

    fn security(user: Option<i64>, non_root: bool) -> Security {
        let pod = k8s_openapi::api::core::v1::Pod::default();
        let container = k8s_openapi::api::core::v1::Container::default();
        let plain = crate::kubelet::container::security::of(&pod, &container, std::path::Path::new("/"));
        Security { user, non_root, ..plain }
    }

    fn resolved(user: Option<i64>, image: &str) -> (u32, u32, Vec<u32>) {
        let identity = resolve(&security(user, false), image, PASSWD, GROUP).unwrap();
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
    fn unknown_names_are_refused() {
        let error = resolve(&security(None, false), "ghost", PASSWD, GROUP).unwrap_err();
        assert_eq!(error, Error::User("ghost".into()));
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
