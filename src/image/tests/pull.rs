//! Pulls from a registry that does not always behave.

use super::{
    fixtures::*,
    registry::{Behaviour, Registry},
};
use crate::{
    base::log::chain,
    image::{Credential, Error, Kind, digest::Digest, registry::Config},
};

fn image() -> OciImage {
    let noise: Vec<u8> = (0..400_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    oci_image(&[layer(&[("noise", &noise)]), layer(&[("bin/hello", b"#!")])])
}

fn credential(registry: &Registry, password: &str) -> Credential {
    let (username, password) = ("u".to_owned(), password.to_owned());
    Credential { registry: registry.address.clone(), username, password, ..Credential::default() }
}

#[tokio::test]
async fn a_pulled_image_is_known_by_tag_and_digest() {
    if !is_root() {
        return;
    }
    let (fixture, registry) = (Fixture::new().await, Registry::start(Behaviour::default()).await);
    let name = registry.publish("team/app", "1", &image());
    let (one, two) = tokio::join!(fixture.store.pull(&name, &[]), fixture.store.pull(&name, &[]));
    assert_eq!(one.unwrap(), two.unwrap());
    let found = fixture.store.get(&name).unwrap();
    assert_eq!(found.tags, std::slice::from_ref(&name));
    assert_eq!(found.digests, [format!("{}/team/app@{}", registry.address, Digest::of(&image().manifest))]);
    assert!(!found.pinned && fixture.leftovers().is_empty());
    for (digest, _) in &image().blobs[..2] {
        assert_eq!(registry.requests(digest.hex()), 1, "pulls at once share their layers");
    }
    assert_eq!(fixture.store.pull(&found.digests[0], &[]).await.unwrap().id, found.id);
}

#[tokio::test]
async fn a_cut_line_is_taken_up_where_it_broke() {
    if !is_root() {
        return;
    }
    for no_ranges in [false, true] {
        let behaviour = Behaviour { cuts: 3.into(), no_ranges, ..Behaviour::default() };
        let (fixture, registry) = (Fixture::new().await, Registry::start(behaviour).await);
        // The configuration is small and asked for first; it must not use up the cuts.
        let single = oci_image(&[layer(&[("noise", &vec![9; 100_000])])]);
        let name = registry.publish("app", "1", &single);
        let result = fixture.store.pull(&name, &[]).await;
        if let Err(error) = result {
            assert_eq!(error.kind(), Kind::Unavailable, "{}", chain(&error));
            fixture.store.pull(&name, &[]).await.unwrap();
        }
        assert!(fixture.leftovers().is_empty());
    }
}

#[tokio::test]
async fn credentials_are_used_and_their_lack_is_told() {
    if !is_root() {
        return;
    }
    for basic in [false, true] {
        let behaviour = Behaviour { credentials: Some(("u", "right")), basic, redirect: true, ..Behaviour::default() };
        let (fixture, registry) = (Fixture::new().await, Registry::start(behaviour).await);
        let name = registry.publish("app", "1", &image());
        for credentials in [vec![], vec![credential(&registry, "wrong")]] {
            let error = fixture.store.pull(&name, &credentials).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unauthorized, "{}", chain(&error));
            assert!(!chain(&error).contains("wrong"));
        }
        let credentials = [credential(&registry, "wrong"), credential(&registry, "right")];
        fixture.store.pull(&name, &credentials).await.unwrap();
        let elsewhere = Credential { registry: "other:1".into(), ..credential(&registry, "right") };
        assert!(fixture.store.pull(&name, &[elsewhere]).await.is_err(), "what is here already is no permission");
        let configs = format!("configs: {{\"{}\": {{auth: {{username: u, password: right}}}}}}", registry.address);
        let configured = Fixture::with(Config::decode(&configs).unwrap()).await;
        configured.store.pull(&name, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn errors_read_as_containerds() {
    let (fixture, registry) = (Fixture::new().await, Registry::start(Behaviour::default()).await);
    let name = format!("{}/none:1", registry.address);
    let error = fixture.store.pull(&name, &[]).await.unwrap_err();
    let expected = format!(
        "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
    );
    assert_eq!((chain(&error), error.kind()), (expected, Kind::NotFound));
    let error = fixture.store.pull("127.0.0.1:1/app", &[]).await.unwrap_err();
    assert!(chain(&error).contains("dial tcp 127.0.0.1:1: Connection refused"), "{}", chain(&error));
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(matches!(fixture.store.pull("Not An Image", &[]).await, Err(Error::InvalidName(_))));
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_leave_nothing() {
    if !is_root() {
        return;
    }
    let registry = Registry::start(Behaviour::default()).await;
    let name = registry.publish("app", "1", &image());
    for number in 0..3 {
        let (digest, blob) = &image().blobs[number];
        for longer in [false, true] {
            // A new store each time: layers that came whole before the damage are kept for the next try.
            let fixture = Fixture::new().await;
            let mut damaged = blob.clone();
            if longer {
                damaged.push(0)
            } else {
                damaged[blob.len() / 2] ^= 1
            }
            registry.put(&format!("app/blobs/{digest}"), &damaged);
            let error = fixture.store.pull(&name, &[]).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{}", chain(&error));
            assert!(fixture.store.list().is_empty());
            assert_eq!(std::fs::read_dir(fixture.store.root().join("ingest")).unwrap().count(), 0);
        }
        registry.put(&format!("app/blobs/{digest}"), blob);
    }
    let fixture = Fixture::new().await;
    let lie = format!("app@{}", Digest::of(b"other"));
    registry.put(&lie.replace('@', "/manifests/"), &image().manifest);
    let error = fixture.store.pull(&format!("{}/{lie}", registry.address), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    fixture.store.pull(&name, &[]).await.unwrap();
}

#[tokio::test]
async fn mirrors_are_asked_first_and_the_registry_last() {
    if !is_root() {
        return;
    }
    let mirror = Registry::start(Behaviour::default()).await;
    mirror.publish("cache/team/app", "1", &image());
    let config = format!(
        "mirrors: {{registry.invalid: {{endpoint: [\"http://127.0.0.1:1\", \"http://{}\"], rewrite: {{\"^team\": \"cache/team\"}}}}}}",
        mirror.address
    );
    let fixture = Fixture::with(Config::decode(&config).unwrap()).await;
    let image = fixture.store.pull("registry.invalid/team/app:1", &[]).await.unwrap();
    assert_eq!(image.tags, ["registry.invalid/team/app:1"]);
    assert!(mirror.requests("?ns=registry.invalid") > 0);
}

#[tokio::test]
async fn a_tag_that_moves_leaves_the_old_image_without_it() {
    if !is_root() {
        return;
    }
    let (fixture, registry) = (Fixture::new().await, Registry::start(Behaviour::default()).await);
    let name = registry.publish("app", "1", &image());
    let old = fixture.store.pull(&name, &[]).await.unwrap();
    registry.publish("app", "1", &oci_image(&[layer(&[("new", b"x")])]));
    let new = fixture.store.pull(&name, &[]).await.unwrap();
    assert_ne!(old.id, new.id);
    assert!(fixture.store.get(&old.id).unwrap().tags.is_empty());
    assert_eq!(fixture.store.get(&name).unwrap().id, new.id);
}
