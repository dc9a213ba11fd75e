//! The real executable on throw-away hosts, driven by the kubectl that people have. One module per
//! capability; `harness` makes the hosts, the clusters on them and the images. Needs root, and says
//! aloud when it must skip. `make suite` runs it after installing what it needs.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says aloud what it skips")]

mod api;
mod appliers;
mod auditing;
mod authentication;
mod clients;
mod deployments;
mod harness;
mod images;
mod installer;
mod nodes;
mod pair;
mod pods;
mod policies;
mod programs;
mod rbac;
mod reboots;
mod restarts;
mod scheduling;
mod services;
mod streams;
mod uninstall;
mod volumes;
