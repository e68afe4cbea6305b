//! Verdicts on screen: badges on cells, the inspector's buttons, note and marks, filters, the finding.

use super::{NoteDraft, UiMemory, theme};
use crate::model::cell::CellKey;
use crate::model::review::event::{Judgement, Shape};
use crate::model::review::export::Format;
use crate::model::review::failure::FailureKey;
use crate::model::review::findings::Findings;
use crate::model::review::select::{Filter, SortBy};
use crate::model::review::state::{CellReview, Standing};
use crate::state::command::Command;
use crate::state::judging::MarksShown;
use crate::state::run_view::RunView;
use crate::state::{JudgeMsg, Msg};
use eframe::egui::{self, Align2, Color32, Rect, Stroke, StrokeKind, vec2};

/// A note is written this long after the last key, in seconds, and when its field is left.
const NOTE_PAUSE_SECS: f64 = 0.8;
/// Far above what anybody notes, and below what a line of the journal takes.
const MAX_NOTE_CHARS: usize = 4000;

fn own_review<'a>(view: &'a RunView, key: &CellKey) -> Option<&'a CellReview> {
    view.judging.review.review(&view.judging.reviewer, key)
}

/// What a screen reader adds to a cell's name: its verdict and types.
pub fn accessible_verdict(view: &RunView, key: &CellKey) -> String {
    let Some(said) = own_review(view, key) else {
        return String::new();
    };
    let word = match said.judgement {
        Some(Judgement::Pass) => ", passed",
        Some(Judgement::Reject) => ", rejected",
        None => "",
    };
    let types: Vec<String> = said
        .types
        .iter()
        .map(|key| view.judging.types.label(key))
        .collect();
    if types.is_empty() {
        word.to_owned()
    } else {
        format!("{word}: {}", types.join(", "))
    }
}

/// Draws a cell's verdict, dims it if it was rejected, and draws its marks.
pub fn paint_verdict(painter: &egui::Painter, rect: Rect, key: &CellKey, view: &RunView) {
    let said = own_review(view, key);
    let judgement = said.and_then(|said| said.judgement);
    // The selected one is looked at, and colour is what is judged.
    if judgement == Some(Judgement::Reject) && view.selected.as_ref() != Some(key) {
        painter.rect_filled(
            rect,
            0.0,
            Color32::from_rgba_unmultiplied(0x60, 0x60, 0x60, 150),
        );
    }
    let width = rect.width() - 10.0;
    if view.judging.review.is_disputed(key) {
        let at = rect.left_bottom() + vec2(4.0, -32.0);
        let text = "reviewers disagree";
        theme::outlined_line(painter, at, text, 11.0, theme::WARNING, width);
    }
    let Some(said) = said else {
        return;
    };
    let labels: Vec<String> = said
        .types
        .iter()
        .map(|key| view.judging.types.label(key))
        .collect();
    let line = |sign: &str, colour| {
        let text = format!("{sign} {}", labels.join(", "));
        let at = rect.left_top() + vec2(5.0, 3.0);
        theme::outlined_line(painter, at, text.trim_end(), 14.0, colour, width);
    };
    match judgement {
        Some(Judgement::Pass) => line("✓", theme::PASS),
        Some(Judgement::Reject) => line("✕", theme::REJECT),
        None => {}
    }
    if !said.note.is_empty() {
        theme::outlined_text(
            painter,
            rect.right_top() + vec2(-4.0, 20.0),
            Align2::RIGHT_TOP,
            "✎",
            13.0,
            Color32::WHITE,
        );
    }
}

/// The verdict of the cell that fills the window, in a line that leaves the picture as it is.
pub fn paint_verdict_line(painter: &egui::Painter, rect: Rect, key: &CellKey, view: &RunView) {
    let text = accessible_verdict(view, key);
    let text = text.trim_start_matches(", ");
    let colour = if is_rejected(view, key) {
        theme::REJECT
    } else {
        theme::PASS
    };
    theme::outlined_text(
        painter,
        rect.left_top() + vec2(10.0, 28.0),
        Align2::LEFT_TOP,
        text,
        15.0,
        colour,
    );
}

