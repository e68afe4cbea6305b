//! One file per subcommand.

pub mod approve;
pub mod check;
