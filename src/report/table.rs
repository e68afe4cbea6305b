//! Markdown tables as lines of cells: escaped pipes, optional outer pipes, emphasis. It knows nothing of
//! what the columns mean.

/// One table of a Markdown document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The header's cells.
    pub header: Vec<String>,
    /// Each row with its 1-based line number.
    pub rows: Vec<(usize, Vec<String>)>,
}

/// Splits a line at the pipes that are not escaped, and unescapes those that are.
pub fn split_row(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'|') => {
                chars.next();
                if let Some(cell) = cells.last_mut() {
                    cell.push('|');
                }
            }
            '|' => cells.push(String::new()),
            other => {
                if let Some(cell) = cells.last_mut() {
                    cell.push(other);
                }
            }
        }
    }
    // A closing pipe leaves an empty cell behind.
    if cells.len() > 1 && cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Writes text so that [`split_row`] gives it back as one cell on one line.
pub fn escape(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// Whether this is the line of dashes below a header.
fn is_rule(line: &str) -> bool {
    line.contains('-')
        && split_row(line)
            .iter()
            .all(|cell| cell.contains('-') && cell.chars().all(|c| matches!(c, '-' | ':' | ' ')))
}

/// All tables of a document, code blocks aside.
pub fn tables(text: &str) -> Vec<Table> {
    let lines: Vec<&str> = text.lines().collect();
    let mut tables = Vec::new();
    let mut in_code = false;
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        index += 1;
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let rule = lines.get(index).is_some_and(|next| is_rule(next));
        if in_code || !line.contains('|') || is_rule(line) || !rule {
            continue;
        }
        index += 1;
        let mut table = Table {
            header: split_row(line),
            rows: Vec::new(),
        };
        while let Some(row) = lines.get(index).filter(|row| row.contains('|')) {
            index += 1;
            table.rows.push((index, split_row(row)));
        }
        tables.push(table);
    }
    tables
}

/// Text without the emphasis, code marks and stars that surround it.
pub fn plain(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '`' | '★' | '⭐'))
}

/// The target of the first `[text](target)` or `<target>`, else a bare address.
pub fn link(text: &str) -> Option<&str> {
    if let Some((_, rest)) = text.split_once("](") {
        let end = rest.rfind(')').unwrap_or(rest.len());
        let target = rest.get(..end)?.trim();
        let target = target.trim_start_matches('<').trim_end_matches('>');
        return (!target.is_empty()).then_some(target);
    }
    let bare = text.trim().trim_start_matches('<').trim_end_matches('>');
    let is_path =
        bare.to_ascii_lowercase().ends_with(".png") && !bare.contains(char::is_whitespace);
    (bare.contains("://") || is_path).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_pipes_stay_in_their_cell() {
        assert_eq!(split_row(r"| a \| b | c |"), ["a | b", "c"]);
        assert_eq!(split_row("a | b"), ["a", "b"]);
        assert_eq!(split_row("| a | | c |"), ["a", "", "c"]);
        assert_eq!(
            split_row(&format!("| {} | x |", escape("p|q\nr"))),
            ["p|q r", "x"]
        );
    }

    #[test]
    fn tables_are_found_with_their_lines_and_not_in_code() {
        let text = "# t\r\n\r\n| A | B |\r\n|:--|--:|\r\n| 1 | 2 |\r\n\r\n```\n| C | D |\n|---|---|\n```\n";
        let found = tables(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].header, ["A", "B"]);
        assert_eq!(found[0].rows, [(5, vec!["1".to_owned(), "2".to_owned()])]);
    }

    #[test]
    fn links_are_found_in_their_usual_forms() {
        assert_eq!(
            link("[view](https://x/a.png?s=1)"),
            Some("https://x/a.png?s=1")
        );
        assert_eq!(link("![p](<a b.png>)"), Some("a b.png"));
        assert_eq!(link("https://x/a.png"), Some("https://x/a.png"));
        assert_eq!(link("Q4_0_gs2.png"), Some("Q4_0_gs2.png"));
        assert_eq!(link("FAILED"), None);
        assert_eq!(link("[view]()"), None);
    }
}
