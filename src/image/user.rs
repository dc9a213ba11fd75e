//! Who a container runs as: `user[:group]` by name or number, looked up in the /etc/passwd and
//! /etc/group of its own root file system, whose files may be anything, links included.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags};

use super::tree::resolve_in;

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";
/// Far more than real files have, far less than would hurt.
const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// A user, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// The groups whose member the user is, the primary one left out.
    pub additional_gids: Vec<u32>,
    /// Home directory, if /etc/passwd has the user.
    pub home: Option<String>,
}

/// Why a user cannot be resolved. The wording is that of runc's and containerd's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that /etc/passwd does not have.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// A name that /etc/group does not have.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// The root file system cannot be read.
    #[error("read {file} of the image")]
    Read {
        /// `etc/passwd` or `etc/group`.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Resolves `user[:group]`; empty is root. A number needs no entry; it then has group 0.
pub fn resolve(rootfs: &Path, user: &str) -> Result<User, Error> {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let user = if user.is_empty() { "0" } else { user };
    let (passwd, groups) = (read(rootfs, PASSWD)?, read(rootfs, GROUP)?);
    let entry = accounts(&passwd).find(|account| account.is(user));
    let (uid, primary) = match (&entry, number(user)) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(Error::NoUser(user.to_owned())),
    };
    let gid = if group.is_empty() { primary } else { find_group(&groups, group)? };
    let name = entry.as_ref().map(|account| account.name);
    let mut additional_gids: Vec<u32> = memberships(&groups, name).filter(|member| *member != gid).collect();
    additional_gids.sort_unstable();
    additional_gids.dedup();
    Ok(User { uid, gid, additional_gids, home: entry.map(|account| account.home.to_owned()) })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Account<'_> {
    fn is(&self, user: &str) -> bool {
        self.name == user || number(user) == Some(self.uid)
    }
}

/// `name:password:uid:gid:comment:home:shell`; lines that are not so are passed over.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let home = fields.get(5).copied().unwrap_or_default();
        Some(Account { name: fields.first()?, uid: number(fields.get(2)?)?, gid: number(fields.get(3)?)?, home })
    })
}

/// `name:password:gid:member,member`.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        Some((*fields.first()?, number(fields.get(2)?)?, fields.get(3).copied().unwrap_or_default()))
    })
}

fn find_group(text: &str, group: &str) -> Result<u32, Error> {
    let found = groups(text).find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
    found.or_else(|| number(group)).ok_or_else(|| Error::NoGroup(group.to_owned()))
}

fn memberships<'a>(text: &'a str, user: Option<&'a str>) -> impl Iterator<Item = u32> + 'a {
    let is_member = move |members: &str| user.is_some_and(|user| members.split(',').any(|member| member == user));
    groups(text).filter(move |(_, _, members)| is_member(members)).map(|(_, gid, _)| gid)
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A file that is not there is empty: images from scratch have none.
fn read(rootfs: &Path, file: &'static str) -> Result<String, Error> {
    let open = || {
        let root = rustix::fs::openat(CWD, rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // Without NONBLOCK a named pipe in the image would hold this thread for ever.
        resolve_in(root, Path::new(file), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
    };
    let opened = match open() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(String::new());
        }
        result => result.map(File::from),
    };
    let mut bytes = Vec::new();
    let read = opened.and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes)
    });
    read.map_err(|source| Error::Read { file, source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33::/var/www:/bin/false\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nwww:x:33:\nssl:x:101:www,x\ntape:x:26:www\n")
            .unwrap();
        root
    }

    #[test]
    fn names_and_numbers_find_their_groups() {
        let root = rootfs();
        let user = |text: &str| {
            let user = resolve(root.path(), text).unwrap();
            (user.uid, user.gid, user.additional_gids)
        };
        assert_eq!(user(""), (0, 0, vec![]));
        assert_eq!(user("www"), (33, 33, vec![26, 101]));
        assert_eq!(user("33:ssl"), (33, 101, vec![26]));
        assert_eq!(user("1000"), (1000, 0, vec![]));
        assert_eq!(user("1000:3000"), (1000, 3000, vec![]));
    }

    #[test]
    fn unknown_names_are_named() {
        let root = rootfs();
        let error = resolve(root.path(), "nobody").unwrap_err().to_string();
        assert_eq!(error, "unable to find user nobody: no matching entries in passwd file");
        let error = resolve(root.path(), "0:wheel").unwrap_err().to_string();
        assert_eq!(error, "unable to find group wheel: no matching entries in group file");
    }

    #[test]
    fn a_link_out_of_the_image_does_not_lead_out() {
        let root = rootfs();
        let passwd = root.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/../../../../etc/passwd", &passwd).unwrap();
        assert!(matches!(resolve(root.path(), "root"), Err(Error::Read { .. })), "it loops onto itself");
        std::fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(resolve(root.path(), "root"), Err(Error::Read { .. })));
    }
}
