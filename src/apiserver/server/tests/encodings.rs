//! Answers in every form and encoding that clients ask for.

use std::io::Read;

use super::*;
use crate::api::protobuf;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const PREFERRED: &str = "application/vnd.kubernetes.protobuf,application/json";

fn form(encoding: &str, kind: &str) -> String {
    format!("{encoding};as={kind};g=meta.k8s.io;v=v1")
}

impl Fixture {
    async fn accepting(&self, method: Method, path: &str, accept: &str, content: &Value) -> Response<Body> {
        let content = if content.is_null() { String::new() } else { content.to_string() };
        let media = if method == Method::PATCH { MERGE } else { "application/json" };
        self.send(method, path, &[("content-type", media), ("accept", accept)], content).await
    }

    /// The answer in protobuf, decoded.
    async fn protobuf(&self, method: Method, path: &str, content: &Value) -> (StatusCode, Value) {
        let response = self.accepting(method, path, PREFERRED, content).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROTOBUF);
        (response.status(), decoded(response).await)
    }

    async fn messages(&self, query: &str, accept: &str) -> Messages {
        let response = self.accepting(Method::GET, &format!("{MAPS}?watch=1&{query}"), accept, &Value::Null).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/vnd.kubernetes.protobuf;stream=watch");
        Messages { body: BodyStream::new(response.into_body()), buffer: Vec::new() }
    }
}

async fn bytes(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn decoded(response: Response<Body>) -> Value {
    protobuf::decode(&bytes(response).await).unwrap().value
}

/// Events of a watch in protobuf.
struct Messages {
    body: BodyStream<Body>,
    buffer: Vec<u8>,
}

impl Messages {
    /// Type and object of the next event.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((length, rest)) = self.buffer.split_first_chunk::<4>()
                && let Some(event) = rest.get(..u32::from_be_bytes(*length) as usize)
            {
                // A `WatchEvent` has no envelope, so it gets one to be decoded in.
                let envelope =
                    [b"k8s\0\x0a\x10\x0a\x02v1\x12\x0aWatchEvent".as_slice(), &head(event.len()), event].concat();
                let event = protobuf::decode(&envelope).unwrap().value;
                self.buffer.drain(..4 + u32::from_be_bytes(*length) as usize);
                return Some((text(&event["type"]), event["object"].clone()));
            }
            let frame = tokio::time::timeout(Duration::from_secs(3600), self.body.next()).await.unwrap()?;
            self.buffer.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }
}

/// Tag and length of the field `raw`.
fn head(mut length: usize) -> Vec<u8> {
    let mut head = vec![0x12];
    while length >= 0x80 {
        head.push(length as u8 | 0x80);
        length >>= 7;
    }
    head.push(length as u8);
    head
}

#[tokio::test]
async fn every_verb_answers_in_protobuf() {
    let server = Fixture::new();
    let path = format!("{MAPS}/a");
    let (code, created) = server.protobuf(Method::POST, MAPS, &map("a", json!({"x": "1"}))).await;
    assert_eq!((code.as_u16(), &created), (201, &server.get(&path).await.1));
    assert_eq!(server.protobuf(Method::GET, &path, &Value::Null).await.1, created);
    let (_, updated) = server.protobuf(Method::PUT, &path, &map("a", json!({"x": "2"}))).await;
    assert_eq!(updated["data"]["x"], "2");
    let (_, patched) = server.protobuf(Method::PATCH, &path, &json!({"data": {"y": "3"}})).await;
    assert_eq!(patched["data"], json!({"x": "2", "y": "3"}));
    let (code, status) = server.protobuf(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((code.as_u16(), &status["status"], &status["details"]["name"]), (200, &json!("Success"), &json!("a")));
    server.create("b", json!({})).await;
    let (_, deleted) = server.protobuf(Method::DELETE, MAPS, &Value::Null).await;
    assert_eq!((&deleted["kind"], &deleted["items"][0]["metadata"]["name"]), (&json!("ConfigMapList"), &json!("b")));
}

#[tokio::test]
async fn failures_are_told_in_the_encoding_that_is_accepted() {
    let server = Fixture::new();
    for (path, code, reason) in
        [(format!("{MAPS}/a"), 404, "NotFound"), (format!("{MAPS}/forbidden"), 403, "Forbidden")]
    {
        let (status, failure) = server.protobuf(Method::GET, &path, &Value::Null).await;
        assert_eq!((status.as_u16(), &failure["kind"], &failure["reason"]), (code, &json!("Status"), &json!(reason)));
        assert_eq!(failure["code"], code);
    }
    let yaml = server.accepting(Method::GET, &format!("{MAPS}/a"), "application/yaml", &Value::Null).await;
    assert!(bytes(yaml).await.starts_with(b"apiVersion: v1\n"));
    // Whoever accepts nothing that there is learns of it in JSON.
    let refused = server.accepting(Method::GET, MAPS, "text/csv", &Value::Null).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[header::CONTENT_TYPE]),
        (406, &"application/json".parse().unwrap())
    );
}

