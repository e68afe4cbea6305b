//! A run as Markdown, in the layout that the Python service began and that this program reads back.

use super::table::escape;
use crate::model::cell::{Baseline, CellKey, Quant};
use crate::model::ids::SessionId;
use crate::model::matrix::Axis;
use crate::model::prompt;
use crate::model::run::{
    CellDocument, CellState, DoneCell, Environment, InferenceSize, MatmulPath, Run, RunDocument,
    Timing,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the last section says until an approval fills it in.
pub const NOT_YET: &str = "_Nothing is approved yet. `fill-audit approve` fills this in._";

/// The heading of the last section.
pub const RECOMMENDED: &str = "Recommended Settings for Phase 1";

/// What a report is made of besides the run.
#[derive(Debug, Clone, Default)]
pub struct ReportParts<'a> {
    /// Addresses of pictures by cell, where they are not files beside the report.
    pub links: BTreeMap<CellKey, String>,
    /// The contact sheet's file beside the report.
    pub contact_sheet: Option<&'a str>,
    /// Which kind of addresses these are, and until when they work. Without addresses it need not be said.
    pub links_note: Option<&'a str>,
    /// The section on the review, with its heading.
    pub review: Option<&'a str>,
    /// The text of the section on the recommended settings, without its heading.
    pub recommended: Option<&'a str>,
}

/// What is said of links that are no addresses.
const FILE_NAMES: &str = "Links are the names of the files beside this report; they do not expire.";

/// The report of a run.
pub fn render(run: &Run, parts: &ReportParts<'_>) -> String {
    let mut text = String::new();
    header(&mut text, run);
    device(&mut text, run);
    if let Some(document) = run.document() {
        inputs(&mut text, run, document);
    }
    if let Some(file) = parts.contact_sheet {
        let _ = write!(
            text,
            "\n## Contact Sheet\n\n![All cells of run {} with their labels]({file})\n",
            run.run_id
        );
    }
    results(&mut text, run, &parts.links);
    let note = parts
        .links_note
        .or_else(|| (parts.links.is_empty() && run.done_count() > 0).then_some(FILE_NAMES));
    if let Some(note) = note {
        let _ = write!(text, "\n{}\n", one_line(note));
    }
    by_quant(&mut text, run);
    acceleration(&mut text, run);
    if let Some(review) = parts.review {
        let _ = write!(text, "\n{}\n", review.trim());
    }
    if !run.warnings.is_empty() {
        text.push_str("\n## Warnings\n\n");
        for warning in &run.warnings {
            let _ = writeln!(text, "- {}", one_line(warning));
        }
    }
    let recommended = parts.recommended.map_or(NOT_YET, str::trim);
    let _ = write!(text, "\n## {RECOMMENDED}\n\n{recommended}\n");
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn header(text: &mut String, run: &Run) {
    let _ = writeln!(text, "# Baseline Audit Report — {}", run.run_id);
    let session = run.session.as_ref().map_or("unknown", SessionId::as_str);
    let date = run
        .document()
        .and_then(|document| document.created_at.get(..10))
        .unwrap_or("unknown");
    let gpu = run
        .environment
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), Environment::label);
    let _ = writeln!(
        text,
        "**Session:** {session} | **Date:** {date} | **GPU:** {gpu}"
    );
    let counts = counts(run);
    let _ = writeln!(text, "**Cells:** {counts}");
}

/// `13 of 15 done, 1 failed, 1 not run`.
pub fn counts(run: &Run) -> String {
    let of = |word: &str| {
        run.cells
            .values()
            .filter(|state| state.word() == word)
            .count()
    };
    let mut text = format!("{} of {} done", run.done_count(), run.cells.len());
    for (word, shown) in [
        ("failed", "failed"),
        ("missing", "not run"),
        ("unreadable", "unreadable"),
    ] {
        if of(word) > 0 {
            let _ = write!(text, ", {} {shown}", of(word));
        }
    }
    text
}

fn device(text: &mut String, run: &Run) {
    text.push_str("\n## GPU Info\n\n");
    let Some(environment) = &run.environment else {
        text.push_str("- Device: unknown\n");
        return;
    };
    let _ = writeln!(text, "- Device: {}", environment.device);
    let capability = environment.compute_capability.as_deref();
    let _ = writeln!(
        text,
        "- Compute Capability: {}",
        capability.unwrap_or("none (not a CUDA device)")
    );
    match environment.memory_bytes {
        // GiB, written as the service writes it.
        Some(bytes) => {
            let name = if capability.is_some() {
                "VRAM"
            } else {
                "Memory"
            };
            let _ = writeln!(
                text,
                "- {name}: {:.1} GB",
                bytes as f64 / (1u64 << 30) as f64
            );
        }
        None => text.push_str("- VRAM: unknown\n"),
    }
    if let Some(driver) = &environment.driver {
        let _ = writeln!(text, "- Driver: {driver}");
    }
    if let Some(program) = &environment.program {
        let _ = writeln!(text, "- Program: {program}");
    }
    if !environment.is_production_gpu() {
        text.push_str(
            "- **This is not production's NVIDIA L4**: these times say nothing about production's.\n",
        );
    }
}

