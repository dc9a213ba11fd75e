//! A test network: a bridge in a network namespace of its own, with which hosts are connected. It
//! leads nowhere else. The bridge answers as the hosts' default gateway, so that a node finds its
//! address as it does on a real network.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
};

use super::host::Host;

/// Prefix of everything that the suite makes on the machine.
pub const PREFIX: &str = "nauplius-test-";

/// A network for several hosts. It is removed with the last of them.
#[derive(Clone)]
pub struct Lan(Arc<Namespace>);

impl Lan {
    /// An empty network.
    pub fn new() -> Self {
        let lan = Namespace::new("lan", 0, "");
        let name = &lan.name;
        ip(&format!("-n {name} link add lan type bridge"));
        ip(&format!("-n {name} address add 10.77.0.254/24 dev lan"));
        ip(&format!("-n {name} link set lan up"));
        Self(Arc::new(lan))
    }

    /// Adds a host with the address 10.77.0.`number`.
    pub fn host(&self, number: u8) -> Host {
        Host::on(self.clone(), number)
    }

    /// Connects the network namespace `host` and gives it its address and default route.
    pub(super) fn connect(&self, host: &str, number: u8) {
        let lan = &self.0.name;
        ip(&format!("-n {lan} link add port{number} type veth peer name eth0 netns {host}"));
        ip(&format!("-n {lan} link set port{number} master lan up"));
        ip(&format!("-n {host} address add 10.77.0.{number}/24 dev eth0"));
        ip(&format!("-n {host} link set eth0 up"));
        ip(&format!("-n {host} route add default via 10.77.0.254"));
    }

    /// Removes a host's connection, as when it is switched off.
    pub(super) fn disconnect(&self, number: u8) {
        ip(&format!("-n {} link delete port{number}", self.0.name));
    }

    /// Pulls the plug of a host's network (`up` false) or puts it back.
    pub fn set_link(&self, number: u8, up: bool) {
        ip(&format!("-n {} link set port{number} {}", self.0.name, if up { "up" } else { "down" }));
    }
}

/// A network namespace with the process that removes it, and what hangs on it, after us.
pub struct Namespace {
    /// Its name under /run/netns, which is the name of its host's cgroups too.
    pub name: String,
    remover: Child,
}

impl Namespace {
    /// Makes one. `anchor` and `directory` go with it.
    pub fn new(kind: &str, anchor: u32, directory: &str) -> Self {
        let name = format!("{PREFIX}{kind}-{:08x}", rand::random::<u32>());
        ip(&format!("netns add {name}"));
        let namespace = Self { remover: remover(&name, anchor, directory), name };
        ip(&format!("-n {} link set lo up", namespace.name));
        namespace
    }

    /// Names what is to be removed as well from now on.
    pub fn attach(&mut self, anchor: u32, directory: &str) {
        let next = remover(&self.name, anchor, directory);
        // The first remover has nothing to do any more: it must not act when its input ends.
        let mut first = std::mem::replace(&mut self.remover, next);
        first.kill().unwrap();
        first.wait().unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let status = self.remover.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "test host {} was not removed whole", self.name);
    }
}

fn remover(name: &str, anchor: u32, directory: &str) -> Child {
    let mut remover = Command::new("sh");
    remover.args(["-c", include_str!("remove-host.sh"), "remove-host", name, &anchor.to_string(), directory]);
    remover.stdin(Stdio::piped()).spawn().unwrap()
}

/// Runs `ip` with these words.
#[track_caller]
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}
