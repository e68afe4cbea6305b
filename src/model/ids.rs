//! Identifiers that name folders and objects: only letters, digits, `-`, `_` and `.`, so that no path
//! can be built from outside.

use std::fmt;

/// An identifier that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} must be 1 to 64 letters, digits, '-', '_' or '.', not starting with '.': {value:?}"
)]
pub struct IdError {
    /// What was being named, such as "run id".
    pub kind: &'static str,
    /// The refused text.
    pub value: String,
}

fn is_legal(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and keeps an identifier.
            ///
            /// # Errors
            /// [`IdError`] if it is not 1 to 64 of the allowed characters.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_legal(&text) { Ok(Self(text)) } else { Err(IdError { kind: $kind, value: text }) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// Names a run and its folder: `runs/{run_id}/` or `audit/{run_id}/` in a bucket.
    RunId,
    "run id"
);
id!(
    /// Names a session, such as `D1A406F5`.
    SessionId,
    "session id"
);
id!(
    /// Names a user of the photo service, whose sessions lie under their id.
    UserId,
    "user id"
);
id!(
    /// Names a reviewer; part of the journal's file name `review-{reviewer}.ron`.
    ReviewerId,
    "reviewer"
);

impl ReviewerId {
    /// The nearest legal identifier to a person's name: other characters become `-`.
    pub fn from_name(name: &str) -> Self {
        let mut text: String = name
            .trim()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                    c
                } else {
                    '-'
                }
            })
            .take(64)
            .collect();
        if text.starts_with('.') {
            text.replace_range(..1, "-");
        }
        Self(if text.is_empty() {
            "reviewer".to_owned()
        } else {
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_build_a_path_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(RunId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["20261121-090000", "D1A406F5", "leash-on-grass", "a.b_c"] {
            assert!(RunId::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn any_name_becomes_a_legal_reviewer() {
        for name in ["Jane Doe", "", "..", "Zoë/../x", &"y".repeat(200)] {
            let id = ReviewerId::from_name(name);
            assert_eq!(ReviewerId::new(id.as_str()), Ok(id));
        }
    }
}
