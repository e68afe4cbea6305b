//! Opening a run of 15, 75 and 300 cells: quickly as the window does, and with every picture held against
//! its hash as `show` does.

mod painted_run;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::cell::{Guidance, Quant, RadiusPx, Steps, ValueError};
use fill_audit::model::matrix::Matrix;
use painted_run::painted_run;
use std::error::Error;
use std::path::{Path, PathBuf};

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

fn painted(runs_dir: &Path, seeds: u64) -> Result<PathBuf, Box<dyn Error>> {
    painted_run(runs_dir, matrix(seeds)?)
}

fn open_run(criterion: &mut Criterion) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let mut group = criterion.benchmark_group("open_run");
    group.sample_size(10);
    for seeds in [1, 5, 20] {
        let cells = seeds * 15;
        let folder = match painted(dir.path(), seeds) {
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
