//! The grid page of the program itself on runs of 15, 75 and 300 cells, without a window: what one frame
//! costs the window's thread, as JSON.
//!
//! Panels, labels that stay in view, badges of verdicts and what messages change are all part of a frame,
//! which is counted from the keys to the encoded draw calls; submission and presentation are left out, and
//! nothing is drawn. At 3840 x 2160 all 300 cells are in view, at 1920 x 1080 the grid scrolls. Goal for
//! 300 cells: under 4 ms of CPU time.
//!
//! `cargo bench --bench grid_frame` measures all, with `-- still` only what happens without keys. Without
//! `--bench` a few frames of 15 cells show that it works.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "the JSON is what it is for")]

mod painted_run;
mod surface;

use eframe::App as _;
use eframe::egui::{self, Event, Key, Modifiers};
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::model::cell::{Guidance, Quant, RadiusPx, Steps};
use fill_audit::model::matrix::{Axis, Matrix};
use fill_audit::state::Msg;
use fill_audit::state::run_view::RunView;
use painted_run::painted_run;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use surface::{FRAME, Spent, Surface, parts, quantiles};

const WINDOWS_PX: [[u32; 2]; 2] = [[1920, 1080], [3840, 2160]];
const LIMIT: Duration = Duration::from_mins(5);
/// How many cells get a verdict, and so a badge.
const JUDGED: usize = 12;

/// 15 guidances by so many seeds.
fn matrix(seeds: u64) -> Matrix {
    Matrix {
        quants: vec![Quant::new("Q8_0").unwrap()],
        guidances: (1..=15)
            .map(|i| Guidance::new(2.0 * f64::from(i)).unwrap())
            .collect(),
        steps: vec![Steps::new(1).unwrap()],
        seeds: (0..seeds).collect(),
        prompts: vec![0],
        dilations: vec![RadiusPx::new(4.0).unwrap()],
    }
}

/// The program on a run.
struct Program {
    surface: Surface,
    app: FillAuditApp,
    frame: eframe::Frame,
    time_secs: f64,
}

impl Program {
    fn open(run: &Path, size_px: [u32; 2]) -> Self {
        let surface = Surface::new(size_px);
        let mut context = eframe::CreationContext::_new_kittest(surface.ctx.clone());
        context.wgpu_render_state = Some(surface.gpu.clone());
        let services = Services {
            reviewer: Some("bench".to_owned()),
            runs_dir: run.parent().map(Path::to_owned),
            ..Services::default()
        };
        let app = FillAuditApp::new(&context, Some(run.to_owned()), services);
        let mut program = Self {
            surface,
            app,
            frame: eframe::Frame::_new_kittest(),
            time_secs: 0.0,
        };
        program.settle();
        let mut pivot = program.view().pivot.clone();
        (pivot.rows, pivot.columns) = (Axis::Guidance, Axis::Seed);
        program.app.send(Msg::SetPivot(Box::new(pivot)));
        program.settle();
        program
    }

    fn view(&self) -> &RunView {
        self.app.state().run.as_ref().unwrap()
    }

    /// One frame in which keys are pressed and let go.
    fn frame(&mut self, keys: &[(Modifiers, Key)]) -> Spent {
        let event = |(modifiers, key): &(Modifiers, Key), pressed| Event::Key {
            key: *key,
            physical_key: None,
            pressed,
            repeat: false,
            modifiers: *modifiers,
        };
        self.time_secs += FRAME.as_secs_f64();
        let input = egui::RawInput {
            time: Some(self.time_secs),
            events: keys
                .iter()
                .flat_map(|one| [event(one, true), event(one, false)])
                .collect(),
            ..egui::RawInput::default()
        };
        let (app, frame) = (&mut self.app, &mut self.frame);
        self.surface.frame(input, |ui| app.ui(ui, frame))
    }

    /// Until everything that is wanted is there.
    fn settle(&mut self) {
        let started = Instant::now();
        let mut quiet = 0;
        while quiet < 5 {
            self.frame(&[]);
            let is_there = self.app.state().run.is_some() && !self.app.is_loading();
            quiet = if is_there { quiet + 1 } else { 0 };
            std::thread::sleep(FRAME);
            assert!(started.elapsed() < LIMIT, "the cells never came");
        }
    }

