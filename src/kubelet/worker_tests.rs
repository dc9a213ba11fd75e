//! A kubelet over a fake host and a fake API: pods go in, statuses and deletions come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Config, Host,
    host::*,
    record::Record,
    shared::Shared,
    worker::{Worker, inbox::Inbox},
};
use crate::{
    api::patch::merge,
    base::task::Supervisor,
    client::{informer::Informer, transport},
    http::{
        body::{self, Body},
        identity::User,
    },
    image::{Credential, Image},
    oci::{ContainerConfig, ContainerState, ContainerStatus, ExecConfig, SandboxConfig},
};

/// Containers that run until they are signalled, or end at once with a code by their image.
struct FakeHost {
    log: Mutex<Vec<String>>,
    states: watch::Sender<BTreeMap<String, ContainerState>>,
    images: Mutex<BTreeSet<String>>,
    ignore_sigterm: bool,
    directory: PathBuf,
}

impl FakeHost {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().push(what.into());
    }

    fn exit(&self, id: &str, code: i32) {
        let state = ContainerState::Exited { code, signal: 0, oom_killed: false, started_at_ns: 1, finished_at_ns: 2 };
        self.states.send_modify(|states| {
            states.insert(id.to_owned(), state);
        });
    }

    fn running(&self) -> Option<String> {
        let states = self.states.borrow();
        states.iter().find(|(_, state)| matches!(state, ContainerState::Running { .. })).map(|(id, _)| id.clone())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T>> {
    async move { Ok(value) }.boxed()
}

impl Containers for FakeHost {
    fn create_sandbox(&self, config: SandboxConfig) -> BoxFuture<'_, Result<()>> {
        self.note(format!("sandbox {}", config.id));
        ready(())
    }
    fn remove_sandbox<'a>(&'a self, sandbox: &'a str) -> BoxFuture<'a, Result<()>> {
        self.note(format!("remove sandbox {sandbox}"));
        ready(())
    }
    fn sandbox_lost<'a>(&'a self, _sandbox: &'a str) -> BoxFuture<'a, ()> {
        std::future::pending().boxed()
    }
    fn create<'a>(&'a self, _sandbox: &'a str, config: ContainerConfig) -> BoxFuture<'a, Result<()>> {
        self.note(format!("create {}", config.args.join(" ")));
        ready(())
    }
    fn start<'a>(&'a self, _sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>> {
        let state = ContainerState::Running { pid: 1, started_at_ns: 1 };
        self.states.send_modify(|states| {
            states.insert(id.to_owned(), state.clone());
        });
        ready(ContainerStatus { id: id.to_owned(), state, annotations: BTreeMap::new() })
    }
    fn wait<'a>(&'a self, _sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>> {
        let mut states = self.states.subscribe();
        async move {
            let over = |states: &BTreeMap<String, ContainerState>| {
                matches!(states.get(id), Some(ContainerState::Exited { .. }))
            };
            let state = states.wait_for(over).await.unwrap()[id].clone();
            Ok(ContainerStatus { id: id.to_owned(), state, annotations: BTreeMap::new() })
        }
        .boxed()
    }
    fn signal<'a>(&'a self, _sandbox: &'a str, id: &'a str, signal: i32) -> BoxFuture<'a, Result<()>> {
        self.note(format!("signal {signal}"));
        if signal == 9 || !self.ignore_sigterm {
            self.exit(id, 128 + signal);
        }
        ready(())
    }
    fn remove<'a>(&'a self, _sandbox: &'a str, _id: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(())
    }
    fn exec<'a>(
        &'a self,
        _sandbox: &'a str,
        _id: &'a str,
        command: Vec<String>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<ExecResult>> {
        self.note(format!("exec {}", command.join(" ")));
        ready(ExecResult { code: i32::from(command[0] == "false"), output: Vec::new() })
    }
    fn exec_streams<'a>(
        &'a self,
        _sandbox: &'a str,
        id: &'a str,
        _config: ExecConfig,
    ) -> BoxFuture<'a, Result<ExecSession>> {
        async move { Err(Error::NotFound { id: id.to_owned() }) }.boxed()
    }
    fn attach<'a>(&'a self, _sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ExecSession>> {
        async move { Err(Error::NotFound { id: id.to_owned() }) }.boxed()
    }
    fn recover(&self) -> BoxFuture<'_, Result<Vec<RecoveredSandbox>>> {
        ready(Vec::new())
    }
}

