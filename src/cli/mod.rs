//! The command line, one file per subcommand.

mod agent;
mod ctr;
mod server;
mod token;
mod uninstall;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    base::log,
    boot::{args, settings},
    oci,
};

/// Exit code for wrong usage (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Kubernetes in one executable.
#[derive(Debug, Parser)]
#[command(name = "nauplius", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: the control plane and, unless told otherwise, a node
    Server(Box<args::Server>),
    /// Run a node that joins a server
    Agent(Box<args::Agent>),
    /// Work with this node's images
    Ctr(ctr::Ctr),
    /// Print the token with which other machines join
    Token(token::Token),
    /// Remove Nauplius and everything it made on this machine
    Uninstall(uninstall::Uninstall),
}

/// Runs the subcommand that the arguments name.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // A shim must stay a single thread without a runtime or a logger: it is told apart first.
    if arguments.get(1).is_some_and(|argument| argument == oci::shim::SUBCOMMAND) {
        return oci::shim::main(&arguments[2..]);
    }
    let parsed = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match run(parsed.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Arguments, ExitCode> {
    let has_settings = arguments.get(1).is_some_and(|argument| argument == "server" || argument == "agent");
    let arguments = if has_settings {
        settings::merge(arguments).map_err(|error| {
            complain(&error);
            ExitCode::from(USAGE)
        })?
    } else {
        arguments
    };
    Arguments::try_parse_from(arguments).map_err(|error| {
        // Help and version are no errors, and are printed where they belong.
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
    })
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Server(flags) => {
            log::init(flags.common.debug);
            server::run(*flags)
        }
        Command::Agent(flags) => {
            log::init(flags.common.debug);
            agent::run(*flags)
        }
        Command::Ctr(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Uninstall(command) => command.run(),
    }
}

#[expect(clippy::print_stderr, reason = "this is where a failed command says why")]
fn complain(error: &anyhow::Error) {
    eprintln!("nauplius: {error:#}");
}
