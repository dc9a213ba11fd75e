//! What the scenarios stand on: test networks and hosts that vanish whatever happens, the real
//! kubectl, images made from this machine's own programs, a real registry, and waiting that says
//! what it last saw.

#![allow(dead_code, unused_imports, reason = "the harness offers what scenarios to come need")]

mod cluster;
mod host;
mod images;
mod issuer;
mod kubectl;
mod lan;
mod wait;

pub use cluster::{Scenario, scenario};
pub use host::{Host, executable, seconds, text};
pub use images::Image;
pub use issuer::Issuer;
pub use kubectl::{Child, Failure, Kubectl, fetch, kubectl, program};
pub use lan::Lan;
pub use wait::{PATIENCE, eventually};

/// Whether hosts can be made here; says aloud if not.
pub fn can_make_hosts() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: test hosts are network namespaces and cgroups, and these need root");
    }
    root
}
