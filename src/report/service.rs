//! Reads the `REPORT.md` that the Python service writes beside its pictures: header, GPU and the table
//! of results. Tolerant of its variations; what could not be read is named in warnings, and what it
//! does not say stays unknown. It sees text only, no folder.

use super::{number, table};
use crate::model::cell::{Guidance, Quant, Steps};
use crate::model::ids::{RunId, SessionId};
use crate::model::run::{Environment, Timing};

/// What a service's report says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceReport {
    /// From the title.
    pub run_id: Option<RunId>,
    /// From the header line.
    pub session: Option<SessionId>,
    /// The GPU, from its section or the header line.
    pub environment: Option<Environment>,
    /// The rows of its results, in their order.
    pub rows: Vec<ServiceRow>,
    /// The text of the section on compilation or acceleration, without its heading.
    pub acceleration_section: Option<String>,
    /// What could not be read, each with its line.
    pub warnings: Vec<String>,
}

/// One row of the results.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// 1-based line in the report.
    pub line: usize,
    /// Quantization.
    pub quant: Quant,
    /// Guidance scale.
    pub guidance: Guidance,
    /// Denoising steps; 28 where the row does not say.
    pub steps: Steps,
    /// Wall and GPU time, as far as they are given.
    pub timing: Timing,
    /// The name of the picture that is linked, without folders or query.
    pub picture: Option<String>,
    /// What went wrong, if the row says so.
    pub error: Option<String>,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Column {
    Quant,
    Guidance,
    Steps,
    /// The factor that makes its numbers seconds.
    Wall(f64),
    /// The factor that makes its numbers milliseconds.
    Gpu(f64),
    Image,
    /// A word on how it went: `ok`, `failed`.
    Status,
    /// The text of an error, or nothing.
    Error,
    /// Something that is not needed.
    Other,
}

fn column(header: &str) -> Column {
    let name = table::plain(header).to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    // The unit in the header, where it differs from what the column is in otherwise.
    let in_millis = is(&["ms", "milli"]);
    let in_seconds = !in_millis && is(&["(s)", "sec", "[s]"]);
    // Figures about the GPU that are no time of a cell.
    let is_other_figure = is(&[
        "mem", "vram", "util", "peak", "name", "power", "temp", "per step", "per-step", "/step",
        "/ step",
    ]);
    if is_other_figure {
        Column::Other
    } else if name.starts_with("quant") {
        Column::Quant
    } else if is(&["guidance"]) || name == "gs" || name == "cfg" {
        Column::Guidance
    } else if is(&["step"]) && !is(&["time", "/"]) {
        Column::Steps
    } else if is(&["gpu", "cuda"]) {
        Column::Gpu(if in_seconds { 1000.0 } else { 1.0 })
    } else if is(&["wall", "elapsed"]) || name.starts_with("time") || name.starts_with("duration") {
        Column::Wall(if in_millis { 0.001 } else { 1.0 })
    } else if is(&["image", "picture", "link", "output", "file"]) || name == "view" {
        Column::Image
    } else if is(&["error", "failure", "exception"]) {
        Column::Error
    } else if is(&["status", "result", "state", "outcome"]) {
        Column::Status
    } else {
        Column::Other
    }
}

/// Whether a cell says that there is nothing to say.
fn is_blank(text: &str) -> bool {
    matches!(
        table::plain(text).to_ascii_lowercase().as_str(),
        "" | "-"
            | "--"
            | "—"
            | "–"
            | "n/a"
            | "na"
            | "none"
            | "null"
            | "nan"
            | "unknown"
            | "?"
            | "ok"
            | "not run"
    )
}

/// Whether a text tells of a failure.
fn tells_failure(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "fail",
        "error",
        "exception",
        "oom",
        "out of memory",
        "timeout",
        "timed out",
        "crash",
        "✗",
        "✕",
        "❌",
    ]
    .iter()
    .any(|word| text.contains(word))
}

