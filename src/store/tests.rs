//! Tests of the store as a whole: against a model, across restarts, and through kill -9.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use super::*;

fn options() -> Options {
    Options { relaxed_first: Duration::from_secs(3600), relaxed_again: Duration::from_secs(3600), ..Options::default() }
}

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(&directory.path().join("state.db"), options()).unwrap()
}

fn put(key: &str, value: &str) -> Change {
    change(key, Some(value), Expect::Any, Durability::Strict)
}

fn change(key: &str, value: Option<&str>, expect: Expect, durability: Durability) -> Change {
    Change { key: key.into(), value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())), expect, durability }
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap();
    entry.map(|event| String::from_utf8(event.value.unwrap().to_vec()).unwrap())
}

#[derive(Default)]
struct Recorder {
    commits: Mutex<Vec<Vec<Event>>>,
}

impl Observer for Recorder {
    fn committed(&self, events: &[Event]) {
        self.commits.lock().push(events.to_vec());
    }
}

#[tokio::test]
async fn counts_revisions_and_keeps_the_creation() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let first = store.commit(put("/a", "1")).await.unwrap();
    let second = store.commit(put("/a", "2")).await.unwrap();
    assert_eq!((first.revision, first.create_revision, first.previous_revision), (1, 1, 0));
    assert_eq!((second.revision, second.create_revision, second.previous_revision), (2, 1, 1));
    assert_eq!(value(&store, "/a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_conflict_carries_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    let error = store.commit(change("/a", Some("2"), Expect::Absent, Durability::Strict)).await.unwrap_err();
    let Error::Conflict { current: Some(current), .. } = error else { panic!("{error}") };
    assert_eq!(current.value.as_deref(), Some(&b"1"[..]));
    let error = store.commit(change("/b", None, Expect::Any, Durability::Strict)).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { current: None, .. }));
}

#[tokio::test]
async fn waiting_writers_share_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let recorder = Arc::new(Recorder::default());
    store.subscribe(recorder.clone());
    let writes = (0..500).map(|n| store.commit(put(&format!("/k{n}"), "x")));
    futures_util::future::join_all(writes).await;
    let commits = recorder.commits.lock();
    let revisions: Vec<u64> = commits.iter().flatten().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=500).collect::<Vec<_>>());
    assert!(commits.len() < 100, "500 concurrent writes took {} commits", commits.len());
}

#[tokio::test]
async fn observers_know_before_the_writer_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let recorder = Arc::new(Recorder::default());
    store.subscribe(recorder.clone());
    for n in 1..=20 {
        let event = store.commit(put("/a", "x")).await.unwrap();
        assert_eq!(recorder.commits.lock().last().unwrap().last().unwrap(), &event);
        assert_eq!(event.revision, n);
    }
}

#[tokio::test]
async fn ranges_are_ordered_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for key in ["/a/2", "/b/1", "/a/1", "/a/3"] {
        store.commit(put(key, key)).await.unwrap();
    }
    let keys = |entries: Vec<Event>| entries.iter().map(|event| event.key.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(store.range("/a/", "", 10).await.unwrap()), ["/a/1", "/a/2", "/a/3"]);
    assert_eq!(keys(store.range("/a/", "/a/2", 1).await.unwrap()), ["/a/2"]);
}

#[tokio::test]
async fn a_clean_restart_keeps_everything_and_skips_no_revision() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    store.commit(change("/lease", Some("1"), Expect::Any, Durability::Relaxed)).await.unwrap();
    store.close().await;
    assert!(matches!(store.commit(put("/a", "2")).await, Err(Error::Closed)));
    drop(store);
    let store = open(&directory);
    assert_eq!(value(&store, "/lease").await.as_deref(), Some("1"));
    assert_eq!(store.commit(put("/a", "2")).await.unwrap().revision, 3);
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open(&directory);
    let second = Store::open(&directory.path().join("state.db"), options());
    assert!(matches!(second.err(), Some(Error::InUse { .. })));
}

#[tokio::test]
async fn relaxed_changes_are_seen_at_once_and_written_with_the_next_strict_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    for n in 1..=5 {
        let renewal = change("/lease", Some(&n.to_string()), Expect::Any, Durability::Relaxed);
        assert_eq!(store.commit(renewal).await.unwrap().revision, n + 1);
    }
    assert_eq!(value(&store, "/lease").await.as_deref(), Some("5"));
    assert_eq!(rows(&directory), 1);
    store.commit(put("/b", "1")).await.unwrap();
    // Of the lease only the last value was written.
    assert_eq!(rows(&directory), 3);
    assert_eq!(value(&store, "/lease").await.as_deref(), Some("5"));
}

