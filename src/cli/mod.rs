//! The command line, one file per subcommand.

use std::process::ExitCode;

use crate::oci;

/// Runs the subcommand that the arguments name.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // Before anything else, as a shim must have a single thread.
    if let Some((_, rest)) = arguments.split_first().filter(|(first, _)| *first == oci::shim::SUBCOMMAND) {
        return oci::shim::main(rest);
    }
    ExitCode::SUCCESS
}
