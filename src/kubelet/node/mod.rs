//! The Node object of this machine: registered, kept current, and its Lease renewed.

pub mod facts;
pub mod heartbeat;
pub mod object;