/// Draws the boxes and points of a cell, in two tones so that they show on black and on white.
pub fn paint_marks(
    painter: &egui::Painter,
    rect: Rect,
    key: &CellKey,
    view: &RunView,
    map: &super::canvas::CellMap,
) {
    let key = match (view.judging.marks, &view.selected) {
        (MarksShown::Off, _) | (MarksShown::OfSelected, None) => return,
        (MarksShown::Own, _) => key,
        (MarksShown::OfSelected, Some(selected)) => selected,
    };
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    for (_, said) in view.judging.review.side_by_side(key) {
        for placed in &said.marks {
            let shape = match placed.mark.shape {
                Shape::Point { x, y } => {
                    let at = map.to_ui([f64::from(x), f64::from(y)]);
                    Rect::from_center_size(at, vec2(10.0, 10.0))
                }
                Shape::Box {
                    x,
                    y,
                    width,
                    height,
                } => Rect::from_two_pos(
                    map.to_ui([f64::from(x), f64::from(y)]),
                    map.to_ui([f64::from(x + width), f64::from(y + height)]),
                ),
            };
            painter.rect_stroke(
                shape,
                0.0,
                Stroke::new(3.0, Color32::BLACK),
                StrokeKind::Outside,
            );
            painter.rect_stroke(
                shape,
                0.0,
                Stroke::new(1.5, Color32::YELLOW),
                StrokeKind::Outside,
            );
            let label = placed
                .mark
                .failure
                .as_ref()
                .map(|key| view.judging.types.label(key))
                .unwrap_or_default();
            let text = format!("{label} {}", placed.mark.text);
            theme::outlined_text(
                &painter,
                shape.left_top() + vec2(2.0, -2.0),
                Align2::LEFT_BOTTOM,
                text.trim(),
                10.0,
                Color32::YELLOW,
            );
        }
    }
}

/// The inspector's part about verdicts.
pub fn verdict_ui(
    ui: &mut egui::Ui,
    view: &RunView,
    key: &CellKey,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let said = own_review(view, key);
    let judgement = said.and_then(|said| said.judgement);
    ui.horizontal_wrapped(|ui| {
        if ui
            .selectable_label(judgement == Some(Judgement::Pass), "✓ Pass (P)")
            .clicked()
        {
            out.push(Msg::Command(Command::Pass));
        }
        if ui
            .selectable_label(judgement == Some(Judgement::Reject), "✕ Reject (X)")
            .clicked()
        {
            out.push(Msg::Command(Command::Reject));
        }
        if ui
            .add_enabled(judgement.is_some(), egui::Button::new("Clear (U)"))
            .clicked()
        {
            out.push(Msg::Command(Command::ClearVerdict));
        }
    });
    for (index, kind) in view.judging.types.all().iter().enumerate().take(9) {
        let is_named = said.is_some_and(|said| said.types.contains(&kind.key));
        let note = if kind.is_failure {
            ""
        } else {
            " (noted, no failure)"
        };
        let text = format!("{} {}{note}", index + 1, kind.label);
        if ui
            .selectable_label(is_named, text)
            .on_hover_text("With Shift: add it and stay")
            .clicked()
        {
            let number = index as u8 + 1;
            let adds = ui.input(|input| input.modifiers.shift);
            out.push(Msg::Command(if adds {
                Command::AddFailure(number)
            } else {
                Command::RejectAs(number)
            }));
        }
    }
    note_ui(ui, key, said, memory, out);
    if let Some(said) = said {
        for placed in &said.marks {
            ui.horizontal(|ui| {
                let label = placed
                    .mark
                    .failure
                    .as_ref()
                    .map(|key| view.judging.types.label(key));
                let place = match placed.mark.shape {
                    Shape::Point { x, y } => format!("point at {x:.0}, {y:.0}"),
                    Shape::Box {
                        x,
                        y,
                        width,
                        height,
                    } => format!("box {width:.0} × {height:.0} px at {x:.0}, {y:.0}"),
                };
                let parts = [label.unwrap_or_default(), place, placed.mark.text.clone()];
                let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                ui.label(parts.join(": "));
                let remove = ui.small_button("✕");
                remove.widget_info(|| {
                    egui::WidgetInfo::labeled(egui::Role::Button, true, "Remove mark")
                });
                if remove.clicked() {
                    out.push(Msg::Judge(JudgeMsg::RemoveMark(
                        key.clone(),
                        placed.id.clone(),
                    )));
                }
            });
        }
    }
    let shown = view.judging.marks;
    ui.horizontal(|ui| {
        ui.label("Boxes and points");
        let combo = egui::ComboBox::from_id_salt("marks").selected_text(shown.label());
        let combo = combo.show_ui(ui, |ui| {
            for marks in MarksShown::ALL {
                if ui.selectable_label(marks == shown, marks.label()).clicked() {
                    out.push(Msg::Judge(JudgeMsg::ShowMarks(marks)));
                }
            }
        });
        combo.response.widget_info(|| {
            let label = format!("boxes and points: {}", shown.label());
            egui::WidgetInfo::labeled(egui::Role::ComboBox, true, label)
        });
    });
    ui.weak("Shift and drag on a picture draws a box, Shift and click sets a point; K does without Shift, and Shift and K marks what is on screen.");
    others_ui(ui, view, key);
}

