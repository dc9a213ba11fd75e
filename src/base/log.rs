//! Logging to standard error: fields first, then one sentence; ERROR means that an operator must act.

use tracing_subscriber::{EnvFilter, fmt};

/// Variable that overrides the filter, in `tracing_subscriber`'s directive syntax.
pub const FILTER_VARIABLE: &str = "NAUPLIUS_LOG";

/// Starts logging. `debug` widens the filter from our INFO and others' WARN to our DEBUG.
pub fn init(debug: bool) {
    let default = if debug { "warn,nauplius=debug" } else { "warn,nauplius=info" };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
}

/// An error with its whole chain on one line: the one place where sources are printed.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
