//! From a container's spec to what the runtime is told: environment, command line, user,
//! capabilities, mounts.

pub mod config;
pub mod downward;
pub mod env;
pub mod expand;
pub mod identity;
pub mod security;
pub mod services;
