//! Tests of quotas as clients meet them.

use serde_json::json;

use super::*;
use crate::{
    api::kinds,
    apiserver::{admission::fixture, reader::fake::FakeReader},
};

struct Namespace {
    reader: Arc<FakeReader>,
    plugin: ResourceQuota,
}

impl Namespace {
    fn new(spec: Value) -> Self {
        let reader = Arc::new(FakeReader::default());
        reader.put("", "resourcequotas", json!({"metadata": {"namespace": "a", "name": "q"}, "spec": spec}));
        Self { plugin: ResourceQuota::new(reader.clone()), reader }
    }

    fn reserve(
        &self,
        operation: Operation,
        resource: &str,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Option<Reservation>, String> {
        let attributes = fixture::attributes(fixture::user("jane", &[]), "create", "", resource, "a", "x");
        let plural = &attributes.resource;
        let kind = kinds::all().into_iter().find(|kind| kind.plural == plural.as_str()).unwrap();
        let request = fixture::request(&attributes, operation, &kind, old);
        self.plugin.reserve(&request, object).map_err(|status| status.message)
    }

    fn create(&self, resource: &str, object: &Value) -> Result<Option<Reservation>, String> {
        self.reserve(Operation::Create, resource, object, None)
    }
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({"metadata": {"namespace": "a", "name": name},
           "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
}

#[test]
fn what_would_exceed_a_quota_is_refused() {
    let namespace = Namespace::new(json!({"hard": {"pods": "1", "requests.cpu": "1"}}));
    assert!(namespace.create("pods", &pod("x", "1")).is_ok());
    namespace.reader.put("", "pods", pod("y", "500m"));
    assert_eq!(
        namespace.create("pods", &pod("x", "1")).err(),
        Some(
            "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=1, \
             used: pods=1,requests.cpu=500m, limited: pods=1,requests.cpu=1"
                .into()
        )
    );
    namespace.reader.remove("", "pods", "a", "y");
    assert!(namespace.create("pods", &pod("x", "1")).is_ok());
}

#[test]
fn what_is_being_written_counts_until_it_is_stored_or_fails() {
    let namespace = Namespace::new(json!({"hard": {"count/secrets": "1"}}));
    let secret = |name: &str| json!({"metadata": {"namespace": "a", "name": name}});
    let first = namespace.create("secrets", &secret("x")).unwrap();
    assert!(first.is_some() && namespace.create("secrets", &secret("y")).is_err());
    drop(first);
    let second = namespace.create("secrets", &secret("y")).unwrap();
    namespace.reader.put("", "secrets", secret("y"));
    let refused = namespace.create("secrets", &secret("z")).err().unwrap();
    assert!(refused.contains("used: count/secrets=1, limited"), "counted once: {refused}");
    drop(second);
    assert!(namespace.create("secrets", &secret("z")).is_err());
}

#[test]
fn containers_must_name_what_a_quota_limits() {
    let namespace = Namespace::new(json!({"hard": {"limits.cpu": "1"}}));
    assert_eq!(
        namespace.create("pods", &pod("x", "1")).err(),
        Some(r#"pods "x" is forbidden: failed quota: q: must specify limits.cpu for: c"#.into())
    );
}

#[test]
fn a_quota_is_about_its_scopes_alone() {
    let namespace = Namespace::new(json!({"hard": {"pods": "0"}, "scopes": ["Terminating"]}));
    assert!(namespace.create("pods", &pod("x", "1")).is_ok());
    let mut job = pod("x", "1");
    job["spec"]["activeDeadlineSeconds"] = json!(60);
    assert!(namespace.create("pods", &job).is_err());
}

#[test]
fn an_update_is_charged_with_what_it_adds() {
    let namespace = Namespace::new(json!({"hard": {"services.nodeports": "1", "services": "1"}}));
    let service = |kind: &str, ports: Value| json!({"metadata": {"namespace": "a", "name": "x", "resourceVersion": "1"}, "spec": {"type": kind, "ports": ports}});
    let old = service("ClusterIP", json!([{}, {}]));
    namespace.reader.put("", "services", old.clone());
    let update = |new: &Value| namespace.reserve(Operation::Update, "services", new, Some(&old)).map(|_| ());
    assert_eq!(update(&service("NodePort", json!([{}]))), Ok(()));
    assert!(
        update(&service("NodePort", json!([{}, {}])))
            .unwrap_err()
            .contains("requested: services.nodeports=2, used: services.nodeports=0")
    );
    assert_eq!(update(&old), Ok(()));
}
