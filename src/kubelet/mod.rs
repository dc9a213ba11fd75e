//! The kubelet: from pods bound to this node to running containers and their reported status.
//!
//! One worker per pod asks the pure [`plan`] what to do next and carries it out through the
//! traits of [`host`]; [`status`] is a pure function of the same record. Nothing polls: workers
//! wake on changes of their pod, of the objects it uses, of its containers, and on timers.

pub mod config;
pub mod host;
pub mod plan;
pub mod quantity;
pub mod record;
pub mod resources;
pub mod serve;
pub mod status;

pub use config::Config;