impl ServiceReport {
    /// Reads a report. Nothing makes it fail: what cannot be read becomes a warning.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}');
        let mut report = Self::default();
        report.read_header(text);
        report.acceleration_section = section(text, &["compile", "acceleration"]);
        let mut has_table = false;
        for table in table::tables(text) {
            let mut columns: Vec<Column> = table.header.iter().map(|name| column(name)).collect();
            if !columns.contains(&Column::Quant) || !columns.contains(&Column::Guidance) {
                continue;
            }
            has_table = true;
            report.keep_first_of_each(&mut columns, &table.header);
            for (line, cells) in &table.rows {
                if let Some(row) = report.read_row(*line, &columns, cells) {
                    report.rows.push(row);
                }
            }
        }
        if !has_table {
            report.warnings.push(
                "REPORT.md has no table with the columns Quant and Guidance; timings are unknown"
                    .to_owned(),
            );
        }
        report
    }

    /// Two columns of the same kind cannot both be believed: the first is taken, and it is said.
    fn keep_first_of_each(&mut self, columns: &mut [Column], header: &[String]) {
        let kind = std::mem::discriminant::<Column>;
        for index in 1..columns.len() {
            let column = &columns[index];
            if *column == Column::Other {
                continue;
            }
            let first = columns[..index]
                .iter()
                .position(|one| kind(one) == kind(column));
            if let Some(first) = first {
                let name = |at: usize| header.get(at).map_or("", String::as_str).trim();
                self.warnings.push(format!(
                    "REPORT.md: the column {:?} says the same as {:?} before it and is not read",
                    name(index),
                    name(first)
                ));
                columns[index] = Column::Other;
            }
        }
    }

    fn read_header(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with("# ") && self.run_id.is_none() {
                self.run_id = line
                    .rsplit(char::is_whitespace)
                    .next()
                    .filter(|word| word.bytes().any(|b| b.is_ascii_digit()))
                    .and_then(|word| RunId::new(table::plain(word)).ok());
            }
            if line.starts_with('#') {
                continue;
            }
            if let Some(id) = field(line, "Session").filter(|_| self.session.is_none()) {
                match SessionId::new(id) {
                    Ok(session) => self.session = Some(session),
                    Err(_) if is_blank(id) => {}
                    Err(error) => self.warnings.push(format!("REPORT.md: {error}")),
                }
            }
        }
        let lines = || {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.starts_with('#'))
        };
        let find = |name: &str| {
            lines()
                .find_map(|line| field(line, name))
                .filter(|value| !is_blank(value))
        };
        let header_gpu = find("GPU").map(split_capability);
        let device = find("Device").map_or_else(
            || header_gpu.as_ref().map(|(device, _)| device.clone()),
            |device| Some(split_capability(device).0),
        );
        let Some(device) = device else { return };
        let memory = find("VRAM").or_else(|| find("Memory"));
        let memory_bytes = memory.and_then(number::memory_bytes);
        if let (Some(text), None) = (memory, memory_bytes) {
            self.warnings.push(format!(
                "REPORT.md: the GPU's memory is not a size: {text:?}"
            ));
        }
        self.environment = Some(Environment {
            device,
            compute_capability: find("Compute Capability")
                .map(|text| text.trim_start_matches("sm_").to_owned())
                .or_else(|| header_gpu.and_then(|(_, capability)| capability)),
            memory_bytes,
            driver: find("Driver").map(str::to_owned),
            program: None,
        });
    }

    fn read_row(
        &mut self,
        line: usize,
        columns: &[Column],
        cells: &[String],
    ) -> Option<ServiceRow> {
        let cell = |wanted: fn(&Column) -> bool| {
            let index = columns.iter().position(wanted)?;
            cells.get(index).map(|text| table::plain(text))
        };
        let quant = cell(|c| *c == Column::Quant).unwrap_or_default();
        let quant = quant.split_whitespace().next().unwrap_or_default();
        let quant = match Quant::new(table::plain(quant)) {
            Ok(quant) => quant,
            Err(error) => {
                self.warn(line, &error.to_string());
                return None;
            }
        };
        let text = cell(|c| *c == Column::Guidance).unwrap_or_default();
        let Some(guidance) = number::plain(text).and_then(|value| Guidance::new(value).ok()) else {
            self.warn(
                line,
                &format!("guidance is not a number from 0 to 1000: {text:?}"),
            );
            return None;
        };
        let text = cell(|c| *c == Column::Steps).unwrap_or_default();
        let steps = number::plain(text)
            .filter(|value| value.fract() == 0.0 && (0.0..=1000.0).contains(value))
            .and_then(|value| Steps::new(value as u32).ok());
        if steps.is_none() && !is_blank(text) {
            self.warn(
                line,
                &format!("steps are not a number from 1 to 1000: {text:?}; taken as 28"),
            );
        }

        let mut row = ServiceRow {
            line,
            quant,
            guidance,
            steps: steps.unwrap_or(Steps::PRODUCTION),
            timing: Timing::default(),
            picture: None,
            error: None,
        };
        let (mut failed, mut error) = (false, None);
        let mut unread = Vec::new();
        for (column, text) in columns.iter().zip(cells) {
            let text = text.trim();
            let blank = is_blank(text);
            match column {
                Column::Wall(factor) if !blank => match number::millis(text, factor * 1000.0) {
                    Some(millis) => row.timing.wall_secs = Some(tidy(millis / 1000.0)),
                    None => unread.push(("wall-clock time", text)),
                },
                Column::Gpu(factor) if !blank => match number::millis(text, *factor) {
                    Some(millis) => row.timing.gpu_millis = Some(tidy(millis)),
                    None => unread.push(("GPU time", text)),
                },
                Column::Image if !blank => match table::link(text) {
                    Some(target) => row.picture = file_name(target),
                    None => unread.push(("image link", text)),
                },
                Column::Status if tells_failure(text) => {
                    failed = true;
                    error = error.or(Some(text));
                }
                Column::Error if !blank => {
                    failed = true;
                    error = Some(text);
                }
                _ => {}
            }
        }
        for (what, text) in unread {
            if tells_failure(text) {
                failed = true;
                // The longest text says most: `FAILED` beside `CUDA out of memory`.
                if error.is_none_or(|known: &str| known.len() < text.len()) {
                    error = Some(text);
                }
            } else {
                self.warn(line, &format!("{what} cannot be read: {text:?}"));
            }
        }
        if failed {
            row.error = Some(table::plain(error.unwrap_or("failed")).to_owned());
        }
        Some(row)
    }

    fn warn(&mut self, line: usize, problem: &str) {
        self.warnings
            .push(format!("REPORT.md line {line}: {problem}"));
    }
}

