//! Tests that cross the pipeline's files: hostile and unusual weight files, and what a fill does
//! when it is stopped or fed nonsense. Parity with the references is in `tests/parity.rs`.
#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

mod files;
mod fills;
mod gguf_writer;
mod stored;
mod t5;

use super::{
    ComputeDevice, Conditioning, Draws, FillEvent, FillInputs, FillParams, FillPipeline,
    ModelFolder, PipelineOptions, PromptEmbedding,
};
use image::{GrayImage, RgbImage};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn bundle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle")
}

fn go_on(_: FillEvent) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn pipeline(change: impl Fn(&mut PipelineOptions)) -> FillPipeline {
    let mut options = PipelineOptions::for_device(ComputeDevice::Cpu);
    options.t5_tokens = Some(16);
    change(&mut options);
    let folder = ModelFolder::open(&bundle()).unwrap();
    FillPipeline::new(folder, ComputeDevice::Cpu, options).unwrap()
}

fn inputs(width: u32, height: u32) -> FillInputs {
    FillInputs {
        image: RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 3) as u8, (y * 3) as u8, 128])
        }),
        mask: GrayImage::from_fn(width, height, |x, _| {
            image::Luma([if x < width / 2 { 255 } else { 0 }])
        }),
    }
}

fn params(steps: usize) -> FillParams {
    FillParams {
        guidance: 4.0,
        steps,
        draws: Draws::Seed(42),
    }
}

fn prepare(pipeline: &mut FillPipeline) -> (PromptEmbedding, Conditioning) {
    let prompts = pipeline
        .encode_prompts(&["grass".to_owned()], &mut go_on)
        .unwrap();
    let prompt = prompts.into_iter().next().unwrap();
    let conditioning = pipeline.encode_image(&inputs(64, 48), &mut go_on).unwrap();
    (prompt, conditioning)
}
