//! The kubelet: from pods bound to this node to running containers and their reported status.

pub mod serve;
