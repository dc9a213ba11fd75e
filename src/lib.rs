//! Nauplius: a complete Kubernetes in one static executable.
//!
//! The modules are layers; each may import only what ARCHITECTURE.md lists for it, and
//! `tests/tidy.rs` holds them to that. From the bottom up:
//!
//! - [`base`] tasks, files, back-off, logging: no Kubernetes words
//! - [`sys`] the kernel: mounts, namespaces, cgroups, netlink, nf_tables; the only unsafe code
//! - [`api`] Kubernetes objects without IO: schemas, patches, one file per kind
//! - [`pki`] certificates and tokens; owns `<data-dir>/server/tls`, `<data-dir>/server/token`
//!   and `<data-dir>/agent/tls`
//! - [`http`] TLS and HTTP glue, WebSocket and SPDY channels
//! - [`store`] the revisioned key-value log; owns `<data-dir>/server/db`
//! - [`image`] images and their snapshots; owns `<data-dir>/agent/image`
//! - [`oci`] containers and the shims that hold them; owns `<run-dir>/shim` and
//!   `<data-dir>/agent/containers`
//! - [`net`] addresses, routes, overlay, service program; owns `<data-dir>/agent/net`
//! - [`client`] the one way to reach the API
//! - [`apiserver`] the API itself
//! - [`controllers`], [`scheduler`] what turns wishes into objects
//! - [`kubelet`] what turns pods into containers; owns `<data-dir>/agent/pods`
//! - [`proxy`], [`dns`] services by address and by name
//! - [`boot`] configuration and start order; owns `<run-dir>/agent.sock`
//! - [`cli`] the command line
#![deny(unsafe_code)]

pub mod api;
pub mod apiserver;
pub mod base;
pub mod boot;
pub mod cli;
pub mod client;
pub mod controllers;
pub mod dns;
pub mod http;
pub mod image;
pub mod kubelet;
pub mod net;
pub mod oci;
pub mod pki;
pub mod proxy;
pub mod scheduler;
pub mod store;
pub mod sys;