fn note_ui(
    ui: &mut egui::Ui,
    key: &CellKey,
    said: Option<&CellReview>,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let on_disk = said.map_or("", |said| said.note.as_str());
    if memory.note.as_ref().is_none_or(|note| note.cell != *key) {
        // The selection moved on while a note was typed: it is kept.
        out.extend(memory.take_note());
        memory.note = Some(NoteDraft::new(key.clone(), on_disk));
    }
    let name = ui.label("Note");
    let now = ui.input(|input| input.time);
    let Some(note) = &mut memory.note else {
        return;
    };
    let field = ui
        .add(
            egui::TextEdit::multiline(&mut note.text)
                .desired_rows(2)
                .char_limit(MAX_NOTE_CHARS)
                .desired_width(f32::INFINITY),
        )
        .labelled_by(name.id);
    note.is_drawn = true;
    if field.changed() {
        note.changed_at = now;
    }
    let has_paused = now - note.changed_at >= NOTE_PAUSE_SECS;
    if field.lost_focus() || has_paused {
        out.extend(note.take_message());
    } else if note.text != note.kept {
        ui.ctx().request_repaint_after_secs(NOTE_PAUSE_SECS as f32);
    }
    if !field.has_focus() && note.text == note.kept && note.base != on_disk {
        *note = NoteDraft::new(key.clone(), on_disk);
    }
}

fn others_ui(ui: &mut egui::Ui, view: &RunView, key: &CellKey) {
    let others: Vec<_> = view
        .judging
        .review
        .side_by_side(key)
        .into_iter()
        .filter(|(reviewer, _)| **reviewer != view.judging.reviewer)
        .collect();
    if others.is_empty() {
        return;
    }
    ui.add_space(4.0);
    ui.strong("Other reviewers");
    for (reviewer, said) in others {
        let word = match said.judgement {
            Some(Judgement::Pass) => "✓ passed",
            Some(Judgement::Reject) => "✕ rejected",
            None => "no verdict",
        };
        let types: Vec<String> = said
            .types
            .iter()
            .map(|key| view.judging.types.label(key))
            .collect();
        ui.label(format!("{reviewer}: {word} {}", types.join(", ")));
        if !said.note.is_empty() {
            ui.weak(&said.note);
        }
    }
}

/// Progress, filters, sorting, blind comparison and export, in the line above the grid.
pub fn review_bar_ui(ui: &mut egui::Ui, view: &RunView, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let progress = view.judging.progress(&view.run);
    let fraction = progress.seen as f32 / progress.total.max(1) as f32;
    ui.label(progress.label());
    ui.add(
        egui::ProgressBar::new(fraction)
            .desired_width(70.0)
            .fill(theme::ACCENT),
    );
    ui.label(format!("✓ {}  ✕ {}", progress.passed, progress.rejected));
    if view.judging.unwritten > 0 {
        ui.colored_label(
            theme::WARNING,
            format!("{} not on disk yet", view.judging.unwritten),
        );
    }
    filter_menu(ui, view, memory, out);
    sort_menu(ui, view, out);
    ui.menu_button("Blind", |ui| blind_menu(ui, view, out));
    ui.menu_button("Finding", |ui| finding_ui(ui, view));
    ui.menu_button("Export", |ui| {
        for (label, format) in [
            ("Review as Markdown…", Format::Markdown),
            ("Review as CSV…", Format::Csv),
            ("Review as JSON…", Format::Json),
        ] {
            if ui.button(label).clicked() {
                out.push(Msg::Judge(JudgeMsg::Export(format)));
                ui.close();
            }
        }
    });
}

