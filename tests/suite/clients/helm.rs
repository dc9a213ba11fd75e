//! Helm 4 and Helm 3 (those of kubectl 1.36 and 1.30) with the chart in `chart/`: a definition, a custom
//! resource, a subchart, values, and hooks before and after.

use super::{MINORS, plain};
use crate::harness::{Scenario, program, scenario, text};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/clients/chart");
const WAIT: &str = "--wait --timeout 60s";

/// One helm in a namespace of its own.
struct Helm {
    minor: u32,
    scenario: Scenario,
    home: tempfile::TempDir,
}

impl Helm {
    #[track_caller]
    fn run(&self, line: &str) -> String {
        self.try_run(line).unwrap_or_else(|output| panic!("helm {line} (of 1.{}) failed: {output}", self.minor))
    }

    #[track_caller]
    fn fails(&self, line: &str) -> String {
        match self.try_run(line) {
            Ok(output) => panic!("helm {line} (of 1.{}) should have failed, but printed: {output}", self.minor),
            Err(output) => plain(&output),
        }
    }

    #[track_caller]
    fn shows(&self, line: &str, parts: &[&str]) {
        let output = plain(&self.run(line));
        for part in parts {
            assert!(output.contains(part), "helm {line} (of 1.{}) does not print: {part}\n{output}", self.minor);
        }
    }

    fn try_run(&self, line: &str) -> Result<String, String> {
        let host = self.scenario.host;
        let mut command = host.command(program(self.minor, "helm"));
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.home.path());
        }
        command.arg("--kubeconfig").arg(host.kubeconfig()).args(["--namespace", &self.scenario.namespace]);
        let output = command.args(line.split_whitespace()).output().unwrap();
        if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(text(&output)) }
    }

    fn path(&self, what: &str, path: &str) -> String {
        self.scenario.kubectl.path(what, path)
    }
}

#[test]
fn a_chart_lives_its_life() {
    for minor in MINORS {
        let Some(scenario) = scenario(&format!("tour-helm-{minor}")) else { return };
        let home = tempfile::Builder::new().prefix("nauplius-test-").tempdir().unwrap();
        let helm = Helm { minor, scenario, home };
        rendered(&helm);
        installed(&helm);
        upgraded(&helm);
        uninstalled(&helm);
    }
}

fn rendered(helm: &Helm) {
    helm.shows(&format!("lint {CHART}"), &["1 chart(s) linted, 0 chart(s) failed"]);
    let local = helm.run(&format!("template boat {CHART} --set greeting=ahoy"));
    for part in ["greeting: \"ahoy\"", "looked: nowhere", "planks: \"3\"", "helm.sh/hook: pre-install"] {
        assert!(local.contains(part), "{local}");
    }
    // Helm does not install definitions in a dry run, so the server cannot know the custom resource.
    let unknown = helm.fails(&format!("install boat {CHART} --dry-run=server"));
    assert!(unknown.contains("no matches for kind \"Buoy\" in version \"harbour.example.com/v1\""), "{unknown}");
}

fn installed(helm: &Helm) {
    let namespace = &helm.scenario.namespace;
    helm.shows(
        &format!("install boat {CHART} {WAIT}"),
        &["STATUS: deployed\nREVISION: 1", "NOTES:\nSay hello to boat."],
    );
    helm.shows("list", &["NAME NAMESPACE REVISION UPDATED STATUS CHART APP VERSION\n", " deployed harbour-1.0.0 1.0"]);
    let settings = format!(r#"{{"greeting":"hello","looked":"{namespace}","minor":"36","serves":"true"}}"#);
    assert_eq!(helm.path("configmap boat-settings", "{.data}"), settings);
    assert_eq!(helm.path("configmap boat-deck", "{.data.planks}"), "3");
    assert_eq!(helm.path("buoy boat", "{.spec.colour}"), "red");
    assert_eq!(helm.path("deployment boat", "{.status.readyReplicas}"), "1");
    for hook in ["pre-install", "post-install"] {
        assert_eq!(helm.path(&format!("pod boat-{hook}"), "{.status.phase}"), "Succeeded");
    }
    helm.shows("status boat", &["STATUS: deployed", "Say hello to boat."]);
    helm.shows("get values boat --all", &["planks: 3\n", "greeting: hello\n"]);
    helm.shows("get manifest boat", &["# Source: harbour/charts/deck/templates/planks.yaml\n"]);
    helm.shows("get hooks boat", &["name: boat-pre-install\n"]);
    helm.shows("test boat --logs", &["Phase: Succeeded\n", "POD LOGS: boat-test\ntest of hello"]);
    let taken = helm.fails(&format!("install boat {CHART}"));
    assert!(taken.contains("a name that is still in use"), "{taken}");
    helm.shows(
        &format!("upgrade boat {CHART} --dry-run=server --set greeting=salve"),
        &["STATUS: pending-upgrade", &format!("looked: {namespace}"), "greeting: \"salve\""],
    );
    assert_eq!(helm.path("configmap boat-settings", "{.data.greeting}"), "hello");
}

fn upgraded(helm: &Helm) {
    helm.shows(&format!("upgrade boat {CHART} --set greeting=ahoy {WAIT}"), &["has been upgraded", "REVISION: 2"]);
    assert_eq!(helm.path("deployment boat", "{.spec.template.spec.containers[0].env[0].value}"), "ahoy");
    let refused = helm.fails(&format!("upgrade boat {CHART} --set replicas=-1"));
    let invalid =
        "Deployment.apps \"boat\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert!(refused.contains("UPGRADE FAILED: ") && refused.contains(invalid), "{refused}");
    helm.shows(&format!("upgrade boat {CHART} --reset-values --set deck.enabled=false"), &["REVISION: 4"]);
    assert_eq!(helm.scenario.kubectl.run("get configmap boat-deck --ignore-not-found"), "");
    helm.shows("rollback boat 2", &["Rollback was a success! Happy Helming!"]);
    assert_eq!(helm.path("configmap boat-settings", "{.data.greeting}"), "ahoy");
    assert_eq!(helm.path("configmap boat-deck", "{.data.planks}"), "3");
    let history = helm.run("history boat -o json");
    let history: Vec<serde_json::Value> = serde_json::from_str(&history).unwrap();
    let states: Vec<_> = history.iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["superseded", "superseded", "failed", "superseded", "deployed"]);
    assert_eq!(history[4]["description"], "Rollback to 2");
}

fn uninstalled(helm: &Helm) {
    helm.shows(
        &format!("upgrade --install raft {CHART} --set deck.planks=9 --set replicas=0"),
        &["Installing it now."],
    );
    assert_eq!(helm.path("configmap raft-deck", "{.data.planks}"), "9");
    helm.shows("uninstall boat --keep-history --wait", &["release \"boat\" uninstalled"]);
    helm.shows("history boat", &["uninstalled harbour-1.0.0 1.0"]);
    helm.shows("uninstall raft boat --wait", &["release \"raft\" uninstalled"]);
    assert_eq!(helm.scenario.kubectl.run("get buoys,deployments,secrets -o name"), "");
    let missing = helm.fails("status boat");
    assert!(missing.contains("release: not found"), "{missing}");
    helm.scenario.kubectl.run("delete crd buoys.harbour.example.com --timeout=30s");
}
