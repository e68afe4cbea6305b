//! Run and review to Markdown, JSON and a contact sheet, and a report of the Python service back.
//!
//! Nothing here reads or writes a folder: `audit` does, and hands over text and pictures.

pub mod contact_sheet;
pub mod json;
pub mod label;
pub mod markdown;
pub mod number;
pub mod service;
pub mod table;
