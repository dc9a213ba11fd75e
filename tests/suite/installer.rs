//! install.sh where there is no service manager; with systemd it is `make test-box` that shows it.

use std::process::Command;

use crate::harness::{can_make_hosts, executable, kubectl};

/// Longest time for all of it, in seconds.
const LIMIT_SECONDS: &str = "120";

#[test]
fn a_machine_without_service_manager_is_installed_upgraded_and_cleaned() {
    if !can_make_hosts() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("nauplius-test-").tempdir().unwrap();
    let cgroup = folder.path().file_name().unwrap().to_str().unwrap();
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut machine = Command::new("timeout");
    machine.args(["--signal=KILL", LIMIT_SECONDS, "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    machine.args(["--mount-proc", "sh"]).arg(sources.join("tests/suite/installer.sh"));
    machine.arg(sources.join("install.sh")).arg(executable()).arg(kubectl()).arg(cgroup).arg(folder.path());
    let output = machine.output().unwrap();
    // Nothing is left of them unless the scenario failed before its end.
    let clean =
        format!("find /sys/fs/cgroup -maxdepth 2 -name {cgroup} -exec find {{}} -depth -type d -exec rmdir {{}} + ';'");
    Command::new("sh").args(["-c", &clean]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