#[tokio::test]
async fn lists_in_protobuf_have_pages() {
    let server = Fixture::new();
    for n in 0..5 {
        server.create(&format!("m{n}"), json!({"x": "1"})).await;
    }
    let (_, first) = server.protobuf(Method::GET, &format!("{MAPS}?limit=2"), &Value::Null).await;
    assert_eq!((first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]), (2, &json!(3)));
    let token = text(&first["metadata"]["continue"]);
    let (_, rest) = server.protobuf(Method::GET, &format!("{MAPS}?limit=10&continue={token}"), &Value::Null).await;
    let (_, same) = server.get(&format!("{MAPS}?limit=10&continue={token}")).await;
    assert_eq!(rest, same);
    assert_eq!((rest["items"].as_array().unwrap().len(), version(&rest)), (3, version(&first)));
    let (_, empty) = server.protobuf(Method::GET, "/api/v1/namespaces/none/configmaps", &Value::Null).await;
    assert!(empty.get("items").is_none() && version(&empty) > 0);
}

#[tokio::test]
async fn a_watch_in_protobuf_sees_what_one_in_json_sees() {
    let server = Fixture::new();
    server.create("old", json!({"x": "0"})).await;
    let (mut messages, mut events) = (server.messages("", PREFERRED).await, server.watch("").await);
    server.create("a", json!({"x": "0"})).await;
    server.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"x": "1"}})).await;
    server.json(Method::DELETE, &format!("{MAPS}/a"), &Value::Null).await;
    for _ in 0..4 {
        let (event, (change, object)) = (events.next().await.unwrap(), messages.next().await.unwrap());
        assert_eq!((&event["type"], &event["object"]), (&json!(change), &object));
    }
}

#[tokio::test]
async fn bookmarks_and_errors_have_the_form_of_the_watch() {
    let server = Fixture::new();
    server.create("a", json!({})).await;
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for (accept, version, kind) in [
        (PREFERRED.to_owned(), "v1", "ConfigMap"),
        (form(PROTOBUF, "PartialObjectMetadata"), "meta.k8s.io/v1", "PartialObjectMetadata"),
    ] {
        let mut messages = server.messages(initial, &accept).await;
        for change in ["ADDED", "BOOKMARK"] {
            let (seen, object) = messages.next().await.unwrap();
            assert_eq!((&*seen, &object["apiVersion"], &object["kind"]), (change, &json!(version), &json!(kind)));
            let end = &object["metadata"]["annotations"]["k8s.io/initial-events-end"];
            assert_eq!(end.as_str(), (change == "BOOKMARK").then_some("true"));
        }
    }
    let path = format!("{MAPS}?watch=1&includeObject=None&{initial}");
    for (kind, rows) in [("Table", "/rows/0/object/metadata"), ("PartialObjectMetadata", "/metadata")] {
        let accept = form("application/json", kind);
        let response = server.accepting(Method::GET, &path, &accept, &Value::Null).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let mut events = Events { body: BodyStream::new(response.into_body()), buffer: Vec::new() };
        let (added, bookmark) = (events.next().await.unwrap(), events.next().await.unwrap());
        assert_eq!((&added["object"]["kind"], &bookmark["object"]["kind"]), (&json!(kind), &json!(kind)));
        assert_eq!((&added["type"], &bookmark["type"]), (&json!("ADDED"), &json!("BOOKMARK")));
        let metadata = bookmark["object"].pointer(rows).unwrap();
        assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    }
}

#[tokio::test]
async fn a_watch_that_cannot_begin_says_so_in_its_encoding() {
    let server = Fixture::new();
    // More events than the ring holds, so that the first are gone.
    server.create("a", json!({})).await;
    let data = "x".repeat(100_000);
    for n in 0..300 {
        server.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"x": format!("{n}{data}")}})).await;
    }
    let mut messages = server.messages("resourceVersion=1", &form(PROTOBUF, "PartialObjectMetadata")).await;
    let (change, status) = messages.next().await.unwrap();
    assert_eq!((&*change, &status["kind"], &status["code"]), ("ERROR", &json!("Status"), &json!(410)));
    assert!(messages.next().await.is_none());
}