impl Images for FakeHost {
    fn find<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>>> {
        ready(self.images.lock().contains(reference).then(|| image(reference)))
    }
    fn pull<'a>(&'a self, reference: &'a str, _: Vec<Credential>) -> BoxFuture<'a, Result<Image>> {
        self.note(format!("pull {reference}"));
        async move { Err(Error::Failed("no such host".into())) }.boxed()
    }
    fn mount<'a>(&'a self, _image: &'a str, _container: &'a str) -> BoxFuture<'a, Result<PathBuf>> {
        ready(self.directory.clone())
    }
    fn unmount<'a>(&'a self, _container: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(())
    }
    fn mounted(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        ready(Vec::new())
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Image>>> {
        ready(Vec::new())
    }
    fn collect(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.note("collect");
        ready(Vec::new())
    }
}

impl Network for FakeHost {
    fn ready(&self) -> std::result::Result<(), String> {
        Ok(())
    }
    fn became_ready(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
    fn attach<'a>(&'a self, pod: &'a str, _ports: &'a [HostPort]) -> BoxFuture<'a, Result<Attachment>> {
        ready(Attachment {
            netns: PathBuf::from("/run/netns").join(pod),
            addresses: vec![IpAddr::from([10, 42, 0, 2])],
        })
    }
    fn detach<'a>(&'a self, pod: &'a str) -> BoxFuture<'a, Result<()>> {
        self.note(format!("detach {pod}"));
        ready(())
    }
    fn retain<'a>(&'a self, keep: &'a BTreeSet<String>) -> BoxFuture<'a, Result<()>> {
        self.note(format!("retain {keep:?}"));
        ready(())
    }
}

fn image(name: &str) -> Image {
    let command = vec!["/bin/run".to_owned()];
    let config = crate::image::RunConfig { command, ..crate::image::RunConfig::default() };
    Image { id: "sha256:1".into(), tags: vec![name.into()], digests: vec![], size_bytes: 1, config, pinned: false }
}

/// More than any of these pods has to say.
const MOST_WRITES: u64 = 100;

/// An API with one pod: merges status patches, and notes deletions.
#[derive(Clone)]
struct FakeApi {
    pod: Arc<Mutex<Value>>,
    deleted: watch::Sender<bool>,
    statuses: watch::Sender<Value>,
}

impl FakeApi {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let serve = move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        };
        transport::in_process(serve, User::component("system:node"))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        use http_body_util::BodyExt;
        let (parts, incoming) = request.into_parts();
        let is_pod = parts.uri.path().starts_with("/api/v1/namespaces/n/pods/p");
        if is_pod && parts.method == Method::DELETE {
            self.deleted.send_replace(true);
            return json_response(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}));
        }
        let bytes = incoming.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        if is_pod && parts.method == Method::PATCH {
            let patch: Value = serde_json::from_slice(&bytes).unwrap();
            let mut pod = self.pod.lock();
            for (key, value) in patch["status"].as_object().unwrap() {
                if key == "conditions" {
                    merge_conditions(&mut pod["status"]["conditions"], value);
                } else {
                    pod["status"][key] = value.clone();
                }
            }
            let version: u64 = pod["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert!(version < MOST_WRITES, "the status is written without end: {patch}");
            pod["metadata"]["resourceVersion"] = json!((version + 1).to_string());
            self.statuses.send_replace(pod["status"].clone());
            return json_response(&pod);
        }
        if parts.uri.path() == "/api/v1/pods" {
            return json_response(&json!({"apiVersion": "v1", "kind": "PodList", "items": [],
                "metadata": {"resourceVersion": "1"}}));
        }
        json_response(&json!({"apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": {}}))
    }
}

/// Conditions merge by type and field by field, as the schema has it.
fn merge_conditions(conditions: &mut Value, changes: &Value) {
    let mut list = conditions.as_array().cloned().unwrap_or_default();
    for change in changes.as_array().unwrap() {
        match list.iter_mut().find(|condition| condition["type"] == change["type"]) {
            Some(condition) => *condition = merge::apply(condition.take(), change.clone()),
            None => list.push(merge::apply(json!({}), change.clone())),
        }
    }
    *conditions = Value::Array(list);
}

