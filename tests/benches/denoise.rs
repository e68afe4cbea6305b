//! One denoising step, per quantization and way of multiplying.
//!
//! `cargo bench --bench denoise` measures the embedded model where there is one, else the
//! fixture's. With `FILL_AUDIT_WIDE=1` also a model of FLUX's true width with 1 double and 2
//! single blocks (a nineteenth of the real one), 256 + 256 tokens, random weights.

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use fill_audit::pipeline::{
    ComputeDevice, Conditioning, Dimensions, Draws, FillEvent, FillInputs, FillParams,
    FillPipeline, MatmulPath, ModelFolder, PipelineOptions, PromptEmbedding,
    write_random_transformer,
};
use image::{GrayImage, RgbImage};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn go_on(_: FillEvent) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Ways of multiplying: a name, the path, and whether weights are dequantized at load.
const WAYS: [(&str, MatmulPath, bool); 3] = [
    ("exact, dense", MatmulPath::Exact, true),
    ("exact, tiled", MatmulPath::Exact, false),
    ("integer", MatmulPath::Integer, false),
];

fn pipeline(folder: &Path, way: (&str, MatmulPath, bool)) -> anyhow::Result<FillPipeline> {
    let mut options = PipelineOptions::for_device(ComputeDevice::Cpu);
    options.matmul = way.1;
    options.dense_budget_bytes = if way.2 { u64::MAX } else { 0 };
    let folder = ModelFolder::open(folder)?;
    Ok(FillPipeline::new(folder, ComputeDevice::Cpu, options)?)
}

fn conditioning(pipeline: &FillPipeline, side: u32) -> anyhow::Result<Conditioning> {
    let inputs = FillInputs {
        image: RgbImage::from_pixel(side, side, image::Rgb([90, 120, 60])),
        mask: GrayImage::from_pixel(side, side, image::Luma([255])),
    };
    Ok(pipeline.encode_image(&inputs, &mut go_on)?)
}

/// Adds one benchmark: the seconds that the pipeline itself reports for one step.
fn bench_step(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pipeline: &mut FillPipeline,
    prompt: &PromptEmbedding,
    conditioning: &Conditioning,
) {
    let params = FillParams {
        guidance: 10.0,
        steps: 1,
        draws: Draws::Seed(42),
    };
    group.bench_function(name, |b| {
        b.iter_custom(|times| {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let output = pipeline.fill(prompt, conditioning, &params, &mut go_on);
                let secs = output.map_or(f64::NAN, |o| o.timing.step_secs.iter().sum());
                total += Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX);
            }
            total
        });
    });
}

fn small(c: &mut Criterion) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let embedded = root.join("assets/tiny-fill");
    let folder = if embedded.join("ae.safetensors").exists() {
        embedded
    } else {
        root.join("tests/fixtures/tiny-fill/bundle")
    };
    let mut group = c.benchmark_group("step of the small model, 256x256");
    group.sample_size(10);
    for way in WAYS {
        let mut pipeline = pipeline(&folder, way)?;
        let prompt = "empty ground".to_owned();
        let prompts = pipeline.encode_prompts(&[prompt], &mut go_on)?;
        let conditioning = conditioning(&pipeline, 256)?;
        for transformer in pipeline.folder().transformers().to_vec() {
            pipeline.load(&transformer.path, &mut go_on)?;
            let name = format!("{} {}", transformer.quant, way.0);
            for prompt in &prompts {
                bench_step(&mut group, &name, &mut pipeline, prompt, &conditioning);
            }
        }
    }
    group.finish();
    Ok(())
}

fn wide(c: &mut Criterion) -> anyhow::Result<()> {
    let dims = Dimensions {
        doubles: 1,
        singles: 2,
        ..Dimensions::flux_fill()
    };
    let dir = tempfile::tempdir()?;
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
    std::fs::copy(
        bundle.join("ae.safetensors"),
        dir.path().join("ae.safetensors"),
    )?;
    let file =
        |quant: &str| -> PathBuf { dir.path().join(format!("flux1-fill-wide-{quant}.gguf")) };
    let tokens = 256;
    let wave = |len: usize| {
        (0..len)
            .map(|i| (i as f32 * 0.37).sin())
            .collect::<Vec<f32>>()
    };
    let prompt = PromptEmbedding::from_values(
        "",
        Vec::new(),
        vec![0; tokens],
        wave(tokens * dims.context),
        wave(dims.pooled),
    )?;
    let mut group = c.benchmark_group("step of 3 blocks of true width, 256 + 256 tokens");
    group.sample_size(10);
    for quant in ["Q4_0", "Q5_K_S", "Q8_0"] {
        write_random_transformer(&file(quant), &dims, quant, 1)?;
        for way in WAYS {
            let mut pipeline = pipeline(dir.path(), way)?;
            let conditioning = conditioning(&pipeline, 256)?;
            pipeline.load(&file(quant), &mut go_on)?;
            let name = format!("{quant} {}", way.0);
            bench_step(&mut group, &name, &mut pipeline, &prompt, &conditioning);
        }
    }
    group.finish();
    Ok(())
}

fn denoise(c: &mut Criterion) {
    let measured = small(c).and_then(|()| match std::env::var_os("FILL_AUDIT_WIDE") {
        Some(_) => wide(c),
        None => Ok(()),
    });
    assert!(measured.is_ok(), "{measured:?}");
}

criterion_group!(benches, denoise);
criterion_main!(benches);
