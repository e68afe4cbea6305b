//! The types of failure that a reviewer can name: configurable, with keys that stay the same.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A list of failure types that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailureTypeError {
    /// A key with other characters.
    #[error("a failure type's key is 1 to 40 of a-z, 0-9 and '_': {0:?}")]
    Key(String),
    /// More than the nine keys `1` to `9`.
    #[error("{0} failure types are listed but only the keys 1 to 9 exist")]
    TooMany(usize),
    /// A key that is listed twice.
    #[error("failure type {0} is listed twice")]
    Repeated(FailureKey),
}

/// A failure type's key in journals and exports, such as `hallucinated_object`. It never changes,
/// whatever label is shown for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FailureKey(String);

impl FailureKey {
    /// Checks and keeps a key.
    ///
    /// # Errors
    /// [`FailureTypeError::Key`] if it is not 1 to 40 of `a-z`, `0-9` and `_`.
    pub fn new(text: impl Into<String>) -> Result<Self, FailureTypeError> {
        let text = text.into();
        let legal = (1..=40).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if legal {
            Ok(Self(text))
        } else {
            Err(FailureTypeError::Key(text))
        }
    }

    /// A key made from a type's first label, which no other type has: the same label gives everybody the
    /// same key. `None` where a hundred types have such keys.
    pub fn for_label(label: &str, types: &[FailureType]) -> Option<Self> {
        let mut text: String = label
            .trim()
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .take(32)
            .collect();
        if text.trim_matches('_').is_empty() {
            // Another script: its characters' numbers tell labels apart.
            let numbers = label.trim().chars().map(|c| format!("{:x}", u32::from(c)));
            text = format!("u{}", numbers.collect::<String>());
            text.truncate(32);
        }
        (1..100)
            .map(|n| match n {
                1 => text.clone(),
                n => format!("{text}_{n}"),
            })
            .filter_map(|text| Self::new(text).ok())
            .find(|key| types.iter().all(|kind| kind.key != *key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FailureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for FailureKey {
    type Error = FailureTypeError;
    fn try_from(text: String) -> Result<Self, FailureTypeError> {
        Self::new(text)
    }
}

impl From<FailureKey> for String {
    fn from(key: FailureKey) -> Self {
        key.0
    }
}

/// One type of failure, or something that is noted without being one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureType {
    /// What journals say.
    pub key: FailureKey,
    /// What is shown.
    pub label: String,
    /// Whether a cell with it fails; a seam is noted but does not fail.
    pub is_failure: bool,
}

/// The failure types in the order of the keys `1` to `9`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<FailureType>", into = "Vec<FailureType>")]
pub struct FailureTypes(Vec<FailureType>);

impl FailureTypes {
    /// Checks and keeps a list.
    ///
    /// # Errors
    /// [`FailureTypeError`] for more than nine types or a repeated key.
    pub fn new(types: Vec<FailureType>) -> Result<Self, FailureTypeError> {
        if types.len() > 9 {
            return Err(FailureTypeError::TooMany(types.len()));
        }
        for (index, one) in types.iter().enumerate() {
            if types[..index].iter().any(|other| other.key == one.key) {
                return Err(FailureTypeError::Repeated(one.key.clone()));
            }
        }
        Ok(Self(types))
    }

    /// All types, in the order of their number keys.
    pub fn all(&self) -> &[FailureType] {
        &self.0
    }

    /// The type on a number key, from 1.
    pub fn on_key(&self, number: usize) -> Option<&FailureType> {
        self.0.get(number.checked_sub(1)?)
    }

    /// The label of a key. One that is not configured here is shown as it was written, with spaces.
    pub fn label(&self, key: &FailureKey) -> String {
        self.0
            .iter()
            .find(|one| one.key == *key)
            .map_or_else(|| key.as_str().replace('_', " "), |one| one.label.clone())
    }

    /// Whether a key makes a cell fail. One that is not configured here does: a colleague meant it.
    pub fn is_failure(&self, key: &FailureKey) -> bool {
        self.0
            .iter()
            .find(|one| one.key == *key)
            .is_none_or(|one| one.is_failure)
    }
}

impl Default for FailureTypes {
    /// Hallucinated object, colour mismatch, texture mismatch, residue of the removed object, and
    /// seam, which is noted but is not a failure.
    fn default() -> Self {
        let listed = [
            ("hallucinated_object", "hallucinated object", true),
            ("colour_mismatch", "colour mismatch", true),
            ("texture_mismatch", "texture mismatch", true),
            ("residue", "residue of the removed object", true),
            ("seam", "seam", false),
        ];
        let of = |(key, label, is_failure): (&str, &str, bool)| FailureType {
            key: FailureKey(key.to_owned()),
            label: label.to_owned(),
            is_failure,
        };
        Self(listed.into_iter().map(of).collect())
    }
}

impl TryFrom<Vec<FailureType>> for FailureTypes {
    type Error = FailureTypeError;
    fn try_from(types: Vec<FailureType>) -> Result<Self, FailureTypeError> {
        Self::new(types)
    }
}

impl From<FailureTypes> for Vec<FailureType> {
    fn from(types: FailureTypes) -> Self {
        types.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_defaults_are_legal_and_only_the_seam_is_no_failure() {
        let types = FailureTypes::default();
        assert_eq!(FailureTypes::new(types.all().to_vec()), Ok(types.clone()));
        let harmless: Vec<&str> = types
            .all()
            .iter()
            .filter(|one| !one.is_failure)
            .map(|one| one.key.as_str())
            .collect();
        assert_eq!(harmless, ["seam"]);
        assert_eq!(types.on_key(1).unwrap().label, "hallucinated object");
        assert_eq!((types.on_key(0), types.on_key(6)), (None, None));
    }

    #[test]
    fn ten_types_or_a_repeated_key_are_refused() {
        let one = FailureTypes::default().all()[0].clone();
        assert!(matches!(
            FailureTypes::new(vec![one.clone(), one.clone()]),
            Err(FailureTypeError::Repeated(_))
        ));
        let ten = (0..10)
            .map(|n| FailureType {
                key: FailureKey::new(format!("t{n}")).unwrap(),
                ..one.clone()
            })
            .collect();
        assert_eq!(FailureTypes::new(ten), Err(FailureTypeError::TooMany(10)));
        assert!(FailureKey::new("Seam!").is_err());
    }

    #[test]
    fn a_label_gives_everybody_the_same_key_and_no_two_types_one() {
        let types = FailureTypes::default().all().to_vec();
        let key = |label: &str| FailureKey::for_label(label, &types).unwrap().to_string();
        assert_eq!(key(" Wrong shadow "), "wrong_shadow");
        assert_eq!(key("Seam"), "seam_2");
        assert_ne!(key("影"), key("色"));
        assert_eq!(key(&"x".repeat(99)).len(), 32);
    }

    #[test]
    fn a_type_that_is_no_longer_configured_still_shows_and_still_fails() {
        let gone = FailureKey::new("wrong_shadow").unwrap();
        assert_eq!(FailureTypes::default().label(&gone), "wrong shadow");
        assert!(FailureTypes::default().is_failure(&gone));
    }
}