/// Removes the rounding that a change of unit leaves behind.
fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The value of `**Name:** value` in a line whose fields stand between pipes or in a list.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(" | ").find_map(|part| {
        let (key, value) = part.split_once(':')?;
        let key = key.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '*' | '|'));
        let value = value.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '`' | '|'));
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// `NVIDIA L4 (sm_89)` as a name and `8.9`.
fn split_capability(text: &str) -> (String, Option<String>) {
    let Some((name, rest)) = text.split_once("(sm_") else {
        return (text.to_owned(), None);
    };
    let digits = rest.trim_end_matches(')');
    let capability = match digits.split_at_checked(digits.len().saturating_sub(1)) {
        _ if digits.contains('.') => Some(digits.to_owned()),
        Some((major, minor)) if !major.is_empty() => Some(format!("{major}.{minor}")),
        _ => None,
    };
    (name.trim().to_owned(), capability)
}

/// The text of the first section whose heading has one of these words, without the heading. A `#` in a
/// code block is no heading.
pub fn section(text: &str, words: &[&str]) -> Option<String> {
    let mut is_code = false;
    let mut found: Option<(usize, Vec<&str>)> = None;
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let depth = if is_code {
            0
        } else {
            line.bytes().take_while(|b| *b == b'#').count()
        };
        match &mut found {
            Some((within, _)) if (1..=*within).contains(&depth) => break,
            Some((_, body)) => body.push(line),
            None => {
                let lower = line.to_ascii_lowercase();
                if depth > 0 && words.iter().any(|word| lower.contains(word)) {
                    found = Some((depth, Vec::new()));
                }
            }
        }
    }
    found.map(|(_, body)| body.join("\n").trim().to_owned())
}

/// The last part of a link's path, its percent signs decoded.
fn file_name(target: &str) -> Option<String> {
    let path = target.split(['?', '#']).next()?;
    let last = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    // Firebase's own links hold the whole object name in one encoded part.
    let last = last.rsplit(['/', '\\']).next()?;
    (!last.is_empty() && !last.starts_with('.')).then(|| last.to_owned())
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
