//! Speed of the mask operations, at 12 megapixels (a stress figure) and at 1 megapixel, beside `OpenCV` on the
//! same masks in the same run.
//!
//! `cargo bench --bench masks` times everything with criterion, then once more as `masks_opencv.py` times
//! `OpenCV` (one round to warm up, the median of the rest), starts that script on the masks of this run, and
//! prints both columns beside the limits. The script needs `pip install numpy opencv-python-headless`;
//! `PYTHON` names another interpreter than `python3`. Without it our own column is printed alone.
//!
//! Limits, on two cores: any change of dilation at 12 MP under 8 ms at any radius; the exact field at 12 MP no
//! slower than `OpenCV`'s precise distance transform; a whole recipe at 1 MP under 12 ms.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group};
use fill_audit::imaging::GrayImage;
use fill_audit::imaging::mask::{BinaryMask, DistanceField, MaskStages, disc, feather, process};
use fill_audit::model::mask_recipe::MaskRecipe;

const LARGE: (u32, u32) = (4000, 3000);
const SMALL: (u32, u32) = (1024, 1024);

/// From no change at all to the largest radius that a recipe may have.
const RADII: [f32; 9] = [0.0, 0.5, 1.0, 5.0, 10.0, 12.3, 32.0, 100.0, 256.0];

/// Radii that `OpenCV` is timed at as well: its time grows with the square.
const RADII_BESIDE_OPENCV: [f32; 3] = [1.0, 10.0, 32.0];

/// A leash-like band with a blob, specks and holes.
fn leash((width, height): (u32, u32)) -> GrayImage {
    let (across, down) = (width as f32, height as f32);
    let mut state = 7_u32;
    GrayImage::from_fn(width, height, |x, y| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (u, v) = (x as f32 / across, y as f32 / down);
        let band = (v - 0.5 - 0.3 * (u * 9.0).sin()).abs() < 0.02;
        let blob = (u - 0.3).hypot((v - 0.4) * down / across) < 0.1;
        let noise = state.is_multiple_of(1000);
        image::Luma([if (band || blob) ^ noise { 255 } else { 0 }])
    })
}

/// The recipe of both programs at 1 MP: threshold, despeck 50, close 2, open 2, despeck 50, dilate 10.
fn recipe() -> MaskRecipe {
    MaskRecipe {
        close_px: 2.0,
        ..MaskRecipe::default()
    }
}

/// The masks that everything is timed on.
struct Masks {
    /// 12 MP with specks and holes everywhere.
    specks: BinaryMask,
    /// 12 MP after the default clean-up: what the lab grows.
    cleaned: BinaryMask,
    /// 12 MP, grey.
    large: GrayImage,
    /// 1 MP, grey.
    small: GrayImage,
}

impl Masks {
    fn new() -> Self {
        let large = leash(LARGE);
        let clean_up = MaskRecipe {
            dilate_px: 0.0,
            ..MaskRecipe::default()
        };
        Self {
            specks: BinaryMask::from_grey(&large, 128),
            cleaned: process(&large, &clean_up).cleaned,
            large,
            small: leash(SMALL),
        }
    }
}

/// The mask in the lab, on which only the dilation changes: from one radius to another and back, so that
/// each call is a change.
struct Dragged {
    stages: MaskStages,
    radii: [f32; 2],
}

impl Dragged {
    fn new(masks: &Masks) -> Self {
        Self {
            stages: MaskStages::new(masks.large.clone(), MaskRecipe::default()),
            radii: [0.0; 2],
        }
    }

    fn at(&mut self, radius_px: f32) -> &mut Self {
        let other = if radius_px < 128.0 {
            radius_px + 0.25
        } else {
            radius_px - 0.25
        };
        self.radii = [radius_px, other];
        self
    }

    fn change(&mut self) {
        self.radii.swap(0, 1);
        let dilate_px = self.radii[0];
        self.stages.set_recipe(MaskRecipe {
            dilate_px,
            ..MaskRecipe::default()
        });
        black_box(self.stages.mask());
    }
}

fn at_12_megapixels(c: &mut Criterion) {
    let masks = Masks::new();
    let mut group = c.benchmark_group("12 MP");
    group.sample_size(20);
    group.bench_function("exact field", |b| {
        b.iter(|| DistanceField::to_white(black_box(&masks.cleaned)));
    });
    group.bench_function("exact field, specks everywhere", |b| {
        b.iter(|| DistanceField::to_white(black_box(&masks.specks)));
    });
    for (name, mask) in [("cleaned", &masks.cleaned), ("specks", &masks.specks)] {
        let field = DistanceField::to_white(mask);
        let mut grown = BinaryMask::black(LARGE.0, LARGE.1);
        for radius_px in RADII {
            let id = BenchmarkId::new(format!("field compared with a radius, {name}"), radius_px);
            group.bench_with_input(id, &radius_px, |b, &radius_px| {
                b.iter(|| field.dilate_into(black_box(radius_px), &mut grown));
            });
        }
    }
    let mut dragged = Dragged::new(&masks);
    for radius_px in RADII {
        let id = BenchmarkId::new("change of dilation in the lab", radius_px);
        group.bench_with_input(id, &radius_px, |b, &radius_px| {
            dragged.at(radius_px);
            b.iter(|| dragged.change());
        });
    }
    for radius_px in [10.0, 32.0] {
        let id = BenchmarkId::new("dilation without a field", radius_px);
        group.bench_with_input(id, &radius_px, |b, &radius_px| {
            b.iter(|| disc::dilate(black_box(&masks.cleaned), radius_px));
        });
    }
    group.finish();
}

