//! `/healthz`, `/livez`, `/readyz`, whole or check by check, in the text form that people and
//! probes know.

use std::sync::Arc;

use http::{Response, StatusCode};
use parking_lot::RwLock;

use crate::{
    apiserver::{query::Query, respond::text},
    http::body::Body,
};

/// Tells whether something works; the error says why not.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Named checks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<Vec<Entry>>>,
    /// What is only asked for by its name.
    components: Arc<RwLock<Vec<(&'static str, Check)>>>,
}

struct Entry {
    name: &'static str,
    /// Whether a failure means that the process should be restarted, not only left alone.
    vital: bool,
    check: Check,
}

impl Health {
    /// Adds a check that readiness asks.
    pub fn readiness(&self, name: &'static str, check: Check) {
        self.checks.write().push(Entry { name, vital: false, check });
    }

    /// Adds a check that readiness and liveness ask.
    pub fn liveness(&self, name: &'static str, check: Check) {
        self.checks.write().push(Entry { name, vital: true, check });
    }

    /// Adds the check of a part that neither asks: the API is served without it.
    pub fn component(&self, name: &'static str, check: Check) {
        self.components.write().push((name, check));
    }

    /// The outcome of one check; `None` if there is none of that name.
    pub fn check(&self, name: &str) -> Option<Result<(), String>> {
        let component = self.components.read().iter().find(|(known, _)| *known == name).map(|(_, check)| check.clone());
        let check = component
            .or_else(|| self.checks.read().iter().find(|entry| entry.name == name).map(|entry| entry.check.clone()));
        check.map(|check| check())
    }

    /// Whether all checks pass.
    pub fn is_ready(&self) -> bool {
        self.checks.read().iter().all(|entry| (entry.check)().is_ok())
    }

    /// Serves a path, if it is one of these.
    pub fn serve(&self, path: &str, query: &Query) -> Option<Response<Body>> {
        let (endpoint, wanted) = path.strip_prefix('/')?.split_once('/').unwrap_or((path.strip_prefix('/')?, ""));
        let vital_only = match endpoint {
            "livez" => true,
            "healthz" | "readyz" => false,
            _ => return None,
        };
        let excluded = query.get("exclude").unwrap_or_default();
        let results: Vec<(&str, Result<(), String>)> = self
            .checks
            .read()
            .iter()
            .filter(|entry| (!vital_only || entry.vital) && entry.name != excluded)
            .filter(|entry| wanted.is_empty() || entry.name == wanted)
            .map(|entry| (entry.name, (entry.check)()))
            .collect();
        Some(match (wanted, results.first()) {
            ("", _) | ("ping", None) => answer(endpoint, &results, query.has("verbose")),
            (_, Some(_)) => answer(endpoint, &results, query.has("verbose")),
            (_, None) => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        })
    }
}

fn answer(endpoint: &str, results: &[(&str, Result<(), String>)], verbose: bool) -> Response<Body> {
    let failed = results.iter().any(|(_, result)| result.is_err());
    if !failed && !verbose {
        return text(StatusCode::OK, "ok");
    }
    let mut out = String::from("[+]ping ok\n");
    for (name, result) in results {
        match result {
            Ok(()) => out.push_str(&format!("[+]{name} ok\n")),
            Err(why) => out.push_str(&format!("[-]{name} failed: {why}\n")),
        }
    }
    out.push_str(&format!("{endpoint} check {}\n", if failed { "failed" } else { "passed" }));
    text(if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }, out)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn get(health: &Health, path: &str, query: &str) -> (u16, String) {
        let response = health.serve(path, &Query::parse(query)).unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_failed_check_is_named() {
        let health = Health::default();
        assert_eq!(get(&health, "/readyz", "").await, (200, "ok".into()));
        health.liveness("store", Arc::new(|| Ok(())));
        health.readiness("bootstrap", Arc::new(|| Err("not done".into())));
        let (code, text) = get(&health, "/readyz", "").await;
        assert_eq!(code, 500);
        assert_eq!(text, "[+]ping ok\n[+]store ok\n[-]bootstrap failed: not done\nreadyz check failed\n");
        assert_eq!(get(&health, "/livez", "").await.0, 200);
        assert_eq!(get(&health, "/readyz/store", "").await.0, 200);
        assert_eq!(get(&health, "/readyz/bootstrap", "").await.0, 500);
        assert_eq!(get(&health, "/readyz/none", "").await.0, 404);
        assert!(health.serve("/version", &Query::default()).is_none());
    }
}
