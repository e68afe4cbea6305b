//! Server-sent events, from bytes as they come. The rules are those of the HTML standard, as far as a
//! worker makes use of them.

/// The longest event: a preview is a few tens of kilobytes.
const MAX_BYTES: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SentEvent {
    /// Names it for `Last-Event-ID`.
    pub(super) id: Option<String>,
    /// What it says.
    pub(super) data: String,
}

/// Gathers bytes until an event is whole.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    event: SentEvent,
    has_data: bool,
}

/// An event that is longer than any of a worker's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Parser {
    /// Takes a piece of any length.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() + self.event.data.len() > MAX_BYTES {
            return Err(TooLong);
        }
        Ok(())
    }

    /// The next event that is whole.
    pub(super) fn next(&mut self) -> Option<SentEvent> {
        loop {
            let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                // A comment, or a lone id, is no event.
                if std::mem::take(&mut self.has_data) {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.event.id = Some(value.to_owned()),
                "data" => {
                    if self.has_data {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                    self.has_data = true;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ": keep-alive\n\nretry: 1000\nevent: step\nid: 7-1\ndata: {\"a\":\"ü\"}\n\n\
                        id: 7-2\r\ndata: one\r\ndata: two\r\n\r\n";

    fn events(piece_length: usize) -> Vec<SentEvent> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for piece in TEXT.as_bytes().chunks(piece_length) {
            assert_eq!(parser.push(piece), Ok(()));
            while let Some(event) = parser.next() {
                found.push(event);
            }
        }
        found
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let expected = [
            SentEvent {
                id: Some("7-1".to_owned()),
                data: "{\"a\":\"ü\"}".to_owned(),
            },
            SentEvent {
                id: Some("7-2".to_owned()),
                data: "one\ntwo".to_owned(),
            },
        ];
        for length in 1..=TEXT.len() {
            assert_eq!(events(length), expected, "pieces of {length}");
        }
    }

    #[test]
    fn half_an_event_is_none_and_one_without_end_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(b"id: 1\ndata: x\n"), Ok(()));
        assert_eq!(parser.next(), None);
        let long = vec![b'x'; MAX_BYTES];
        assert_eq!(parser.push(&long), Err(TooLong));
    }
}