fn at_1_megapixel(c: &mut Criterion) {
    let grey = leash(SMALL);
    let recipe = recipe();
    let processed = process(&grey, &recipe);
    let mut group = c.benchmark_group("1 MP");
    group.bench_function("whole recipe", |b| {
        b.iter(|| process(black_box(&grey), &recipe));
    });
    group.bench_function("whole recipe in the lab", |b| {
        b.iter(|| MaskStages::new(black_box(&grey).clone(), recipe.clone()));
    });
    group.bench_function("exact field", |b| {
        b.iter(|| DistanceField::to_white(black_box(&processed.cleaned)));
    });
    group.bench_function("feather 4", |b| {
        b.iter(|| feather(black_box(&processed.grown), 4.0));
    });
    group.bench_function("figures", |b| b.iter(|| black_box(&processed).figures()));
    group.finish();
}

/// As `masks_opencv.py` has it: one round to warm up, then the median.
fn median_ms(rounds: usize, mut operation: impl FnMut()) -> f64 {
    operation();
    let mut taken: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            operation();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[rounds / 2]
}

/// What is timed, under the names that the script gives its own, with the limit of each.
fn ours(masks: &Masks) -> Vec<(String, f64, &'static str)> {
    let mut rows = Vec::new();
    for (name, mask) in [("cleaned", &masks.cleaned), ("specks", &masks.specks)] {
        let taken = median_ms(9, || {
            black_box(DistanceField::to_white(black_box(mask)));
        });
        rows.push((
            format!("12 MP exact distances, {name}"),
            taken,
            "no slower than OpenCV",
        ));
    }
    let mut dragged = Dragged::new(masks);
    for radius_px in RADII {
        let dragged = dragged.at(radius_px);
        let taken = median_ms(21, || dragged.change());
        rows.push((format!("12 MP dilation, {radius_px} px"), taken, "8 ms"));
    }
    let taken = median_ms(21, || {
        black_box(process(black_box(&masks.small), &recipe()));
    });
    rows.push(("1 MP whole recipe".to_owned(), taken, "12 ms"));
    let grown = process(&masks.small, &recipe()).grown;
    let taken = median_ms(21, || {
        black_box(feather(black_box(&grown), 4.0));
    });
    rows.push(("1 MP feather, sigma 4".to_owned(), taken, "none"));
    rows
}

/// `OpenCV`'s times by name, and its version and threads; or why there are none.
fn opencv(masks: &Masks) -> Result<(String, BTreeMap<String, f64>), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (name, mask) in [
        ("cleaned", masks.cleaned.to_grey()),
        ("specks", masks.specks.to_grey()),
        ("small", masks.small.clone()),
    ] {
        let (width, height) = mask.dimensions();
        let path = folder.path().join(format!("{name}_{width}x{height}.raw"));
        std::fs::write(&path, mask.as_raw()).map_err(|error| error.to_string())?;
    }
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/benches/masks_opencv.py");
    let output = Command::new(&python)
        .arg(script)
        .arg(folder.path())
        .args(RADII_BESIDE_OPENCV.map(|radius| radius.to_string()))
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let times = said["milliseconds"].as_object().ok_or("no times")?;
    let times = times
        .iter()
        .filter_map(|(name, taken)| Some((name.clone(), taken.as_f64()?)));
    let version = said["version"].as_str().unwrap_or("OpenCV").to_owned();
    Ok((version, times.collect()))
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn side_by_side() {
    let masks = Masks::new();
    let rows = ours(&masks);
    let (version, theirs) = match opencv(&masks) {
        Ok(found) => found,
        Err(problem) => (format!("OpenCV was not timed: {problem}"), BTreeMap::new()),
    };
    println!(
        "\nours on {} threads beside {version}",
        rayon::current_num_threads()
    );
    println!(
        "{:<32} {:>10} {:>10}   limit",
        "medians in ms", "ours", "OpenCV"
    );
    for (name, taken, limit) in rows {
        let beside = theirs
            .get(&name)
            .map_or("-".to_owned(), |taken| format!("{taken:.1}"));
        println!("{name:<32} {taken:>10.2} {beside:>10}   {limit}");
    }
}

criterion_group!(benches, at_12_megapixels, at_1_megapixel);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    let has = |word: &str| std::env::args().any(|arg| arg == word);
    // Not where benchmarks are only listed or tried once.
    if has("--bench") && !has("--list") && !has("--test") {
        side_by_side();
    }
}
