//! `nauplius token`: what a person copies to the machines that are to join.

use std::path::PathBuf;

use anyhow::Context;

use crate::boot::args::DATA_DIR;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Token {
    /// Folder of the server's state
    #[arg(short = 'd', long, env = "NAUPLIUS_DATA_DIR", default_value = DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
}

impl Token {
    /// Prints the token of the server on this machine.
    #[expect(clippy::print_stdout, reason = "printing is what the command is for")]
    pub fn run(self) -> anyhow::Result<()> {
        let path = self.data_dir.join("server/token");
        let token = std::fs::read_to_string(&path).with_context(|| {
            format!("failed to read {}: has a server been started on this machine?", path.display())
        })?;
        println!("{}", token.trim());
        Ok(())
    }
}
