//! One file per subcommand.

pub mod approve;
pub mod check;
pub mod bucket;
pub mod doctor;
pub mod list;
pub mod pull;
pub mod push;
