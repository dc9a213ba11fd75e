//! Calls to a TLS server on the loopback interface.

use std::sync::atomic::Ordering;

use http::Method;
use serde_json::json;

use super::*;
use crate::apiserver::{outbound::fixture::Peers, reader::fake::FakeReader};

fn get(path: &str) -> Request<Bytes> {
    Request::builder().method(Method::GET).uri(path).body(Bytes::new()).unwrap()
}

async fn text(peers: &Peers, peer: &Peer, path: &str) -> Result<String, Error> {
    let answer = peers.outbound.call(peer, get(path), Duration::from_secs(5)).await?;
    Ok(String::from_utf8(answer.into_body().to_vec()).unwrap())
}

#[tokio::test]
async fn services_are_called_by_their_name_and_connections_are_used_again() {
    let reader = Arc::new(FakeReader::default());
    let peers = Peers::new(reader.clone());
    let address = peers.serve(&["hook.ns.svc"], |request| {
        let host = request.headers()[http::header::HOST].to_str().unwrap().to_owned();
        async move { (200, format!("{host}{}", request.uri())) }
    });
    peers.expose(&reader, "ns", "hook", 443, address.await);
    let peer = peers.service("ns", "hook", 443);
    assert_eq!(text(&peers, &peer, "/a?b=c").await.unwrap(), "hook.ns.svc/a?b=c");
    assert_eq!(text(&peers, &peer, "/d").await.unwrap(), "hook.ns.svc/d");
    assert_eq!(peers.connections.load(Ordering::SeqCst), 1);
    let error = text(&peers, &peers.service("ns", "none", 443), "/").await.unwrap_err();
    assert_eq!(error.to_string(), "service \"none\" not found");
}

#[tokio::test]
async fn peers_prove_who_they_are_unless_nobody_asks() {
    let peers = Peers::new(Arc::new(FakeReader::default()));
    let address = peers.serve(&["hook.ns.svc"], |_| async { (200, "ok".to_owned()) }).await;
    let place = Place::Host { host: address.ip().to_string(), port: address.port() };
    let named = Peer { place: place.clone(), trust: peers.trust() };
    let error = text(&peers, &named, "/").await.unwrap_err().to_string();
    assert!(error.starts_with("tls: failed to verify certificate: x509: "), "{error}");
    let stranger = Trust { authorities: Peers::stranger(), ..Trust::default() };
    let error = text(&peers, &Peer { place: place.clone(), trust: stranger }, "/").await.unwrap_err();
    assert_eq!(error.to_string(), "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    let insecure = Peer { place, trust: Trust { insecure: true, ..Trust::default() } };
    assert_eq!(text(&peers, &insecure, "/").await.unwrap(), "ok");
    let garbage = Trust { authorities: "garbage".into(), ..Trust::default() };
    let error = text(&peers, &Peer { trust: garbage, ..named }, "/").await.unwrap_err().to_string();
    assert!(error.starts_with("unable to load root certificates: "), "{error}");
}

#[tokio::test]
async fn answers_are_bounded_and_redirects_not_followed() {
    let peers = Peers::new(Arc::new(FakeReader::default()));
    let address = peers.serve(&["127.0.0.1"], |request| async move {
        match request.uri().path() {
            "/long" => (200, " ".repeat(ANSWER_LIMIT_BYTES + 1)),
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                (200, String::new())
            }
            _ => (302, json!({}).to_string()),
        }
    });
    let address = address.await;
    let place = Place::Host { host: address.ip().to_string(), port: address.port() };
    let peer = Peer { place, trust: peers.trust() };
    assert!(matches!(text(&peers, &peer, "/long").await, Err(Error::TooLong)));
    let slow = peers.outbound.call(&peer, get("/slow"), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(slow.to_string(), "context deadline exceeded");
    let answer = peers.outbound.call(&peer, get("/moved"), Duration::from_secs(5)).await.unwrap();
    assert_eq!(answer.status(), 302);
}
