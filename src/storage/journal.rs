//! Review journals merged by event id. A line is opaque here, except for its `id: "…"`.
//!
//! The merged copy is the other side's bytes followed by our lines that it lacks, so that two sides that
//! take turns converge, and nobody's line is ever moved, cut off or repeated.

use std::collections::BTreeSet;

/// Whether a file of a run is a review journal.
pub fn is_journal(file_name: &str) -> bool {
    file_name
        .strip_prefix("review-")
        .is_some_and(|rest| rest.strip_suffix(".ron").is_some())
}

/// Lines of `ours` whose events `theirs` lacks, in our order. Lines that are torn or carry no id stay where
/// they are: they may be in the middle of being written. Two different events under one id are both kept;
/// the replay decides between them, the same way on both sides.
pub fn missing_lines<'a>(ours: &'a str, theirs: &str) -> Vec<&'a str> {
    fn keyed(line: &str) -> Option<(String, &str)> {
        Some((event_id(line)?, line.trim()))
    }
    let mut known: BTreeSet<(String, &str)> = theirs.lines().filter_map(keyed).collect();
    let mut missing = Vec::new();
    for line in ours.lines() {
        if let Some(key) = keyed(line)
            && known.insert(key)
        {
            missing.push(line);
        }
    }
    missing
}

/// `theirs` with our missing lines after it.
pub fn merge(ours: &str, theirs: &str) -> String {
    let mut merged = theirs.to_owned();
    for line in missing_lines(ours, theirs) {
        if !merged.is_empty() && !merged.ends_with('\n') {
            merged.push('\n');
        }
        merged.push_str(line);
        merged.push('\n');
    }
    merged
}

/// The id of the event on a line: the string of the first field `id` directly inside the outermost
/// brackets. `None` for a line that is not one complete value, such as one that was cut off.
pub fn event_id(line: &str) -> Option<String> {
    let line = line.trim().trim_end_matches(',');
    let mut rest = line;
    let mut depth = 0usize;
    let mut closed = false;
    let mut id = None;
    while let Some(first) = rest.chars().next() {
        if closed {
            // Nothing but white space or a comment may follow the value.
            return id
                .filter(|_| rest.trim_start().is_empty() || rest.trim_start().starts_with("//"));
        }
        if let Some((_, after)) = string_literal(rest)? {
            rest = after;
            continue;
        }
        if first.is_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end)?;
            rest = after;
            if depth == 1
                && word == "id"
                && id.is_none()
                && let Some(value) = rest.trim_start().strip_prefix(':')
                && let Some((text, after)) = string_literal(value.trim_start())?
            {
                id = Some(text);
                rest = after;
            }
            continue;
        }
        match first {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                closed = depth == 0;
            }
            _ => {}
        }
        rest = rest.get(first.len_utf8()..)?;
    }
    id.filter(|_| closed)
}

/// The string or character literal at the start of `text` and what follows it. The outer `None` means that
/// it never ends.
#[expect(
    clippy::option_option,
    reason = "no literal, and one that never ends, are different answers"
)]
fn string_literal(text: &str) -> Option<Option<(String, &str)>> {
    // Raw: r"…", r#"…"#
    if let Some(after_r) = text.strip_prefix('r') {
        let hashes = after_r.len() - after_r.trim_start_matches('#').len();
        if let Some(body) = after_r.trim_start_matches('#').strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let (inside, rest) = body.split_once(&end)?;
            return Some(Some((inside.to_owned(), rest)));
        }
        return Some(None);
    }
    let Some(body) = text.strip_prefix('"') else {
        // A character that would confuse the count of brackets or quotes: '(' , '"' , '\''
        let mut chars = text.chars();
        if chars.next() == Some('\'') {
            let len = if chars.next() == Some('\\') {
                4
            } else {
                1 + chars.as_str().find('\'').map_or(0, |_| 2)
            };
            let end = text
                .char_indices()
                .nth(len)
                .map_or(text.len(), |(at, _)| at);
            return Some(Some((String::new(), text.get(end..).unwrap_or_default())));
        }
        return Some(None);
    };
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let inside = body.get(..at)?.to_owned();
                return Some(Some((inside, body.get(at + 1..)?)));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_id_is_found_whatever_else_the_line_says() {
        for (line, id) in [
            (r#"(id: "a1", kind: Pass)"#, Some("a1")),
            (
                r#"Verdict(at: "x", id : "b", note: "id: \"no\" )")"#,
                Some("b"),
            ),
            ("(note: r#\"(id: \"x\"\"#, id: \"c\"),", Some("c")),
            (
                r#"(cell: (id: "inner"), id: "outer") // said"#,
                Some("outer"),
            ),
            (r#"(mark: '(', id: "d")"#, Some("d")),
            (r#"(mark: '"', id: "e")"#, Some("e")),
            (r#"(id: "torn", note: "abc"#, None),
            (r#"(id: "torn", note: "abc""#, None),
            (r#"(id: "two")(id: "values")"#, None),
            (r#"(identity: "x")"#, None),
            ("", None),
            ("// a comment", None),
        ] {
            assert_eq!(event_id(line).as_deref(), id, "{line}");
        }
    }

    #[test]
    fn both_sides_keep_all_events_once_and_their_order() {
        let theirs = "(id: \"1\")\n(torn\n(id: \"2\")";
        let ours = "(id: \"1\")\n(id: \"3\")\n(id: \"3\")\n(half";
        let merged = merge(ours, theirs);
        assert_eq!(merged, "(id: \"1\")\n(torn\n(id: \"2\")\n(id: \"3\")\n");
        assert_eq!(
            merge(ours, &merged),
            merged,
            "a second merge changes nothing"
        );
        assert_eq!(missing_lines(&merged, ours), ["(id: \"2\")"]);
    }

    proptest! {
        #[test]
        fn merging_never_panics_and_converges(a in "(\\(id: \"[a-d]\"\\)\n|\\PC{0,20}\n){0,6}", b in "(\\(id: \"[a-d]\"\\)\n|[\"'()r#\\\\i:d ]{0,12}\n){0,6}") {
            let merged = merge(&a, &b);
            prop_assert!(merged.starts_with(&b));
            prop_assert_eq!(merge(&a, &merged), merged.clone());
            prop_assert!(missing_lines(&b, &merged).is_empty());
        }
    }
}