fn inputs(text: &mut String, run: &Run, document: &RunDocument) {
    text.push_str("\n## Inputs\n\n");
    if !document.expected.is_empty() {
        let _ = writeln!(text, "- Expected: {}", one_line(&document.expected));
    }
    let (width, height) = document.inference_size_px;
    let how = match document.inference {
        InferenceSize::Whole { .. } => "the whole picture".to_owned(),
        InferenceSize::Crop { margin, .. } => {
            let area = document.inference_box;
            format!(
                "the mask's box with a margin of {margin}: {} × {} px at ({}, {})",
                area.width, area.height, area.x, area.y
            )
        }
    };
    let _ = writeln!(text, "- Inference size: {width} × {height} px, {how}");
    let recipe = &document.plan.recipe;
    let _ = writeln!(
        text,
        "- Mask recipe: threshold {}, drop under {} px, close {} px, open {} px, dilate {} px, \
         feather {} px",
        recipe.threshold,
        recipe.min_component_px,
        recipe.close_px,
        recipe.open_px,
        recipe.dilate_px,
        recipe.feather_sigma_px
    );
    for (index, prompt) in run.prompts.iter().enumerate() {
        let note = if prompt == prompt::PRODUCTION {
            " (production's)"
        } else {
            ""
        };
        let _ = writeln!(text, "- Prompt {index}: {:?}{note}", one_line(prompt));
    }
    let seeds: Vec<String> = run
        .axis_values(Axis::Seed)
        .iter()
        .map(|value| value.label(&run.prompts))
        .collect();
    let _ = writeln!(text, "- Seed: {}", seeds.join(", "));
    let _ = writeln!(
        text,
        "- Weights: {} with {}",
        document.model.repository, document.model.base
    );
    let added = run
        .extensions
        .iter()
        .flat_map(|extension| &extension.new_files);
    for file in document.model.files.iter().chain(added) {
        if let Some(quant) = &file.quant {
            let _ = writeln!(
                text,
                "- {quant}: `{}`, {}, SHA-256 `{}`",
                file.file,
                size(file.size_bytes),
                file.sha256
            );
        }
    }
    let of_sweeps = run.extensions.iter().flat_map(|one| &one.gates_overridden);
    for gate in document.gates_overridden.iter().chain(of_sweeps) {
        let _ = writeln!(text, "- **Mask gate overridden**: {}", one_line(gate));
    }
}

/// `6.81 GB`, `3.6 MB`.
fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes => format!("{:.1} MB", bytes / 1e6),
    }
}

/// The axes that have a column of their own because the run has more than one value on them.
fn extra_axes(run: &Run) -> Vec<Axis> {
    [Axis::Seed, Axis::Prompt, Axis::Dilation]
        .into_iter()
        .filter(|axis| run.axis_values(*axis).len() > 1)
        .collect()
}

fn results(text: &mut String, run: &Run, links: &BTreeMap<CellKey, String>) {
    text.push_str("\n## Results Matrix\n\n");
    let extra = extra_axes(run);
    let mut header = vec!["Quant", "Guidance", "Steps"];
    for axis in &extra {
        header.push(match axis {
            Axis::Seed => "Seed",
            Axis::Prompt => "Prompt",
            _ => "Dilation",
        });
    }
    header.extend(["Wall-clock (s)", "GPU time (ms)", "Image"]);
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(header.len()));
    for (key, state) in &run.cells {
        let star = if run.baseline(key).is_some() {
            " ★"
        } else {
            ""
        };
        let mut cells = vec![
            format!("{}{star}", key.quant),
            key.guidance.to_string(),
            key.steps.to_string(),
        ];
        for axis in &extra {
            cells.push(escape(&axis.value_of(key).label(&run.prompts)));
        }
        let timing = run.timing_of(key).cloned().unwrap_or_default();
        let (wall, gpu) = times(&timing);
        let file = run.picture_file(key);
        let target = links.get(key).cloned().unwrap_or(file);
        match state {
            CellState::Done(_) => cells.extend([wall, gpu, format!("[view]({target})")]),
            CellState::Failed { error, .. } => {
                let error = escape(error);
                cells.extend(["FAILED".to_owned(), gpu, format!("failed: {error}")]);
            }
            CellState::Missing => cells.extend([wall, gpu, "not run".to_owned()]),
            CellState::Unreadable { reason } => {
                cells.extend([wall, gpu, format!("error: {}", escape(reason))]);
            }
        }
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let note = match run.baseline_key().and_then(|key| run.baseline(key)) {
        Some(Baseline::Exact) => "★ is production's baseline: Q4_0, guidance 10, 28 steps.",
        Some(Baseline::OtherSteps) => {
            "★ stands in for production's baseline (Q4_0, guidance 10, 28 steps): the run has no cell at \
             28 steps."
        }
        None => "Production's baseline (Q4_0, guidance 10, 28 steps) is not among the cells.",
    };
    let _ = write!(text, "\n{note}\n");
}

