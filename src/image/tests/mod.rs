//! Tests of the whole store: archives and registries made by code, broken in every way.

mod fixtures;
mod import;
