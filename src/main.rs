//! Parses, runs, prints the error chain, and sets the exit code.

fn main() -> std::process::ExitCode {
    fill_audit::cli::main()
}
