//! Tests of the whole store: archives and registries made by code, broken in every way.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod fixtures;
mod import;
mod pull;
mod registry;
mod unpack;
