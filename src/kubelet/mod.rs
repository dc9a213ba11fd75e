//! The kubelet: from pods bound to this node to running containers and their reported status.
//!
//! One worker per pod asks the pure [`plan`] what to do next and carries it out through the
//! traits of [`host`]; [`status`] is a pure function of the same record. Nothing polls: workers
//! wake on changes of their pod, of the objects it uses, of its containers, and on timers.

pub mod config;
pub mod container;
pub mod dns;
pub mod host;
pub mod jobs;
pub mod names;
pub mod objects;
pub mod plan;
pub mod probe;
pub mod pull;
pub mod pull_secret;
pub mod quantity;
pub mod record;
pub mod resources;
pub mod serve;
pub mod shared;
pub mod status;
pub mod volumes;
pub mod wake;
pub mod worker;

use std::time::Duration;

pub use config::Config;

/// How long until something that failed is tried again (upstream's `backOffPeriod`).
pub const RETRY_PERIOD: Duration = Duration::from_secs(10);
