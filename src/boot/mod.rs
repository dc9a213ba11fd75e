//! Start: flags, environment and configuration files become one validated configuration per role
//! ([`args`], [`settings`], [`config`]); the roles start their components in order ([`server`],
//! [`agent`]); [`process`] runs them until a signal and drains them.

pub mod agent;
pub mod api_flags;
pub mod args;
mod authentication;
pub mod cleanup;
pub mod config;
pub mod control;
pub mod join;
mod keys;
pub mod process;
pub mod server;
pub mod settings;
