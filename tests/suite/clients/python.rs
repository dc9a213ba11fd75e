//! The Python client (`kubernetes` on PyPI), whose tour is the program `tour.py`: it checks what it is
//! answered itself, and its last line says so.

use crate::harness::{fetch, scenario, text};

#[test]
fn the_python_client_finds_its_way() {
    let Some(scenario) = scenario("tour-python") else { return };
    let packages = fetch("fetch-python-client", &[]);
    let mut command = scenario.host.command("python3");
    command.arg("-B").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/clients/tour.py"));
    command.arg(scenario.host.kubeconfig()).arg(&scenario.namespace).env("PYTHONPATH", packages);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"all is as it should be\n"), "{}", text(&output));
}
