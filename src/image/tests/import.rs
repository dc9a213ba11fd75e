//! Archives: both formats, all compressions, and every kind of damage.

use proptest::prelude::*;

use super::fixtures::*;
use crate::{
    base::log::chain,
    image::{Error, Image, Kind},
};

fn layers() -> Vec<Vec<u8>> {
    vec![
        layer(&[("bin/hello", b"#!"), ("etc/.keep", b""), ("data", &[7; 3000])]),
        layer(&[(".wh.data", b""), ("etc/.wh..wh..opq", b""), ("etc/passwd", b"root:x:0:0::/:\n")]),
    ]
}

async fn import(fixture: &Fixture, name: &str, bytes: &[u8]) -> Result<Vec<Image>, Error> {
    let path = fixture.directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    fixture.store.import(&path).await
}

#[tokio::test]
async fn both_formats_give_the_same_image_and_share_its_layers() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new().await;
    let docker = import(&fixture, "a.tar", &docker_archive("hello:1", &layers())).await.unwrap();
    let oci = import(&fixture, "b.tar.gz", &gzip(&oci_archive("ghcr.io/x/hello:2", &layers()))).await.unwrap();
    assert_eq!(docker[0].id, oci[0].id);
    let image = fixture.store.get("ghcr.io/x/hello:2").unwrap();
    assert_eq!(image.tags, ["docker.io/library/hello:1", "ghcr.io/x/hello:2"]);
    assert_eq!(fixture.store.get(&image.digests[0]), Some(image.clone()));
    assert_eq!(fixture.store.get(&image.id[7..]), Some(image.clone()));
    assert_eq!((image.config.user.as_str(), image.config.command.as_slice()), ("1000", &["/hello".to_owned()][..]));
    assert!(image.pinned && fixture.leftovers().is_empty());
    let layers = std::fs::read_dir(fixture.store.root().join("layers")).unwrap().count();
    assert_eq!(layers, 2);
}

#[tokio::test]
async fn an_image_survives_a_restart_and_goes_with_its_last_name() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new().await;
    let zstd = zstd::encode_all(&*docker_archive("hello:1", &layers()), 1).unwrap();
    let imported = import(&fixture, "a.tar.zst", &zstd).await.unwrap();
    std::fs::create_dir_all(fixture.store.root().join("ingest/half/fs")).unwrap();
    let again = open(fixture.store.root(), Default::default()).await;
    assert_eq!(again.list(), imported);
    again.remove("hello:1").await.unwrap();
    assert!(again.list().is_empty());
    for directory in ["ingest", "layers", "images"] {
        assert_eq!(std::fs::read_dir(again.root().join(directory)).unwrap().count(), 0, "{directory}");
    }
    assert!(matches!(again.remove("hello:1").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn an_image_in_use_stays_until_its_container_is_gone() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new().await;
    let image = import(&fixture, "a.tar", &docker_archive("hello:1", &layers())).await.unwrap().remove(0);
    let rootfs = fixture.store.prepare(&image, "c1").await.unwrap();
    assert_eq!(rootfs.path, fixture.store.prepare(&image, "c1").await.unwrap().path);
    assert!(matches!(fixture.store.remove("hello:1").await, Err(Error::InUse { .. })));
    assert_eq!(fixture.store.recover().await.unwrap(), ["c1"]);
    fixture.store.release("c1").await.unwrap();
    fixture.store.release("c1").await.unwrap();
    fixture.store.remove("hello:1").await.unwrap();
    assert!(fixture.store.prepare(&image, "../c1").await.is_err());
}

#[tokio::test]
async fn damage_is_named_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let archive = docker_archive("hello:1", &layers());
    let at = archive.windows(4).position(|bytes| bytes == [7; 4]).unwrap();
    let mut flipped = archive.clone();
    flipped[at] ^= 1;
    let gzipped = gzip(&archive);
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("cut.tar", archive[..at + 100].to_vec(), "0/layer.tar at offset"),
        ("flip.tar", flipped, "entry 0/layer.tar: the unpacked layer has digest"),
        ("cut.tar.gz", gzipped[..gzipped.len() / 2].to_vec(), "the compressed archive is damaged or truncated"),
        ("text.tar", vec![b'x'; 2000], "the header's checksum is wrong"),
        ("empty.tar", vec![0; 1024], "this is no image archive"),
    ];
    let fixture = Fixture::new().await;
    for (name, bytes, expected) in cases {
        let error = import(&fixture, name, &bytes).await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains(name) && text.contains(expected), "{text}");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(fixture.leftovers(), Vec::<std::path::PathBuf>::new());
    }
}

#[tokio::test]
async fn the_directory_is_imported_at_start_and_on_change() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new().await;
    let directory = fixture.directory.path().join("images");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("a.tar"), docker_archive("a:1", &layers())).unwrap();
    std::fs::write(directory.join("notes.txt"), b"x").unwrap();
    let store = fixture.store.clone();
    let wait_for = |name: &'static str| {
        let store = store.clone();
        async move {
            while store.get(name).is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    };
    let script = async {
        wait_for("a:1").await;
        std::fs::write(directory.join("b.tar"), docker_archive("b:1", &layers())).unwrap();
        wait_for("b:1").await;
    };
    tokio::select! {
        result = store.watch_directory(&directory) => panic!("{result:?}"),
        () = script => {}
        () = tokio::time::sleep(std::time::Duration::from_secs(20)) => panic!("not imported in time"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_damage_makes_it_panic_or_leave_anything(cut in 0.0f64..1.0, flips: Vec<(proptest::sample::Index, u8)>, oci: bool, packed: bool) {
        if !is_root() {
            return Ok(());
        }
        let plain = if oci { oci_archive("a:1", &layers()) } else { docker_archive("a:1", &layers()) };
        let mut bytes = if packed { gzip(&plain) } else { plain };
        for (index, flip) in flips.iter().take(4) {
            let at = index.index(bytes.len());
            bytes[at] ^= flip;
        }
        if cut < 0.5 {
            bytes.truncate((bytes.len() as f64 * cut * 2.0) as usize);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let result = import(&fixture, "a.tar", &bytes).await;
            let left = fixture.leftovers();
            prop_assert!(left.is_empty(), "{result:?} left {left:?}");
            Ok(())
        })?;
    }
}