fn filter_menu(ui: &mut egui::Ui, view: &RunView, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let mut filters = view.judging.filters.clone();
    let title = if filters.is_empty() {
        "Filter".to_owned()
    } else {
        format!("Filter ({})", filters.len())
    };
    ui.menu_button(title, |ui| {
        let types = view.judging.types.all().iter();
        let by_type = types.map(|kind| {
            let label = if kind.is_failure {
                format!("Failed by {}", kind.label)
            } else {
                format!("Noted: {}", kind.label)
            };
            (label, Filter::FailedBy(kind.key.clone()))
        });
        let all = [
            ("Unreviewed".to_owned(), Filter::Unreviewed),
            ("Passed".to_owned(), Filter::Passed),
            ("Failed".to_owned(), Filter::Failed),
            ("Reviewers disagree".to_owned(), Filter::Disputed),
        ];
        for (label, filter) in all.into_iter().chain(by_type) {
            let mut is_on = filters.contains(&filter);
            if ui.checkbox(&mut is_on, label).changed() {
                filters.retain(|other| *other != filter);
                if is_on {
                    filters.push(filter);
                }
            }
        }
        let is_quick = |filter: &Filter| matches!(filter, Filter::FastEnough { .. });
        let mut is_on = filters.iter().any(is_quick);
        ui.horizontal(|ui| {
            let checked = ui.checkbox(&mut is_on, "Fast enough: at most").changed();
            let typed = ui.add(
                egui::DragValue::new(&mut memory.fast_enough_secs)
                    .range(0.1..=36_000.0)
                    .suffix(" s"),
            );
            if checked || (typed.changed() && is_on) {
                filters.retain(|filter| !is_quick(filter));
                if is_on {
                    filters.push(Filter::FastEnough {
                        wall_secs: memory.fast_enough_secs,
                    });
                }
            }
        });
        if ui.button("Show all").clicked() {
            filters.clear();
        }
    });
    if filters != view.judging.filters {
        out.push(Msg::Judge(JudgeMsg::SetFilters(filters)));
    }
}

fn sort_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let label = |sort| match sort {
        SortBy::Key => "as a matrix",
        SortBy::WallTime => "by wall time",
        SortBy::GpuTime => "by GPU time",
    };
    let now = view.judging.sort;
    let combo = egui::ComboBox::from_id_salt("sort")
        .selected_text(label(now))
        .show_ui(ui, |ui| {
            for sort in [SortBy::Key, SortBy::WallTime, SortBy::GpuTime] {
                if ui.selectable_label(sort == now, label(sort)).clicked() {
                    out.push(Msg::Judge(JudgeMsg::SetSort(sort)));
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::ComboBox, true, format!("order: {}", label(now)))
    });
}

fn blind_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    ui.label("Pictures at a time");
    ui.horizontal(|ui| {
        for together in 2..=4 {
            if ui
                .selectable_label(
                    view.judging.blind_together == together,
                    together.to_string(),
                )
                .clicked()
            {
                out.push(Msg::Judge(JudgeMsg::SetBlindTogether(together)));
            }
        }
    });
    let passed = view.judging.passed(&view.run);
    if ui
        .button(format!("Compare the {} that passed", passed.len()))
        .clicked()
    {
        out.push(Msg::Judge(JudgeMsg::BeginBlind(passed)));
        ui.close();
    }
    let shown = view.grid.order();
    if ui
        .button(format!("Compare the {} on screen", shown.len()))
        .clicked()
    {
        out.push(Msg::Judge(JudgeMsg::BeginBlind(shown)));
        ui.close();
    }
}

/// Counts per value of every axis, and the sentence about the quants.
fn finding_ui(ui: &mut egui::Ui, view: &RunView) {
    let findings = Findings::of(
        &view.run,
        &view.judging.review,
        Some(&view.judging.reviewer),
    );
    ui.set_max_width(720.0);
    ui.add(egui::Label::new(findings.sentence()).wrap());
    let types: Vec<(FailureKey, String)> = view
        .judging
        .types
        .all()
        .iter()
        .map(|kind| (kind.key.clone(), kind.label.clone()))
        .collect();
    egui::ScrollArea::vertical()
        .max_height(420.0)
        .show(ui, |ui| {
            for axis in findings.axes.iter().filter(|axis| axis.rows.len() > 1) {
                ui.add_space(6.0);
                ui.strong(axis.axis.label());
                egui::Grid::new(axis.axis.label())
                    .striped(true)
                    .show(ui, |ui| {
                        for title in ["", "passed", "rejected", "open"] {
                            ui.weak(title);
                        }
                        for (_, label) in &types {
                            ui.weak(label);
                        }
                        ui.end_row();
                        for (value, counts) in &axis.rows {
                            ui.label(value.label(&view.run.prompts));
                            ui.label(counts.passed.to_string());
                            ui.label(counts.rejected.to_string());
                            ui.label(counts.unreviewed.to_string());
                            for (key, _) in &types {
                                ui.label(counts.by_type.get(key).copied().unwrap_or(0).to_string());
                            }
                            ui.end_row();
                        }
                    });
            }
        });
}

/// Whether a cell stands rejected with this reviewer.
pub fn is_rejected(view: &RunView, key: &CellKey) -> bool {
    view.judging
        .review
        .standing(Some(&view.judging.reviewer), key)
        == Standing::Rejected
}