fn times(timing: &Timing) -> (String, String) {
    let unknown = || "—".to_owned();
    (
        timing.wall_secs.map_or_else(unknown, |secs| {
            // Two decimals where one would show nothing.
            if secs < 10.0 {
                format!("{secs:.2}")
            } else {
                format!("{secs:.1}")
            }
        }),
        timing
            .gpu_millis
            .map_or_else(unknown, |millis| format!("{millis:.0}")),
    )
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn by_quant(text: &mut String, run: &Run) {
    let mut quants: BTreeMap<&Quant, Vec<&DoneCell>> = BTreeMap::new();
    for (key, state) in &run.cells {
        if let CellState::Done(done) = state {
            quants.entry(&key.quant).or_default().push(done);
        }
    }
    let known = quants
        .values()
        .flatten()
        .any(|cell| cell.timing.wall_secs.is_some());
    if !known {
        return;
    }
    text.push_str("\n## Time by Quant\n\n");
    text.push_str(
        "| Quant | Cells | Median s per step | Loading (s) | Decoding (s) | Peak memory |\n\
         |---|---|---|---|---|---|\n",
    );
    for (quant, cells) in quants {
        let timings = || cells.iter().map(|cell| &cell.timing);
        let steps = timings()
            .flat_map(|timing| timing.step_secs.clone())
            .collect();
        let loading = timings().find_map(|timing| timing.load_secs);
        let decoding = timings().filter_map(|timing| timing.decode_secs).collect();
        let documents = cells.iter().filter_map(|cell| cell.document.as_ref());
        let peak = documents
            .filter_map(|document| document.peak_memory_bytes)
            .max();
        let shown =
            |value: Option<f64>| value.map_or("—".to_owned(), |secs| format!("{secs:.3}"));
        let _ = writeln!(
            text,
            "| {quant} | {} | {} | {} | {} | {} |",
            cells.len(),
            shown(median(steps)),
            shown(loading),
            shown(median(decoding)),
            peak.map_or("—".to_owned(), size)
        );
    }
    text.push_str(
        "\nPeak memory is the process's, mapped weights included; a GPU's own is not part of it.\n",
    );
}

/// The document of a cell that has a picture.
fn made(state: &CellState) -> Option<&CellDocument> {
    match state {
        CellState::Done(done) => done.document.as_ref(),
        _ => None,
    }
}

/// What was counted of one acceleration in all cells.
#[derive(Default)]
struct Seen<'a> {
    available: usize,
    asked: usize,
    ran: usize,
    fell_back: usize,
    times: u64,
    remark: &'a str,
}

/// A row for each acceleration that a cell's own paths counted, and a line for each that fell back.
fn accelerations_seen(text: &mut String, documents: &[&CellDocument]) {
    let mut rows: Vec<(&str, Seen<'_>)> = Vec::new();
    for one in documents
        .iter()
        .flat_map(|document| &document.accelerations)
    {
        let at = rows.iter().position(|(name, _)| *name == one.name);
        let at = at.unwrap_or_else(|| {
            rows.push((&one.name, Seen::default()));
            rows.len() - 1
        });
        if let Some((_, row)) = rows.get_mut(at) {
            row.available += usize::from(one.available);
            row.asked += usize::from(one.asked);
            row.ran += usize::from(one.seen > 0);
            row.fell_back += usize::from(one.fell_back());
            row.times += one.seen;
            row.remark = &one.remark;
        }
    }
    text.push_str("- Gains are not part of a run: `fill-audit doctor --measure` measures them\n");
    text.push_str(
        "\n| Acceleration | Available | Asked for | Seen to run | Remark |\n|---|---|---|---|---|\n",
    );
    let word = |is_so: bool| if is_so { "yes" } else { "no" };
    let cells = documents.len();
    for (name, row) in &rows {
        let ran = match row.ran {
            0 => "no".to_owned(),
            n => format!("{} times in {n} of {cells} cells", row.times),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ran} | {} |",
            escape(name),
            word(row.available > 0),
            word(row.asked > 0),
            escape(row.remark)
        );
    }
    for (name, row) in rows.iter().filter(|(_, row)| row.fell_back > 0) {
        let _ = write!(
            text,
            "\n- **Fallback: {name} was asked for and did not run** in {} of {cells} cells\n",
            row.fell_back
        );
    }
}

fn acceleration(text: &mut String, run: &Run) {
    match (&run.acceleration_section, run.document()) {
        (Some(section), _) => {
            let _ = write!(text, "\n## Acceleration\n\n{section}\n");
        }
        (None, Some(document)) => {
            let how = match document.matmul {
                MatmulPath::Exact => {
                    "dequantized exactly before they are multiplied, as production does"
                }
                MatmulPath::Integer => {
                    "multiplied by integer kernels, which also quantize activations (opted in)"
                }
            };
            let _ = write!(text, "\n## Acceleration\n\n- Weights: {how}\n");
            let documents: Vec<&CellDocument> = run.cells.values().filter_map(made).collect();
            if documents.iter().all(|d| d.accelerations.is_empty()) {
                text.push_str("- No acceleration was measured, so none is counted\n");
            } else {
                accelerations_seen(text, &documents);
            }
        }
        (None, None) => {}
    }
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
