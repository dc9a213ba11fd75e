//! The kubelet's HTTP service: logs, exec, attach, port-forward, and what the node tells about itself.
//!
//! It knows containers only through [`backend::Backend`], so that it is tested without any.

pub mod backend;
