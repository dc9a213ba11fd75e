//! The executable: everything it does is decided by its first argument (see [`nauplius::cli`]).

fn main() -> std::process::ExitCode {
    nauplius::cli::main()
}
