//! The API: routing, authentication, authorization, admission, the generic registry over the store,
//! the watch cache, discovery, OpenAPI, proxying to nodes.

pub mod admission;
pub mod attributes;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod discovery;
pub mod handler;
pub mod openapi;
pub mod reader;
pub mod table;
