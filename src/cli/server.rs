//! `nauplius server`

use crate::boot::{args, config, process, server};

/// Runs until a signal comes.
pub fn run(flags: args::Server) -> anyhow::Result<()> {
    let config = config::Server::new(flags)?;
    process::run(|supervisor| server::start(config, supervisor))
}