#[tokio::test]
async fn relaxed_changes_are_written_when_due() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { relaxed_first: Duration::from_millis(20), ..options() };
    let store = Store::open(&directory.path().join("state.db"), options).unwrap();
    store.commit(put("/a", "1")).await.unwrap();
    store.commit(change("/lease", Some("1"), Expect::Any, Durability::Relaxed)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while rows(&directory) == 1 {
        assert!(Instant::now() < deadline, "the change was never written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_relaxed_key_that_was_created_and_deleted_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    store.commit(change("/event", Some("1"), Expect::Any, Durability::Relaxed)).await.unwrap();
    store.commit(change("/event", None, Expect::Any, Durability::Relaxed)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(value(&store, "/event").await, None);
    assert_eq!(rows(&directory), 1);
}

#[tokio::test]
async fn revisions_of_lost_relaxed_changes_are_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let relaxed = change("/lease", Some("1"), Expect::Any, Durability::Relaxed);
    store.commit(put("/a", "1")).await.unwrap();
    let lost = store.commit(relaxed).await.unwrap().revision;
    // A copy of the files as they are now is what a power cut would leave.
    let after_crash = tempfile::tempdir().unwrap();
    for file in ["state.db", "state.db-wal"] {
        std::fs::copy(directory.path().join(file), after_crash.path().join(file)).unwrap();
    }
    let reopened = open(&after_crash);
    assert_eq!(value(&reopened, "/lease").await, None);
    assert!(reopened.commit(put("/a", "2")).await.unwrap().revision > lost);
}

#[tokio::test]
async fn replay_gives_everything_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    store.commit(change("/l", Some("1"), Expect::Any, Durability::Relaxed)).await.unwrap();
    store.commit(change("/a", None, Expect::Any, Durability::Strict)).await.unwrap();
    store.commit(change("/l", Some("2"), Expect::Any, Durability::Relaxed)).await.unwrap();
    let mut seen = Vec::new();
    store.replay(0, &mut |event| seen.push((event.revision, event.key.to_string()))).unwrap();
    let expected = [(1, "/a"), (2, "/l"), (3, "/a"), (4, "/l")].map(|(revision, key)| (revision, key.to_owned()));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn compaction_drops_history_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for n in 0..300 {
        store.commit(put(&format!("/k{}", n % 3), &n.to_string())).await.unwrap();
    }
    store.commit(change("/k0", None, Expect::Any, Durability::Strict)).await.unwrap();
    store.compact().await.unwrap();
    assert_eq!(rows(&directory), 2);
    assert_eq!(store.compacted(), 301);
    assert!(matches!(store.replay(300, &mut |_| ()), Err(Error::Compacted { compacted: 301 })));
    assert_eq!(value(&store, "/k2").await.as_deref(), Some("299"));
    store.close().await;
    drop(store);
    let store = open(&directory);
    assert_eq!((store.revision(), store.compacted()), (301, 301));
    assert_eq!(value(&store, "/k1").await.as_deref(), Some("298"));
}

#[tokio::test]
async fn the_file_does_not_grow_with_the_number_of_changes() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { history_revisions: 100, sweep_batch: 100, ..options() };
    let store = Store::open(&directory.path().join("state.db"), options).unwrap();
    let large = "x".repeat(10_000);
    for _ in 0..60 {
        let writes = (0..50).map(|n| store.commit(put(&format!("/k{n}"), &large)));
        futures_util::future::join_all(writes).await;
    }
    store.close().await;
    let size: u64 = ["state.db", "state.db-wal"]
        .iter()
        .filter_map(|file| std::fs::metadata(directory.path().join(file)).ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(size < 12 << 20, "30 MB of changes to 0.5 MB of values left {size} bytes");
}

#[tokio::test]
async fn a_backup_can_be_put_back_and_moves_revisions_on() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("state.db"), directory.path().join("backup.db"));
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    store.backup(&copy).await.unwrap();
    let newest = store.commit(put("/a", "2")).await.unwrap().revision;
    assert!(matches!(restore(&copy, &path), Err(Error::InUse { .. })));
    store.close().await;
    drop(store);
    restore(&copy, &path).unwrap();
    let store = open(&directory);
    assert_eq!(value(&store, "/a").await.as_deref(), Some("1"));
    assert!(store.compacted() > newest && store.revision() > newest);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.commit(put("/a", "1")).await.unwrap();
    store.close().await;
    drop(store);
    let damaged = directory.path().join("damaged.db");
    std::fs::write(&damaged, b"this is no database, however long it may be").unwrap();
    let error = restore(&damaged, &directory.path().join("state.db")).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(value(&open(&directory), "/a").await.as_deref(), Some("1"));
}

