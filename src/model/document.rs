//! How documents travel between text and types: RON in and out, with the file, the line and what was
//! expected in each error.

use serde::{Serialize, de::DeserializeOwned};

/// A document that could not be understood. It is never overwritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The text is not the document that was expected.
    #[error("{problem}, line {line} column {column}: {path}")]
    Syntax {
        /// What was expected and what stood there.
        problem: String,
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
        /// The file as the user knows it.
        path: String,
    },
    /// The document was written by a newer program.
    #[error(
        "schema {found} is newer than this program understands ({newest}); update fill-audit: {path}"
    )]
    NewerSchema {
        /// The document's schema.
        found: u32,
        /// The newest schema that this program reads.
        newest: u32,
        /// The file.
        path: String,
    },
    /// The text parses, but a value in it is not allowed.
    #[error("{problem}: {path}")]
    Value {
        /// The problem with the offending value.
        problem: String,
        /// The file.
        path: String,
    },
}

/// The newest schema of every document of this program.
pub const SCHEMA: u32 = 1;

#[derive(serde::Deserialize)]
struct SchemaOnly {
    schema: u32,
}

/// Refuses a schema that this program does not know.
///
/// # Errors
/// [`DocumentError::NewerSchema`] if `found` is above [`SCHEMA`], [`DocumentError::Value`] for 0.
pub fn check_schema(found: u32, path: &str) -> Result<(), DocumentError> {
    match found {
        0 => Err(DocumentError::Value {
            problem: "schema is 0 but the first schema is 1".to_owned(),
            path: path.to_owned(),
        }),
        1..=SCHEMA => Ok(()),
        _ => Err(DocumentError::NewerSchema {
            found,
            newest: SCHEMA,
            path: path.to_owned(),
        }),
    }
}

fn ron_options() -> ron::Options {
    // 64 levels are far more than any document of ours has; a hostile one must not end the stack.
    ron::Options::default()
        .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
        .with_recursion_limit(64)
}

fn syntax(error: &ron::error::SpannedError, path: &str) -> DocumentError {
    DocumentError::Syntax {
        problem: error.code.to_string(),
        line: error.span.start.line,
        column: error.span.start.col,
        path: path.to_owned(),
    }
}

/// Parses a RON document and checks its `schema` first, so that a newer document is refused as newer
/// and not as wrong.
///
/// # Errors
/// [`DocumentError`], naming `path`.
pub fn from_ron<T: DeserializeOwned>(text: &str, path: &str) -> Result<T, DocumentError> {
    if let Ok(head) = ron_options().from_str::<SchemaOnly>(text) {
        check_schema(head.schema, path)?;
    }
    ron_options()
        .from_str(text)
        .map_err(|error| syntax(&error, path))
}

/// Parses one RON value without a schema, such as a line of a journal.
///
/// # Errors
/// [`DocumentError::Syntax`], naming `path`.
pub fn from_ron_value<T: DeserializeOwned>(text: &str, path: &str) -> Result<T, DocumentError> {
    ron_options()
        .from_str(text)
        .map_err(|error| syntax(&error, path))
}

/// Writes a RON document, indented by four spaces and ending in a line break.
///
/// # Errors
/// [`DocumentError::Value`] if the value cannot be written as RON.
pub fn to_ron<T: Serialize>(value: &T, path: &str) -> Result<String, DocumentError> {
    let pretty = ron::ser::PrettyConfig::new().new_line("\n".to_owned());
    let mut text = ron_options()
        .to_string_pretty(value, pretty)
        .map_err(|error| DocumentError::Value {
            problem: error.to_string(),
            path: path.to_owned(),
        })?;
    text.push('\n');
    Ok(text)
}

/// Writes one RON value on one line, without a line break.
///
/// # Errors
/// [`DocumentError::Value`] if the value cannot be written as RON.
pub fn to_ron_line<T: Serialize>(value: &T, path: &str) -> Result<String, DocumentError> {
    ron_options()
        .to_string(value)
        .map_err(|error| DocumentError::Value {
            problem: error.to_string(),
            path: path.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        schema: u32,
        text: String,
        maybe: Option<f64>,
    }

    #[test]
    fn a_document_reads_back_what_was_written() {
        let note = Note {
            schema: 1,
            text: "grass, \"leaves\"\n".to_owned(),
            maybe: Some(2.5),
        };
        let text = to_ron(&note, "a.ron").unwrap();
        assert_eq!(from_ron::<Note>(&text, "a.ron").unwrap(), note);
    }

    #[test]
    fn an_error_names_file_line_and_problem() {
        let error = from_ron::<Note>("(\n schema: 1,\n txt: \"\",\n)", "sessions/a/session.ron")
            .unwrap_err()
            .to_string();
        assert!(error.contains("sessions/a/session.ron"), "{error}");
        assert!(error.contains("line 3"), "{error}");
        assert!(error.contains("txt"), "{error}");
    }

    #[test]
    fn a_newer_document_is_refused_as_newer() {
        let error = from_ron::<Note>("(schema: 9, text: \"\", new_field: 3)", "a.ron").unwrap_err();
        assert!(
            matches!(error, DocumentError::NewerSchema { found: 9, .. }),
            "{error}"
        );
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let text = "[".repeat(100_000);
        assert!(from_ron::<Note>(&text, "a.ron").is_err());
    }
}
