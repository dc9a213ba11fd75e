//! Kubernetes itself, without IO: what objects are, how they are decoded, defaulted, validated,
//! patched and shown. Objects travel as `serde_json::Value` between generic code, and as
//! k8s-openapi types inside a kind's own file.

pub mod cel;
pub mod codec;
pub mod custom;
pub mod decoded;
pub mod encode;
pub mod field;
pub mod go;
pub mod intstr;
pub mod kind;
pub mod kinds;
pub mod meta;
pub mod patch;
pub mod pod_resources;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod reference;
pub mod schema;
pub mod selector;
pub mod status;
pub mod time;
pub mod toleration;
pub mod typed;
pub mod update_check;
pub mod validation;

pub use status::Status;
