//! From opening a run of 18 cells of 1 megapixel until all of them are fully shown, against decoding the
//! same files in parallel, in one run: `cargo bench --bench first_sight`. Both on threads that have just
//! started, as in a program that has. Prints medians of 9 rounds of wall and CPU time, and their ratio.

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

/// Wall and CPU seconds until all is shown.
fn shown_secs(run: &Path, size: [f32; 2]) -> [f64; 2] {
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
    let clock = Clock::start();
    harness.state_mut().send(Msg::Open(run.to_owned()));
    let (mut next, mut shown) = (clock.wall, None);
    let mut quiet = 0;
    while quiet < 2 {
        harness.step();
        let app = harness.state();
        if app.state().run.is_some() && !app.is_loading() {
            // The frame after it shows that nothing more is asked for.
            quiet += 1;
            shown.get_or_insert_with(|| clock.taken());
        } else {
            (quiet, shown) = (0, None);
        }
        next += FRAME;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    shown.unwrap()
}

/// Medians of wall and CPU seconds.
fn medians(taken: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|i| {
        let mut values: Vec<f64> = taken.iter().map(|taken| taken[i]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// Wall and CPU time of this process.
struct Clock {
    wall: Instant,
    cpu_secs: f64,
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu_secs: cpu_secs(),
        }
    }

    /// Wall and CPU seconds since the start.
    fn taken(&self) -> [f64; 2] {
        [
            self.wall.elapsed().as_secs_f64(),
            cpu_secs() - self.cpu_secs,
        ]
    }
}

/// From the kernel's nanoseconds of every thread that runs, so of none that has ended.
fn cpu_secs() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    let nanos = |thread: std::io::Result<std::fs::DirEntry>| -> Option<f64> {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads.filter_map(nanos).sum::<f64>() / 1e9
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
        let threads = rayon::ThreadPoolBuilder::new().build().unwrap();
        let clock = Clock::start();
        let pixels: usize = threads.install(|| {
            let bytes = |path| codecs::decode(path).unwrap().into_rgba().len();
            paths.par_iter().map(|path| bytes(path)).sum()
        });
        assert_eq!(pixels, 18 * 4 * (SIDE * SIDE) as usize);
        decoded.push(clock.taken());
        for (size, shown) in sizes.iter().zip(&mut shown) {
            shown.push(shown_secs(folder.path(), *size));
        }
    }
    let [wall, cpu] = medians(&decoded);
    let ms = |secs: f64| secs * 1e3;
    println!(
        "decoding in parallel: {:.0} ms, CPU {:.0} ms",
        ms(wall),
        ms(cpu)
    );
    for (size, shown) in sizes.iter().zip(&shown) {
        let [shown_wall, shown_cpu] = medians(shown);
        println!(
            "all cells shown in a window of {:.0}x{:.0}: {:.0} ms, CPU {:.0} ms; ratios {:.2} and {:.2}",
            size[0],
            size[1],
            ms(shown_wall),
            ms(shown_cpu),
            shown_wall / wall,
            shown_cpu / cpu
        );
    }
}
