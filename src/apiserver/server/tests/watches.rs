//! Lists and watches where history ends, and watchers that are slow.

use super::*;

/// Changes of one object that are more than is kept of them.
const CHANGES: usize = 300;
/// Its size, in bytes.
const LARGE: usize = 64 << 10;

impl Fixture {
    /// Makes old revisions go.
    async fn outlive(&self) {
        for n in 0..CHANGES {
            let data = json!({"data": {"n": format!("{n}{}", "x".repeat(LARGE))}});
            let (code, answer) = self.patch(&format!("{MAPS}/busy"), MERGE, &data).await;
            assert_eq!(code, 200, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_list_whose_history_is_gone_goes_on_with_what_is_there() {
    let server = Fixture::new();
    for name in ["a", "b", "c", "d"] {
        server.create(name, json!({})).await;
    }
    let (_, first) = server.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    let chosen = server.get(&format!("{MAPS}?limit=2&labelSelector=!x")).await.1;
    assert!(chosen["metadata"]["continue"].is_string() && chosen["metadata"]["remainingItemCount"].is_null());
    server.create("c2", json!({})).await;
    server.store.compact().await.unwrap();
    let server = server.restart().await;
    let token = text(&first["metadata"]["continue"]);
    let (code, status) = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((code.as_u16(), &status["reason"]), (410, &json!("Expired")), "{status}");
    let token = text(&status["metadata"]["continue"]);
    let (_, second) = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| text(&item["metadata"]["name"])).collect()
    };
    assert_eq!(names(&second), ["c", "c2"]);
    // From here on the list is consistent again.
    server.create("e", json!({})).await;
    let token = text(&second["metadata"]["continue"]);
    assert_eq!(names(&server.get(&format!("{MAPS}?limit=2&continue={token}")).await.1), ["d"]);
    let old = format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact");
    let (code, status) = server.get(&old).await;
    assert_eq!(
        (code.as_u16(), &status["message"]),
        (410, &json!("The resourceVersion for the provided list is too old."))
    );
    assert_eq!(server.get(&format!("{MAPS}?continue=nonsense")).await.0, 400);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_and_holds_nobody_up() {
    let server = Fixture::new();
    server.create("busy", json!({})).await;
    let version = server.server.registry().caches().revision();
    let mut slow = server.watch(&format!("resourceVersion={version}")).await;
    let mut quick = server.watch(&format!("resourceVersion={version}")).await;
    let reading = async {
        let mut seen = 0;
        while quick.next().await.unwrap()["object"]["metadata"]["name"] != "last" {
            seen += 1;
        }
        seen
    };
    let writing = async {
        server.outlive().await;
        server.create("last", json!({})).await;
    };
    let (seen, ()) = tokio::join!(reading, writing);
    assert_eq!(seen, CHANGES);
    let event = slow.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["reason"]), (&json!("ERROR"), &json!("Expired")), "{event}");
    assert!(slow.next().await.is_none());
}

#[tokio::test]
async fn a_watch_of_one_object_sees_nothing_else() {
    let server = Fixture::new();
    let mut events = server.watch("fieldSelector=metadata.name%3Da").await;
    server.create("b", json!({})).await;
    server.create("a", json!({})).await;
    server.patch(&format!("{MAPS}/b"), MERGE, &json!({"data": {"x": "1"}})).await;
    server.json(Method::DELETE, &format!("{MAPS}/a"), &Value::Null).await;
    assert_eq!(events.seen().await, ("ADDED".into(), "a".into()));
    assert_eq!(events.seen().await, ("DELETED".into(), "a".into()));
    let other = "/api/v1/watch/namespaces/default/configmaps/a?watch=1&fieldSelector=metadata.name%3Db";
    assert_eq!(server.get(other).await.0, 400);
}

#[tokio::test]
async fn a_watch_begins_where_it_is_told_to() {
    let server = Fixture::new();
    let created = server.create("a", json!({})).await;
    let marked = "allowWatchBookmarks=true&resourceVersion=0";
    let mut events = server.watch(marked).await;
    assert_eq!(events.seen().await, ("ADDED".into(), "a".into()));
    let end = events.next().await.unwrap();
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(version(&end["object"]) >= version(&created));
    let without = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = server.watch(without).await;
    server.create("b", json!({})).await;
    assert_eq!(events.seen().await, ("ADDED".into(), "b".into()));
    assert_eq!(server.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.0, 422);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_list_that_is_not_there_yet_is_told_so() {
    let server = Fixture::new();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999";
    let mut events = server.watch(query).await;
    let error = events.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(504)), "{error}");
}
