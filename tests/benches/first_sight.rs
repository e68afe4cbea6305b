//! From opening a run of 18 cells of 1 megapixel until all of them are fully shown, against decoding the
//! same files in parallel, in one run: `cargo bench --bench first_sight`. Prints medians of 9 rounds,
//! and their ratio.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints and may stop"
)]

use eframe::egui::vec2;
use egui_kittest::Harness;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::imaging::codecs;
use fill_audit::state::Msg;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SIDE: u32 = 1024;
const ROUNDS: usize = 9;

/// A run of the Python service: 3 quants by 6 guidances.
fn make_run(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (q, quant) in ["Q4_0", "Q5_K_S", "Q8_0"].iter().enumerate() {
        for guidance in [2_u32, 4, 10, 20, 30, 40] {
            let mut noise = u64::from(guidance) + 100 * q as u64 + 1;
            let picture = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
                // Ground-like: smooth light with grain, so that it packs about as photographs do.
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let grain = ((noise >> 56) & 31) as u32;
                let light = (x + y) / 16;
                image::Rgb([
                    (light + grain) as u8,
                    (60 + light / 2 + grain) as u8,
                    (40 + grain) as u8,
                ])
            });
            let path = folder.join(format!("{quant}_gs{guidance}.png"));
            codecs::write_rgb_png(&path, &picture).unwrap();
            paths.push(path);
        }
    }
    paths
}

/// Time between two frames: the program draws when something has come, at the screen's pace.
const FRAME: Duration = Duration::from_micros(16_667);

fn shown_secs(run: &Path, size: [f32; 2]) -> f64 {
    let empty = tempfile::tempdir().unwrap();
    let runs_dir = Some(empty.path().to_owned());
    let mut harness = Harness::builder()
        .with_size(vec2(size[0], size[1]))
        .wgpu()
        .build_eframe(|cc| {
            let reviewer = Some("bench".to_owned());
            FillAuditApp::new(
                cc,
                None,
                Services {
                    reviewer,
                    runs_dir,
                    ..Services::default()
                },
            )
        });
    // The window and its driver are there: the clock starts with the command to open.
    let started = Instant::now();
    harness.state_mut().send(Msg::Open(run.to_owned()));
    let (mut next, mut shown) = (started, None);
    let mut quiet = 0;
    while quiet < 2 {
        harness.step();
        let app = harness.state();
        if app.state().run.is_some() && !app.is_loading() {
            // The frame after it shows that nothing more is asked for.
            quiet += 1;
            shown.get_or_insert_with(|| started.elapsed().as_secs_f64());
        } else {
            (quiet, shown) = (0, None);
        }
        next += FRAME;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    shown.unwrap()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let paths = make_run(folder.path());
    let bytes: u64 = paths
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    println!(
        "18 pictures of {SIDE}x{SIDE}, {:.1} MB each",
        bytes as f64 / 18e6
    );
    // In a small window thumbnails are enough; in a large one every picture is wanted in full.
    let sizes = [[1280.0, 800.0], [3840.0, 2160.0]];
    let mut decoded = Vec::new();
    let mut shown = sizes.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let pixels: usize = paths
            .par_iter()
            .map(|path| codecs::decode(path).unwrap().into_rgba().len())
            .sum();
        assert_eq!(pixels, 18 * 4 * (SIDE * SIDE) as usize);
        decoded.push(started.elapsed().as_secs_f64());
        for (size, shown) in sizes.iter().zip(&mut shown) {
            shown.push(shown_secs(folder.path(), *size));
        }
    }
    let decoded = median(&mut decoded);
    println!("decoding in parallel: {:.0} ms", decoded * 1e3);
    for (size, shown) in sizes.iter().zip(&mut shown) {
        let shown = median(shown);
        println!(
            "all cells shown in a window of {:.0}x{:.0}: {:.0} ms, ratio {:.2}",
            size[0],
            size[1],
            shown * 1e3,
            shown / decoded
        );
    }
}