    /// So many frames with keys in each, everything being there that the last one needs.
    fn measured(
        &mut self,
        frames: usize,
        keys: impl Fn(usize) -> Option<(Modifiers, Key)>,
    ) -> Vec<Spent> {
        (0..frames)
            .map(|frame| {
                let spent = self.frame(keys(frame).as_slice());
                // As in a window that waits for the display: the decoders get the processors meanwhile.
                if self.app.is_loading() {
                    std::thread::sleep(FRAME.saturating_sub(spent.wall));
                }
                spent
            })
            .collect()
    }
}

/// One key for so many frames, then the other, and so on.
fn by_turns(
    frames: usize,
    [there, back]: [(Modifiers, Key); 2],
) -> impl Fn(usize) -> Option<(Modifiers, Key)> {
    move |frame| {
        Some(if (frame / frames).is_multiple_of(2) {
            there
        } else {
            back
        })
    }
}

fn review(run: &Path, size_px: [u32; 2], frames: usize, is_still: bool) -> Value {
    let none = Modifiers::NONE;
    let mut program = Program::open(run, size_px);
    let judged = |program: &Program| program.view().judging.progress(&program.view().run).judged;
    for at in judged(&program)..JUDGED {
        let key = if at % 3 == 2 { Key::X } else { Key::P };
        program.frame(&[(none, key)]);
        program.settle();
    }
    let badges = judged(&program);
    assert_eq!(badges, JUDGED, "keys judge");
    let cells = program.view().run.done_count();
    let still = program.measured(frames, |_| None);
    let mut report = json!({
        "cells": cells,
        "window_px": size_px,
        "badges": badges,
        "still": quantiles(&still),
        "still_p50_parts_cpu_ms": parts(&still),
    });
    if is_still {
        return report;
    }
    let mut keep = |name: &str, spent: &[Spent]| report[name] = quantiles(spent);
    let arrows = [
        Key::ArrowRight,
        Key::ArrowDown,
        Key::ArrowLeft,
        Key::ArrowUp,
    ];
    let before = program.view().selected.clone();
    program.frame(&[(none, Key::ArrowDown)]);
    assert_ne!(program.view().selected, before, "keys select");
    let selecting = program.measured(frames, |frame| Some((none, arrows[frame / 4 % 4])));
    keep("selecting", &selecting);
    let closer = (none, Key::Plus);
    let zooming = by_turns(8, [closer, (Modifiers::SHIFT, Key::Minus)]);
    // Once through, so that what zooming needs is there; that way is reported too.
    keep("zooming_first", &program.measured(16, &zooming));
    program.settle();
    keep("zooming", &program.measured(frames, &zooming));
    for _ in 0..6 {
        program.frame(&[closer]);
    }
    program.settle();
    let sideways = [Key::ArrowRight, Key::ArrowLeft].map(|key| (Modifiers::SHIFT, key));
    keep("panning", &program.measured(frames, by_turns(16, sideways)));
    program.frame(&[(none, Key::F)]);
    program.frame(&[(none, Key::W)]);
    program.settle();
    let line = [Key::ArrowLeft, Key::ArrowRight].map(|key| (Modifiers::CTRL, key));
    program.frame(&[line[0]]);
    assert!(program.view().look.wipe < 0.5, "keys move the line");
    keep("wiping", &program.measured(frames, by_turns(10, line)));
    program.frame(&[(none, Key::W)]);
    program.settle();
    program.frame(&[(none, Key::S)]);
    assert_eq!(
        program.view().pivot.rows,
        Axis::Seed,
        "a key swaps the axes"
    );
    let pivoting = program.measured(frames, |frame| (frame % 8 == 7).then_some((none, Key::S)));
    keep("pivoting", &pivoting);
    program.settle();
    program.frame(&[(none, Key::Enter)]);
    program.settle();
    assert!(program.view().is_full_screen, "a key shows one cell alone");
    let flipping = program.measured(frames, |frame| {
        frame
            .is_multiple_of(6)
            .then_some((none, arrows[frame / 24 % 4]))
    });
    keep("flipping", &flipping);
    report
}

fn main() {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    let (counts, frames) = if has("--bench") {
        (&[1, 5, 20][..], 240)
    } else {
        (&[1][..], 8)
    };
    let folder = tempfile::tempdir().unwrap();
    let mut reviews = Vec::new();
    for seeds in counts {
        let run: PathBuf = painted_run(folder.path(), matrix(*seeds)).unwrap();
        for size_px in WINDOWS_PX {
            reviews.push(review(&run, size_px, frames, has("still")));
        }
    }
    let report = json!({ "reviews": reviews });
    println!(
        "{}",
        serde_json::to_string_pretty(&report).unwrap_or_default()
    );
}
