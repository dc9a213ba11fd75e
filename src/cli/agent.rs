//! `nauplius agent`

use crate::boot::{agent, args, config, process};

/// Runs until a signal comes.
pub fn run(flags: args::Agent) -> anyhow::Result<()> {
    let config = config::Agent::new(flags)?;
    process::run(|supervisor| agent::start(config, supervisor))
}
