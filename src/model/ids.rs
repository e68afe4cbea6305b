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
    /// The nearest legal identifier to a person's name: other characters become `-`. Where more than
    /// spaces had to go, a short hash of the name follows, so that two people never become one.
    pub fn from_name(name: &str) -> Self {
        let name = name.trim();
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let mut text: String = name
            .chars()
            .map(|c| if is_legal(c) { c } else { '-' })
            .take(64)
            .collect();
        if text.is_empty() {
            return Self("reviewer".to_owned());
        }
        if text.starts_with('.') {
            text.replace_range(..1, "-");
        }
        let is_itself = name.len() <= 64
            && !name.starts_with('.')
            && name.chars().all(|c| c == ' ' || is_legal(c));
        if !is_itself {
            text.truncate(55);
            text.push_str(&format!("-{:08x}", fnv1a(name)));
        }
        Self(text)
    }
}

/// FNV-1a, 32 bits: tells names apart, and is the same everywhere and for ever.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
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
        assert_eq!(ReviewerId::from_name("Jane Doe").as_str(), "Jane-Doe");
        assert_eq!(ReviewerId::from_name("jane_d.2").as_str(), "jane_d.2");
    }

    #[test]
    fn two_names_never_become_one_reviewer() {
        let long = |end: &str| format!("{}{end}", "z".repeat(70));
        for (one, other) in [
            ("李明".to_owned(), "王芳".to_owned()),
            ("Zoë".to_owned(), "Zoé".to_owned()),
            (long("a"), long("b")),
            ("a/b".to_owned(), "a-b".to_owned()),
        ] {
            let (one, other) = (ReviewerId::from_name(&one), ReviewerId::from_name(&other));
            assert_ne!(one, other);
            assert_eq!(ReviewerId::new(one.as_str()), Ok(one));
        }
    }
}
