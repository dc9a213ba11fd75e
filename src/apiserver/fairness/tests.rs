//! What a request that nothing stands in the way of costs, measured by hand.

use super::*;
use crate::{
    api::kinds,
    http::identity::User,
    store::{Options, Store},
};

fn fairness() -> (tempfile::TempDir, Fairness) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("state.db"), Options::default()).unwrap();
    let caches = Caches::load(&store, &kinds::all()).unwrap();
    let fairness = Fairness::new(caches, Metrics::register(&mut prometheus_client::registry::Registry::default()));
    let (levels, schemas) = crate::apiserver::bootstrap::flow_control_defaults();
    let before = fairness.current.load();
    let new = Configuration::new(&before, levels, schemas, &fairness.lingering, &fairness.metrics);
    fairness.current.store(Arc::new(new));
    (directory, fairness)
}

fn request(user: &str, groups: &[&str], verb: &str, group: &str, resource: &str) -> Arc<Attributes> {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Arc::new(Attributes {
        user: User { name: user.into(), groups, ..User::default() },
        verb: verb.into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        namespace: "default".into(),
        name: "x".into(),
        ..Attributes::default()
    })
}

#[tokio::test]
async fn requests_are_told_apart_by_the_defaults() {
    let (_directory, fairness) = fairness();
    let known = "system:authenticated";
    let account = ["system:serviceaccounts", known];
    for (request, schema) in [
        (request("admin", &["system:masters", known], "get", "", "pods"), "exempt"),
        (
            request("system:node:a", &["system:nodes", known], "update", "coordination.k8s.io", "leases"),
            "system-node-high",
        ),
        (request("system:node:a", &["system:nodes", known], "get", "", "secrets"), "system-nodes"),
        (
            request("system:kube-scheduler", &[known], "update", "coordination.k8s.io", "leases"),
            "system-leader-election",
        ),
        (request("system:kube-controller-manager", &[known], "list", "", "pods"), "kube-controller-manager"),
        (request("system:serviceaccount:kube-system:a", &account, "get", "", "pods"), "kube-system-service-accounts"),
        (request("system:serviceaccount:default:a", &account, "get", "", "pods"), "service-accounts"),
        (request("somebody", &[known], "get", "", "pods"), "global-default"),
        (request("nobody", &[], "get", "", "pods"), "catch-all"),
    ] {
        let ticket = fairness.admit(&request, &Query::default(), Duration::ZERO).await.ok().unwrap();
        assert_eq!(&*ticket.schema.name, schema);
    }
    let table = dump::levels(&fairness);
    assert!(table.starts_with("PriorityLevelName,") && table.lines().count() == 9, "{table}");
}

#[tokio::test]
async fn queues_are_shown_with_what_is_in_them() {
    let (_directory, fairness) = fairness();
    let request = request("somebody", &["system:authenticated"], "get", "", "pods");
    let query = Query::default();
    let admit = || fairness.admit(&request, &query, Duration::from_secs(60));
    let seats = fairness.current.load().levels["global-default"].level.share().current;
    let mut served = Vec::new();
    for _ in 0..seats {
        served.push(admit().await.ok().unwrap());
    }
    let mut waiting = Box::pin(admit());
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let table = dump::queues(&fairness);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').map(str::trim).collect()).collect();
    assert_eq!(rows[0][..4], ["PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests"]);
    // Three levels with 128 queues, two with 64, one with 16.
    assert_eq!(rows.len() - 1, 3 * 128 + 2 * 64 + 16);
    let sum = |column: usize| {
        let own = rows.iter().filter(|row| row[0] == "global-default");
        own.map(|row| row[column].parse::<u32>().unwrap()).sum::<u32>()
    };
    assert_eq!([sum(2), sum(3), sum(4), sum(6), sum(7)], [1, seats, seats, 1, 1]);
    assert!(rows.iter().any(|row| row[8] == "0.00300000ss"), "{table}");
    let requests = dump::requests(&fairness, &Query::parse("includeRequestDetails=1"));
    let rows: Vec<Vec<&str>> = requests.lines().map(|line| line.split(',').map(str::trim).collect()).collect();
    assert_eq!((rows.len() - 1, rows[0].len()), (seats as usize + 1, 18));
    let waits: Vec<_> = rows.iter().filter(|row| row[9] == "0001-01-01T00:00:00Z").collect();
    assert_eq!((waits.len(), &waits[0][..2]), (1, &["global-default", "global-default"][..]));
    assert_eq!((waits[0][3], waits[0][4], &waits[0][6..9]), ("0", "somebody", &["1", "0", "0s"][..]));
    assert_eq!(waits[0][10..], ["somebody", "get", "", "default", "x", "v1", "pods", ""]);
    assert!(rows.iter().filter(|row| row[3] == "-1").count() == seats as usize && waits[0][2] != "-1");
    drop(served);
    drop(waiting);
    assert_eq!(dump::requests(&fairness, &query).lines().count(), 1);
    assert!(!dump::queues(&fairness).contains("0.00300000ss,"));
}

/// `cargo test --release --lib -- --ignored --nocapture what_an_uncontended`
#[tokio::test]
#[ignore = "measures; its figure is for people"]
async fn what_an_uncontended_request_costs() {
    let (_directory, fairness) = fairness();
    let request = request("somebody", &["system:authenticated"], "get", "", "pods");
    let (query, count) = (Query::default(), 1_000_000);
    let began = std::time::Instant::now();
    for _ in 0..count {
        drop(fairness.admit(&request, &query, Duration::from_secs(1)).await.ok().unwrap());
    }
    tracing::info!(nanoseconds = began.elapsed().as_nanos() / count, "per request");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed() / u32::try_from(count).unwrap());
}
