//! Opening a run of 15, 75 and 300 cells: quickly as the window does, and with every picture held against
//! its hash as `show` does.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::audit::{AuditContext, AuditError, RunRequest, execute, start};
use fill_audit::model::cell::{Guidance, Quant, RadiusPx, Steps, ValueError};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::matrix::Matrix;
use fill_audit::model::prompt;
use fill_audit::model::run::{InferenceSize, MatmulPath, Plan};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// 3 quants by 5 guidances by so many seeds.
fn matrix(seeds: u64) -> Result<Matrix, ValueError> {
    Ok(Matrix {
        quants: Quant::audited(),
        guidances: [2.0, 4.0, 10.0, 20.0, 30.0]
            .into_iter()
            .map(Guidance::new)
            .collect::<Result<_, _>>()?,
        steps: vec![Steps::new(1)?],
        seeds: (0..seeds).collect(),
        prompts: vec![0],
        dilations: vec![RadiusPx::new(4.0)?],
    })
}

/// A finished run of painted cells over the fixture's photograph of 451 by 300 pixels.
fn painted_run(runs_dir: &Path, seeds: u64) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let recipe = MaskRecipe {
        min_component_px: 4,
        open_px: 0.0,
        dilate_px: 4.0,
        ..MaskRecipe::default()
    };
    let request = RunRequest {
        session_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service-run"),
        runs_dir: runs_dir.to_owned(),
        run_id: None,
        is_new: true,
        plan: Plan {
            matrix: matrix(seeds)?,
            recipe,
        },
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::Whole { long_side_px: 448 },
        device: "cpu".to_owned(),
        matmul: MatmulPath::Exact,
        gates_override: None,
    };
    let mut engine = PaintedEngine::default();
    let cancel = AtomicBool::new(false);
    let mut context = AuditContext {
        clock: &jiff::Timestamp::now,
        cancel: &cancel,
        observer: &mut |_| {},
    };
    let owned = start(&request, &mut engine, &mut context)?;
    let summary = execute(&owned, &mut engine, None, &mut context)?;
    if summary.left > 0 {
        return Err(Box::new(AuditError::Refused("cells are left".to_owned())));
    }
    Ok(summary.folder)
}

fn open_run(criterion: &mut Criterion) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let mut group = criterion.benchmark_group("open_run");
    group.sample_size(10);
    for seeds in [1, 5, 20] {
        let cells = seeds * 15;
        let folder = match painted_run(dir.path(), seeds) {
            Ok(folder) => folder,
            Err(error) => panic!("the run of {cells} cells could not be made: {error}"),
        };
        group.throughput(Throughput::Elements(cells));
        for (name, verification) in [("quick", Verification::Quick), ("full", Verification::Full)] {
            group.bench_with_input(BenchmarkId::new(name, cells), &folder, |bencher, folder| {
                bencher.iter(|| run_folder::open(folder, verification).map(|run| run.done_count()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, open_run);
criterion_main!(benches);