/// Random concurrent changes give the same as a map does, before and after a restart.
#[tokio::test]
async fn behaves_like_a_map() {
    use rand::{RngExt as _, SeedableRng as _};
    for seed in 0..8 {
        let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory);
        let mut model: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for round in 0..40 {
            let changes: Vec<Change> =
                (0..random.random_range(1..12)).map(|n| random_change(&mut random, &model, n)).collect();
            let outcomes =
                futures_util::future::join_all(changes.iter().map(|change| store.commit(change.clone()))).await;
            for (change, outcome) in changes.iter().zip(outcomes) {
                check_against_model(&mut model, change, outcome);
            }
            if round % 10 == 9 {
                store.close().await;
                drop(store);
                store = open(&directory);
            }
            if random.random_range(0..8) == 0 {
                store.compact().await.unwrap();
            }
            let entries = store.range("/", "", usize::MAX).await.unwrap();
            let entries = entries.into_iter().map(|event| {
                (event.key.to_string(), (event.revision, String::from_utf8(event.value.unwrap().to_vec()).unwrap()))
            });
            assert_eq!(entries.collect::<BTreeMap<_, _>>(), model, "seed {seed}, round {round}");
        }
    }
}

fn random_change(random: &mut rand::rngs::SmallRng, model: &BTreeMap<String, (u64, String)>, n: usize) -> Change {
    use rand::RngExt as _;
    let key = format!("/k{}", random.random_range(0..6));
    let expect = match random.random_range(0..4) {
        0 => Expect::Absent,
        1 => Expect::Revision(model.get(&key).map_or(1, |(revision, _)| *revision)),
        _ => Expect::Any,
    };
    let durability = if random.random_range(0..3) == 0 { Durability::Relaxed } else { Durability::Strict };
    let value = (random.random_range(0..4) != 0).then(|| format!("{n}-{}", random.random_range(0..1000)));
    change(&key, value.as_deref(), expect, durability)
}

fn check_against_model(model: &mut BTreeMap<String, (u64, String)>, change: &Change, outcome: Result<Event, Error>) {
    let key = change.key.to_string();
    let current = model.get(&key).cloned();
    let fits = match change.expect {
        Expect::Any => current.is_some() || change.value.is_some(),
        Expect::Absent => current.is_none() && change.value.is_some(),
        Expect::Revision(revision) => current.as_ref().is_some_and(|(at, _)| *at == revision),
    };
    match outcome {
        Ok(event) => {
            assert!(fits, "{change:?} should not have been made on {current:?}");
            assert_eq!(event.previous_revision, current.map_or(0, |(revision, _)| revision));
            match &change.value {
                Some(value) => model.insert(key, (event.revision, String::from_utf8(value.to_vec()).unwrap())),
                None => model.remove(&key),
            };
        }
        Err(Error::Conflict { current: found, .. }) => {
            assert!(!fits, "{change:?} should have been made on {current:?}");
            assert_eq!(found.map(|event| event.revision), current.map(|(revision, _)| revision));
        }
        Err(error) => panic!("{error}"),
    }
}

const CHILD_DIRECTORY: &str = "NAUPLIUS_TEST_STORE";

/// Not a test of its own: what `kill_9_loses_nothing_acknowledged` runs and kills.
#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn writes_until_killed() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    let store = Store::open(&Path::new(&directory).join("state.db"), options()).unwrap();
    for n in 0_u64.. {
        let writes = (0..4).map(|lane| store.commit(put(&format!("/k{lane}"), &n.to_string())));
        for event in futures_util::future::join_all(writes).await {
            let event = event.unwrap();
            // Straight to the descriptor: a buffer would be lost with the process.
            let line = format!("acknowledged {} {} {n}\n", event.key, event.revision);
            nix::unistd::write(std::io::stdout(), line.as_bytes()).unwrap();
        }
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut newest: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for lines in [40, 400, 1200] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::writes_until_killed", "--ignored", "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acknowledged = output.filter_map(|line| parse_line(&line));
        let first: Vec<_> = acknowledged.by_ref().take(lines).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        for (key, revision, value) in first.into_iter().chain(acknowledged) {
            let before = newest.insert(key, (revision, value));
            assert!(before.is_none_or(|(before, _)| before < revision), "revision {revision} was given twice");
        }
        let store = open(&directory);
        for (key, (revision, value)) in &newest {
            let entry = store.get(key).await.unwrap().unwrap();
            assert!(entry.revision >= *revision, "{key} lost {revision}");
            if entry.revision == *revision {
                assert_eq!(entry.value.unwrap(), value.to_string().as_bytes());
            }
        }
    }
}

fn parse_line(line: &str) -> Option<(String, u64, u64)> {
    // The test harness prints the test's name on the same line as the first acknowledgement.
    let (_, rest) = line.split_once("acknowledged ")?;
    let mut words = rest.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn rows(directory: &tempfile::TempDir) -> usize {
    let mut rows = 0;
    let reader = Reader::open(&directory.path().join("state.db")).unwrap();
    reader.scan(0, &mut |_| rows += 1).unwrap();
    rows
}
