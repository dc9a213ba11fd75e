//! Layers with everything that real ones have, and what hostile ones try; and a real overlay of them.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use tar::{Builder, EntryType, Header};

use super::fixtures::*;
use crate::{
    base::{log::chain, task::Supervisor},
    image::{ImageStore, Options, registry, tar::Stream, unpack},
    sys::mount,
};

type Archive = Builder<Vec<u8>>;

fn add(archive: &mut Archive, kind: EntryType, path: &str, link: &str, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    // The checked setters refuse what hostile archives contain.
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o4644 });
    header.set_uid(1000);
    header.set_gid(100);
    header.set_mtime(1_000_000_000);
    header.set_size(data.len() as u64);
    header.set_cksum();
    archive.append(&header, data).unwrap();
}

fn unpack_into(root: &Path, build: impl FnOnce(&mut Archive)) -> Result<(), String> {
    let mut archive = Builder::new(Vec::new());
    build(&mut archive);
    let bytes = archive.into_inner().unwrap();
    let limits = unpack::Limits { entries: 100, bytes: 1000 };
    unpack::unpack(Stream(&bytes[..]), root, limits).map(drop).map_err(|error| chain(&error))
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn keeps_owners_modes_times_links_and_capabilities() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    unpack_into(root.path(), |archive| {
        let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let forged = ("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..]);
        archive.append_pax_extensions([("SCHILY.xattr.security.capability", capability), forged]).unwrap();
        add(archive, EntryType::Regular, "bin/ping", "", b"x");
        add(archive, EntryType::Link, "bin/ping6", "bin/ping", b"");
        add(archive, EntryType::Symlink, "lib", "usr/lib", b"");
        add(archive, EntryType::Directory, "usr/lib/", "", b"");
        add(archive, EntryType::Regular, "lib/a.so", "", b"y");
        add(archive, EntryType::Fifo, "run/pipe", "", b"");
    })
    .unwrap();
    let ping = fs::metadata(root.path().join("bin/ping")).unwrap();
    assert_eq!((ping.uid(), ping.gid(), ping.permissions().mode() & 0o7777), (1000, 100, 0o4644));
    assert_eq!((ping.mtime(), ping.nlink()), (1_000_000_000, 2));
    assert_eq!(xattr(&root.path().join("bin/ping"), "security.capability").unwrap().len(), 20);
    assert_eq!(xattr(&root.path().join("bin/ping"), "trusted.overlay.redirect"), None);
    assert_eq!(fs::read(root.path().join("usr/lib/a.so")).unwrap(), b"y");
    assert_eq!(fs::metadata(root.path().join("usr/lib")).unwrap().mtime(), 1_000_000_000);
    assert!(fs::symlink_metadata(root.path().join("run/pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    unpack_into(root.path(), |archive| {
        add(archive, EntryType::Regular, "a/.wh.gone", "", b"");
        add(archive, EntryType::Regular, "a/kept", "", b"x");
        add(archive, EntryType::Regular, "a/.wh.kept", "", b"");
        add(archive, EntryType::Regular, "b/.wh..wh..opq", "", b"");
        add(archive, EntryType::Regular, ".wh.c", "", b"");
        add(archive, EntryType::Directory, "c/", "", b"");
        add(archive, EntryType::Regular, ".wh..wh.plnk", "", b"");
    })
    .unwrap();
    assert!(is_whiteout(&root.path().join("a/gone")));
    assert_eq!(fs::read(root.path().join("a/kept")).unwrap(), b"x");
    for opaque in ["b", "c"] {
        assert_eq!(xattr(&root.path().join(opaque), "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]), "{opaque}");
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
}

#[test]
fn nothing_leads_out_of_the_layer() {
    if !is_root() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, b"safe").unwrap();
    let (escape, victim_path) = (outside.path().to_str().unwrap(), victim.to_str().unwrap());
    let attacks: [&dyn Fn(&mut Archive); 7] = [
        &|archive| add(archive, EntryType::Regular, "../victim", "", b"evil"),
        &|archive| {
            add(archive, EntryType::Symlink, "x", escape, b"");
            add(archive, EntryType::Regular, "x/victim", "", b"evil");
        },
        &|archive| {
            add(archive, EntryType::Symlink, "x", "../../../../../..", b"");
            add(archive, EntryType::Regular, &format!("x{victim_path}"), "", b"evil");
        },
        &|archive| {
            add(archive, EntryType::Symlink, "x", victim_path, b"");
            add(archive, EntryType::Regular, "x", "", b"evil");
        },
        &|archive| {
            add(archive, EntryType::Link, "x", victim_path, b"");
            add(archive, EntryType::Regular, "x", "", b"evil");
        },
        &|archive| {
            add(archive, EntryType::Symlink, "x", escape, b"");
            add(archive, EntryType::Regular, "x/.wh.victim", "", b"");
        },
        &|archive| {
            add(archive, EntryType::Symlink, "x", escape, b"");
            add(archive, EntryType::Directory, "x", "", b"");
            add(archive, EntryType::Regular, "x/.wh..", "", b"");
        },
    ];
    for (number, attack) in attacks.iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        // Whether it is refused or lands inside the layer does not matter.
        let _ = unpack_into(root.path(), attack);
        assert_eq!(fs::read(&victim).unwrap(), b"safe", "attack {number}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "attack {number}");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1, "attack {number}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let error = unpack_into(root.path(), |archive| add(archive, EntryType::Regular, "a", "", &[0; 1001])).unwrap_err();
    assert_eq!(error, "the layer is larger than 1000 bytes");
    let many =
        |archive: &mut Archive| (0..101).for_each(|n| add(archive, EntryType::Directory, &format!("{n}"), "", b""));
    assert_eq!(unpack_into(root.path(), many).unwrap_err(), "the layer is larger than 100 entries");
}

#[tokio::test]
async fn an_overlay_shows_the_image_and_takes_changes() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mounts = Arc::new(mount::Kernel);
    // An overlay cannot lie on another one; a tmpfs takes upper directories everywhere.
    let tmpfs = mount::Operation::Tmpfs { target: directory.path().to_owned(), size_bytes: None, mode: 0o755 };
    if let Err(error) = mount::Mounts::apply(&*mounts, &tmpfs) {
        eprintln!("SKIPPED: mounting is not allowed here: {}", chain(&error));
        return;
    }
    let result =
        tokio::time::timeout(std::time::Duration::from_secs(20), overlay(directory.path(), mounts.clone())).await;
    let left = mount::unmount_tree(&*mounts, directory.path());
    assert!(left.is_empty(), "{left:?}");
    result.expect("in time").expect("the overlay behaves");
}

async fn overlay(directory: &Path, mounts: Arc<mount::Kernel>) -> Result<(), String> {
    let open = || {
        let options = Options {
            root: directory.join("image"),
            registries: registry::Config::default(),
            mounts: mounts.clone(),
            supervisor: Supervisor::new(),
        };
        async move { ImageStore::open(options).await.map_err(|error| chain(&error)) }
    };
    let store = open().await?;
    let mut layers = vec![layer(&[("a", b"1"), ("d/x", b"x"), ("d/y", b"y")])];
    layers.extend((0..40).map(|number| layer(&[(&format!("n{number}"), b"n")])));
    layers.push(layer(&[(".wh.a", b""), ("d/.wh..wh..opq", b""), ("d/z", b"z")]));
    let path = directory.join("a.tar");
    fs::write(&path, docker_archive("a:1", &layers)).map_err(|error| error.to_string())?;
    let image = store.import(&path).await.map_err(|error| chain(&error))?.remove(0);
    let rootfs = store.prepare(&image, "c1").await.map_err(|error| chain(&error))?.path;
    let seen = |name: &str| fs::read_to_string(rootfs.join(name)).ok();
    let mut checks = vec![
        ("a whiteout hides", seen("a").is_none()),
        ("an opaque directory hides", seen("d/x").is_none() && seen("d/z").as_deref() == Some("z")),
        ("layers in between show", seen("n0").is_some() && seen("n39").is_some()),
        ("it takes changes", fs::write(rootfs.join("new"), "n").is_ok() && seen("new").is_some()),
    ];
    let again = open().await?;
    checks.push(("a mounted one is found again", again.recover().await.ok() == Some(vec!["c1".to_owned()])));
    checks.push(("its changes are counted", again.writable_bytes("c1").await > 0));
    again.release("c1").await.map_err(|error| chain(&error))?;
    checks.push(("nothing is left", !rootfs.exists()));
    match checks.iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err((*what).to_owned()),
        None => Ok(()),
    }
}