fn json_response(value: &Value) -> Response<Body> {
    Response::new(body::full(value.to_string()))
}

struct Scene {
    host: Arc<FakeHost>,
    api: FakeApi,
    inbox: Inbox,
    shared: Arc<Shared>,
    _directory: tempfile::TempDir,
}

async fn scene(spec: Value, ignore_sigterm: bool) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "status": {}});
    let api = FakeApi {
        pod: Arc::new(Mutex::new(object.clone())),
        deleted: watch::channel(false).0,
        statuses: watch::channel(json!({})).0,
    };
    let host = Arc::new(FakeHost {
        log: Mutex::default(),
        states: watch::channel(BTreeMap::new()).0,
        images: Mutex::new(BTreeSet::from(["here:1".to_owned()])),
        ignore_sigterm,
        directory: directory.path().to_owned(),
    });
    let mut config = Config::new("edge", vec![IpAddr::from([192, 0, 2, 1])]);
    config.data_dir = directory.path().join("data");
    config.pod_logs_dir = directory.path().join("pods");
    config.container_logs_dir = directory.path().join("containers");
    let supervisor = Supervisor::new();
    let parts = Host { containers: host.clone(), images: host.clone(), network: host.clone() };
    let shared = super::share(config, api.client(), Informer::detached(), parts, &supervisor).await.0;
    let pod: Arc<Pod> = Arc::new(serde_json::from_value(object).unwrap());
    let inbox = Inbox::default();
    let record = Record::from_status(&pod, jiff::Timestamp::now());
    let worker = Worker::new(shared.clone(), inbox.clone(), pod, record);
    supervisor.spawn("worker", worker.run());
    Scene { host, api, inbox, shared, _directory: directory }
}

impl Scene {
    async fn status(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut statuses = self.api.statuses.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(900), statuses.wait_for(|status| holds(status))).await;
        match found {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("never {what}: {} {:?}", self.api.statuses.borrow().clone(), self.host.log.lock()),
        }
    }

    fn delete(&self, grace_s: i64) {
        let mut pod: Pod = serde_json::from_value(self.api.pod.lock().clone()).unwrap();
        pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now()));
        pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self.inbox.set(Arc::new(pod));
    }

    async fn deleted(&self) {
        let mut deleted = self.api.deleted.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(900), deleted.wait_for(|deleted| *deleted)).await;
        assert!(found.is_ok(), "never deleted: {} {:?}", self.api.statuses.borrow().clone(), self.host.log.lock());
    }

    fn log(&self) -> Vec<String> {
        self.host.log.lock().clone()
    }
}

fn waiting(status: &Value) -> &str {
    status["containerStatuses"][0]["state"]["waiting"]["reason"].as_str().unwrap_or_default()
}

fn is_running(status: &Value) -> bool {
    status["phase"] == "Running" && status["containerStatuses"][0]["state"]["running"].is_object()
}

#[tokio::test(start_paused = true)]
async fn images_are_collected_after_pods_went_and_now_and_then() {
    let scene = scene(json!({"containers": [{"name": "a", "image": "here:1"}]}), false).await;
    scene.status("running", is_running).await;
    scene.shared.supervisor.spawn("collection", super::collection::run(scene.shared.clone()));
    let count = || scene.log().iter().filter(|line| *line == "collect").count();
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(count(), 0);
    scene.delete(1);
    scene.deleted().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(count(), 1);
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_is_stopped_and_deleted() {
    let scene = scene(json!({"containers": [{"name": "a", "image": "here:1"}]}), false).await;
    let status = scene.status("running", is_running).await;
    assert_eq!(status["podIP"], "10.42.0.2");
    scene.delete(30);
    scene.deleted().await;
    assert_eq!(scene.log(), ["sandbox u", "create /bin/run", "signal 15", "remove sandbox u", "detach u"]);
    let last = scene.api.statuses.borrow().clone();
    assert_eq!(last["containerStatuses"][0]["state"]["terminated"]["exitCode"], 143);
    assert_eq!(last["phase"], "Failed");
    while !scene.shared.views.read().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!scene.shared.config.pods_dir().join("u").exists());
}

