//! A moment in UTC, to the millisecond, as documents and journals write it (RFC 3339).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A time that is not RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time must be RFC 3339 such as 2026-11-21T10:15:00Z, but is {0:?}")]
pub struct TimeError(String);

/// A moment in UTC, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcTime(jiff::Timestamp);

impl UtcTime {
    /// The moment, its parts below a millisecond dropped.
    pub fn new(at: jiff::Timestamp) -> Self {
        Self(jiff::Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at))
    }

    /// The same moment without its parts below a second.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(jiff::Timestamp::from_second(self.0.as_second()).unwrap_or(self.0))
    }

    /// `20261121T101500Z`: for file names.
    pub fn compact(self) -> String {
        self.0.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// `2026-11-21 10:15 UTC`: for people.
    pub fn short(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }

    /// The moment for calculations.
    pub fn timestamp(self) -> jiff::Timestamp {
        self.0
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for UtcTime {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        text.parse()
            .map(Self::new)
            .map_err(|_error: jiff::Error| TimeError(text.to_owned()))
    }
}

impl TryFrom<String> for UtcTime {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<UtcTime> for String {
    fn from(time: UtcTime) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_and_reads_back() {
        let time: UtcTime = "2026-11-21T11:15:00.1239+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-21T10:15:00.123Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(time.whole_seconds().to_string(), "2026-11-21T10:15:00Z");
        assert_eq!(time.compact(), "20261121T101500Z");
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        let error = "2026-11-21 10:15".parse::<UtcTime>().unwrap_err();
        assert!(error.to_string().contains("2026-11-21 10:15"), "{error}");
    }
}
