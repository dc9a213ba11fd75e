//! The API: routing, authentication, authorization, admission, the generic registry over the store,
//! the watch cache, discovery, OpenAPI, proxying to nodes.

pub mod admission;
pub mod allocator;
pub mod attributes;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod cache;
pub mod compress;
pub mod conversion;
pub mod definitions;
pub mod discovery;
pub mod field_manager;
pub mod gates;
pub mod handler;
pub mod handlers;
pub mod health;
pub mod kinds;
pub mod metrics;
pub mod negotiate;
pub mod nodes;
pub mod openapi;
pub mod outbound;
pub mod payload;
pub mod query;
pub mod reader;
pub mod registry;
pub mod request_info;
pub mod respond;
pub mod reviews;
pub mod routes;
pub mod server;
pub mod table;
pub mod tokens;
pub mod version;