#[tokio::test(start_paused = true)]
async fn a_stubborn_container_is_killed_after_its_grace_period() {
    let lifecycle = json!({"preStop": {"exec": {"command": ["bye"]}}});
    let spec = json!({"containers": [{"name": "a", "image": "here:1", "lifecycle": lifecycle}]});
    let scene = scene(spec, true).await;
    scene.status("running", is_running).await;
    let before = tokio::time::Instant::now();
    scene.delete(30);
    scene.deleted().await;
    assert!(before.elapsed() >= Duration::from_secs(30) && before.elapsed() < Duration::from_secs(35));
    assert_eq!(scene.log()[2..5], ["exec bye", "signal 15", "signal 9"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_backs_off_and_comes_back() {
    let scene = scene(json!({"containers": [{"name": "a", "image": "here:1"}]}), false).await;
    for restarts in 0..3 {
        scene
            .status("running again", |status| {
                is_running(status) && status["containerStatuses"][0]["restartCount"] == restarts
            })
            .await;
        let id = scene.host.running().unwrap();
        scene.host.exit(&id, 1);
    }
    let status = scene.status("crash loop", |status| waiting(status) == "CrashLoopBackOff").await;
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(status["phase"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_an_error_then_a_back_off() {
    let scene = scene(json!({"containers": [{"name": "a", "image": "away:1"}]}), false).await;
    scene.status("ErrImagePull", |status| waiting(status) == "ErrImagePull").await;
    scene.status("ImagePullBackOff", |status| waiting(status) == "ImagePullBackOff").await;
    scene.host.images.lock().insert("away:1".into());
    scene.status("running", is_running).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_succeeds_and_its_sandbox_goes() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "here:1"}]});
    let scene = scene(spec, false).await;
    scene.status("running", is_running).await;
    let id = scene.host.running().unwrap();
    scene.host.exit(&id, 0);
    let status = scene.status("succeeded", |status| status["phase"] == "Succeeded").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    while !scene.log().contains(&"detach u".to_owned()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn probes_gate_readiness_and_restart() {
    let exec = |command: &str| json!({"exec": {"command": [command]}, "periodSeconds": 1, "failureThreshold": 2});
    let spec = json!({"containers": [{"name": "a", "image": "here:1",
        "readinessProbe": exec("true"), "livenessProbe": exec("false")}]});
    let scene = scene(spec, false).await;
    scene.status("ready", |status| status["containerStatuses"][0]["ready"] == true).await;
    scene.status("restarted", |status| status["containerStatuses"][0]["restartCount"] == 1).await;
    assert!(scene.log().contains(&"signal 15".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_known_pod_that_the_api_does_not_list_is_removed_and_not_run() {
    let scene =
        scene(json!({"containers": [{"name": "a", "image": "missing:1", "imagePullPolicy": "Never"}]}), false).await;
    let object = json!({"metadata": {"name": "old", "namespace": "n", "uid": "old"},
        "spec": {"containers": [{"name": "a", "image": "here:1"}]}, "status": {"phase": "Running"}});
    let pod: Arc<Pod> = Arc::new(serde_json::from_value(object).unwrap());
    let record = Record::from_status(&pod, jiff::Timestamp::now());
    // The fake API lists no pods.
    let known = vec![super::recovery::Known { pod, record }];
    scene.shared.supervisor.spawn("source", super::source::run(scene.shared.clone(), known));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = scene.log();
    assert!(log.contains(&"remove sandbox old".to_owned()), "{log:?}");
    assert!(!log.contains(&"sandbox old".to_owned()), "{log:?}");
}

/// The agent may be killed after a pod's last report and before its network is gone.
#[tokio::test(start_paused = true)]
async fn recovery_frees_the_network_of_pods_that_have_ended() {
    let scene = scene(json!({"containers": [{"name": "a", "image": "here:1"}]}), false).await;
    for (uid, phase) in [("ended", "Failed"), ("running", "Running")] {
        let object = json!({"metadata": {"name": uid, "namespace": "n", "uid": uid},
            "spec": {"containers": [{"name": "a", "image": "here:1"}]}, "status": {"phase": phase}});
        let directory = super::names::directory(&scene.shared.config, uid);
        super::jobs::checkpoint::save_pod(&directory, &serde_json::from_value(object).unwrap());
    }
    let known = super::recovery::recover(&scene.shared).await.unwrap();
    assert_eq!(known.len(), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kept = scene.log().into_iter().find(|line| line.starts_with("retain ")).unwrap();
    assert!(kept.contains("running") && !kept.contains("ended"), "{kept}");
}
