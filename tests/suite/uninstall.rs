//! `nauplius uninstall`: the machine is as it was before.

use crate::{
    harness::{Host, text},
    pair::Pair,
};

/// Lists the tables of the packet filter, which Debian's `nft` need not be there for.
const LIST_TABLES: &str = include_str!("nft-tables.py");

#[test]
fn uninstall_leaves_nothing_behind() {
    let Some(pair) = Pair::start() else { return };
    let lan = pair.server.lan().clone();
    let fresh = state(&lan.host(3)).replace("node-3", "");
    pair.serve();
    assert!(state(&pair.agent).contains("nauplius"), "the list shows nothing: {}", state(&pair.agent));
    for host in [&pair.agent, &pair.server] {
        host.stop();
        uninstall(host);
        assert_eq!(state(host), fresh);
        let cgroups = std::process::Command::new("find")
            .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", host.name()])
            .output()
            .unwrap();
        assert_eq!(text(&cgroups), "", "control groups are left");
        assert!(!host.data_dir().exists());
        assert!(!host.directory().join("logs/pods").exists());
        uninstall(host);
    }
}

fn uninstall(host: &Host) {
    let output = host.nauplius(&format!("uninstall --keep-executable {}", host.paths().join(" ")));
    assert!(output.status.success(), "{}", text(&output));
}

/// Interfaces, routes, network namespaces, mounts, packet filter, run-time files and processes, each
/// without what differs from one host to the next.
fn state(host: &Host) -> String {
    host.sh(&format!(
        "ip -o link | sed 's/@.*//; s/^[0-9]*: //' | grep -v eth0; ip route | sed 's/src .*//';
         ls -A /run /run/netns 2>/dev/null; grep -c . /proc/sys/net/ipv4/ip_forward;
         grep -e overlay -e nauplius/ /proc/self/mounts;
         python3 -c '{LIST_TABLES}';
         ps axo args= | grep -v -e '^ps ' -e '^sed ' -e '^sh -c' -e '^grep ' -e 'sleep 86400'; true"
    ))
}