#[tokio::test]
async fn metadata_alone_comes_in_every_encoding() {
    let server = Fixture::new();
    let created = server.create("a", json!({"x": "1"})).await;
    let path = format!("{MAPS}/a");
    for (path, kind, pointer) in
        [(&*path, "PartialObjectMetadata", "/metadata"), (MAPS, "PartialObjectMetadataList", "/items/0/metadata")]
    {
        for encoding in ["application/json", "application/yaml", PROTOBUF] {
            let response = server.accepting(Method::GET, path, &form(encoding, kind), &Value::Null).await;
            assert_eq!(
                (response.status().as_u16(), &response.headers()[header::CONTENT_TYPE]),
                (200, &encoding.parse().unwrap())
            );
            let shown = match encoding {
                PROTOBUF => decoded(response).await,
                _ => serde_yaml::from_slice(&bytes(response).await).unwrap(),
            };
            assert_eq!((&shown["kind"], &shown["apiVersion"]), (&json!(kind), &json!("meta.k8s.io/v1")));
            assert_eq!(shown.pointer(pointer).unwrap(), &created["metadata"]);
            assert!(shown.pointer("/data").is_none());
        }
    }
}

#[tokio::test]
async fn metadata_of_one_is_no_list_and_of_a_list_not_one() {
    let server = Fixture::new();
    server.create("a", json!({})).await;
    let path = format!("{MAPS}/a");
    for (path, kind, message) in [
        (
            MAPS,
            "PartialObjectMetadata",
            "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
        ),
        (
            &*path,
            "PartialObjectMetadataList",
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
        ),
    ] {
        let response = server.accepting(Method::GET, path, &form("application/json", kind), &Value::Null).await;
        assert_eq!(response.status(), 406);
        assert_eq!(value(response).await["message"], message);
    }
}

#[tokio::test]
async fn tables_are_json_even_for_those_who_prefer_protobuf() {
    let server = Fixture::new();
    server.create("a", json!({})).await;
    let accept = format!("{},{}", form(PROTOBUF, "Table"), form("application/json", "Table"));
    let response = server.accepting(Method::GET, &format!("{MAPS}?includeObject=Object"), &accept, &Value::Null).await;
    let table = value(response).await;
    assert_eq!((&table["kind"], &table["rows"][0]["object"]["kind"]), (&json!("Table"), &json!("ConfigMap")));
}

#[tokio::test]
async fn long_lists_are_compressed_and_watches_are_not() {
    let server = Fixture::new();
    for n in 0..3 {
        server.create(&format!("m{n}"), json!({"x": "0123456789".repeat(10_000)})).await;
    }
    for accept in ["application/json", PROTOBUF] {
        let headers = [("accept", accept), ("accept-encoding", "gzip")];
        let packed = server.send(Method::GET, MAPS, &headers, "").await;
        assert_eq!(
            (&packed.headers()[header::CONTENT_ENCODING], &packed.headers()[header::VARY]),
            (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
        );
        let mut list = Vec::new();
        flate2::read::GzDecoder::new(&*bytes(packed).await).read_to_end(&mut list).unwrap();
        let plain = server.send(Method::GET, MAPS, &headers[..1], "").await;
        assert_eq!(list, bytes(plain).await);
        let small = server.send(Method::GET, &format!("{MAPS}/m0"), &headers, "").await;
        assert!(small.headers().get(header::CONTENT_ENCODING).is_none());
        let watch = server.send(Method::GET, &format!("{MAPS}?watch=1"), &headers, "").await;
        assert!(watch.headers().get(header::CONTENT_ENCODING).is_none());
    }
}

#[tokio::test]
async fn classic_discovery_comes_in_protobuf() {
    let server = Fixture::new();
    for path in ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"] {
        let (_, shown) = server.protobuf(Method::GET, path, &Value::Null).await;
        let (_, json) = server.get(path).await;
        let count = |value: &Value, name: &str| value[name].as_array().map_or(0, Vec::len);
        for list in ["groups", "versions", "resources"] {
            assert_eq!(count(&shown, list), count(&json, list), "{path}");
        }
        assert_eq!(shown["kind"], json["kind"]);
    }
    let (_, apps) = server.protobuf(Method::GET, "/apis/apps/v1", &Value::Null).await;
    let verbs = |list: &Value| list["resources"][0]["verbs"].clone();
    assert_eq!(verbs(&apps), verbs(&server.get("/apis/apps/v1").await.1));
}
