//! Parses, runs, prints the error chain, and sets the exit code.

use fill_audit as _;

fn main() {}
