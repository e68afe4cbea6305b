//! What a request carries so that the worker lets it through. A source is asked for every request, so that
//! one that expires can be renewed.

use super::ClientError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::fmt;

/// Where a bearer token comes from.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// The token for the next request; `None` for a worker that wants none.
    fn token(&self) -> BoxFuture<'_, Result<Option<String>, ClientError>>;
}

/// A token that stays the same, or none.
#[derive(Clone, Default)]
pub struct StaticToken(Option<String>);

impl StaticToken {
    /// Keeps a token; white space around it is dropped, and nothing is left of an empty one.
    ///
    /// # Errors
    /// [`ClientError::Token`] if it has characters that no header can carry.
    pub fn new(text: &str) -> Result<Self, ClientError> {
        let text = text.trim();
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ClientError::Token(
                "the token has characters other than visible ASCII ones".to_owned(),
            ));
        }
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticToken(hidden)")
    }
}

impl TokenSource for StaticToken {
    fn token(&self) -> BoxFuture<'_, Result<Option<String>, ClientError>> {
        std::future::ready(Ok(self.0.clone())).boxed()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[tokio::test]
    async fn a_token_is_trimmed_kept_and_never_shown() {
        let token = StaticToken::new(" correct-horse\n").unwrap();
        let given = token.token().await.unwrap();
        assert_eq!(given.as_deref(), Some("correct-horse"));
        assert!(!format!("{token:?}").contains("horse"));
        let none = StaticToken::new(" ").unwrap();
        assert_eq!(none.token().await.unwrap(), None);
        assert!(StaticToken::new("two words").is_err());
    }
}
