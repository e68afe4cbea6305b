//! What each stage of a run will need in memory, known before anything is loaded.
//!
//! Pure: sizes in, bytes out. Weights are counted exactly; activations by the largest set of
//! tensors that the code holds at once, in float32 on the CPU.

use super::device::{MatmulPath, Precision};
use super::dimensions::Dimensions;
use super::error::{PipelineError, Result};
use super::request::Stage;
use super::transformer::SCORE_BYTES;

/// The sizes that decide what a run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRequest {
    /// Whether the device is a GPU, with memory of its own.
    pub gpu: bool,
    /// Type of the activations.
    pub precision: Precision,
    /// Exact or integer multiplication.
    pub matmul: MatmulPath,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// T5 tokens.
    pub text_tokens: usize,
    /// Values of CLIP's and of T5's weights.
    pub encoder_values: [u64; 2],
    /// Values of the autoencoder's weights, both halves.
    pub vae_values: u64,
    /// Channels of the autoencoder at full resolution: 128 in FLUX.
    pub vae_channels: u64,
    /// Values of the transformer's weights.
    pub transformer_values: u64,
    /// Bytes of the transformer's weights as they are stored.
    pub transformer_bytes: u64,
    /// Whether they are dequantized once, at load.
    pub dense: bool,
    /// The transformer's dimensions.
    pub dimensions: Dimensions,
}

/// What one stage needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageNeed {
    /// The stage.
    pub stage: Stage,
    /// Weights that are copied into memory, in bytes.
    pub weights_bytes: u64,
    /// Weights that are read from the mapped file at each step, in bytes: they want to stay in the
    /// system's cache, or each step waits for the disk, but they cannot exhaust memory.
    pub mapped_bytes: u64,
    /// Intermediate values, in bytes.
    pub activation_bytes: u64,
}

impl StageNeed {
    /// What must be free, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.activation_bytes
    }
}

/// What all stages need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// In the order in which they run; only one of them is in memory at a time.
    pub stages: Vec<StageNeed>,
}

/// Encoders whose weights take more than this in float32 are kept in bfloat16.
pub(super) const F32_ENCODER_BYTES: u64 = 4 << 30;

/// Bytes that a text encoder of so many values takes.
fn encoder_bytes(values: u64) -> u64 {
    if values.saturating_mul(4) <= F32_ENCODER_BYTES {
        values * 4
    } else {
        values * 2
    }
}

impl MemoryRequest {
    /// Bytes of one activation.
    fn element(&self) -> u64 {
        if self.gpu && self.precision == Precision::Bf16 {
            2
        } else {
            4
        }
    }

    /// Plans every stage.
    pub fn plan(&self) -> MemoryPlan {
        let element = self.element();
        let pixels = u64::from(self.width) * u64::from(self.height);
        let tokens = pixels / 256 + self.text_tokens as u64;
        let text = self.text_tokens as u64;
        let [clip, t5] = self.encoder_values.map(encoder_bytes);
        // T5: scores of 64 heads and a layer's weights in float32 beside their stored form.
        let encode_text = 64 * text * text * 8 + text * 10_240 * 16 + (256 << 20).min(t5);
        // At full resolution three tensors of twice the first level's channels are held at once:
        // a block's input, its norm, and the activation of that.
        let plane = pixels * self.vae_channels;
        let vae_half = self.vae_values / 2 * element;
        let dims = &self.dimensions;
        let per_token = (14 * dims.hidden + 4 * dims.mlp) as u64;
        // A single-stream block holds queries, keys and values three times over, its wide first
        // product, the feed-forward part twice, and what goes into its second layer.
        let denoise = tokens * per_token * element + 2 * SCORE_BYTES as u64;
        let largest = (dims.hidden * (3 * dims.hidden + dims.mlp)) as u64;
        let integer = self.matmul == MatmulPath::Integer;
        let (weights_bytes, mapped_bytes, scratch) = match (self.gpu, integer, self.dense) {
            // candle keeps its packed copy beside the original.
            (true, true, _) => (2 * self.transformer_bytes, 0, 0),
            (_, false, true) => (self.transformer_values * element, 0, 0),
            // One matrix at a time is dequantized whole, in float32 and then rounded.
            (true, false, false) => (self.transformer_bytes, 0, largest * (4 + element)),
            // Multiplied by straight from the file; what is multiplied is laid out once more.
            (false, _, _) => {
                let laid_out = tokens * (dims.hidden + dims.mlp) as u64 * 4;
                (0, self.transformer_bytes, laid_out + (64 << 20))
            }
        };
        let need = |stage, weights_bytes, mapped_bytes, activation_bytes| StageNeed {
            stage,
            weights_bytes,
            mapped_bytes,
            activation_bytes,
        };
        MemoryPlan {
            stages: vec![
                need(Stage::EncodePrompts, clip.max(t5), 0, encode_text),
                need(Stage::EncodeImage, vae_half, 0, 4 * plane * element),
                need(
                    Stage::Denoise,
                    weights_bytes,
                    mapped_bytes,
                    denoise + scratch,
                ),
                // The transformer stays for the next cell.
                need(
                    Stage::Decode,
                    weights_bytes + vae_half,
                    mapped_bytes,
                    7 * plane * element,
                ),
            ],
        }
    }
}

/// `6.81 GB`; below a tenth of that unit `19.9 MB`.
fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e8 => format!("{:.2} GB", bytes / 1e9),
        bytes => format!("{:.1} MB", bytes / 1e6),
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::EncodePrompts => "embedding the prompts",
        Stage::EncodeImage => "encoding the picture",
        Stage::LoadTransformer => "loading the transformer",
        Stage::Denoise => "denoising",
        Stage::Decode => "decoding the picture",
    }
}

impl std::fmt::Display for StageNeed {
    /// `denoising: 1.20 GB, 0.00 GB of it weights; 6.81 GB more are read from the file`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {}, {} of it weights",
            name(self.stage),
            size(self.total_bytes()),
            size(self.weights_bytes)
        )?;
        if self.mapped_bytes > 0 {
            let mapped = size(self.mapped_bytes);
            write!(f, "; {mapped} more are read from the file")?;
        }
        Ok(())
    }
}

impl MemoryPlan {
    /// The plan of a run that does without a stage, such as embedding prompts that are known already.
    #[must_use]
    pub fn without(&self, stage: Stage) -> Self {
        let others = self.stages.iter().filter(|need| need.stage != stage);
        Self {
            stages: others.copied().collect(),
        }
    }

    /// The most that must be free at once, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let totals = self.stages.iter().map(StageNeed::total_bytes);
        totals.max().unwrap_or(0)
    }

    /// The stage that needs the most.
    fn largest(&self) -> Option<&StageNeed> {
        self.stages.iter().max_by_key(|s| s.total_bytes())
    }

    /// Refuses a run that would not fit.
    ///
    /// # Errors
    /// [`PipelineError::OutOfMemory`] with the figures and what would help.
    pub fn check(&self, available_bytes: u64) -> Result<()> {
        let Some(largest) = self.largest() else {
            return Ok(());
        };
        if largest.total_bytes() <= available_bytes {
            return Ok(());
        }
        let remedy = match largest.stage {
            Stage::EncodePrompts => "use another device, or one with more memory",
            _ if largest.weights_bytes > largest.activation_bytes => {
                "use a smaller quantization or another device"
            }
            _ => "use a smaller picture or another device",
        };
        Err(PipelineError::OutOfMemory(format!(
            "{} needs {} ({} for weights, {} for intermediate values) and {} are free; {remedy}",
            name(largest.stage),
            size(largest.total_bytes()),
            size(largest.weights_bytes),
            size(largest.activation_bytes),
            size(available_bytes),
        )))
    }

    /// A sentence for a run whose mapped weights will not stay in memory, and so will be read from
    /// the disk again at every step.
    pub fn disk_warning(&self, available_bytes: u64) -> Option<String> {
        let stage = self.stages.iter().max_by_key(|s| s.mapped_bytes)?;
        let wanted = stage.total_bytes() + stage.mapped_bytes;
        (stage.mapped_bytes > 0 && wanted > available_bytes).then(|| {
            format!(
                "the transformer's {} and {} of intermediate values exceed the {} that are free: every step will read from the disk",
                size(stage.mapped_bytes),
                size(stage.total_bytes()),
                size(available_bytes),
            )
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    /// The published model on an L4 at the default size.
    fn full(quant_bytes: u64) -> MemoryRequest {
        MemoryRequest {
            gpu: true,
            precision: Precision::Bf16,
            matmul: MatmulPath::Exact,
            width: 1024,
            height: 1024,
            text_tokens: 512,
            encoder_values: [123_060_480, 4_762_310_656],
            vae_values: 83_819_683,
            vae_channels: 128,
            transformer_values: 11_902_587_968,
            transformer_bytes: quant_bytes,
            dense: false,
            dimensions: Dimensions::flux_fill(),
        }
    }

    const L4: u64 = 22_500_000_000;

    #[test]
    fn every_published_quantization_fits_an_l4() {
        for bytes in [6_810_000_000, 8_290_000_000, 12_700_000_000] {
            full(bytes).plan().check(L4).unwrap();
        }
    }

    #[test]
    fn dense_bfloat16_does_not_fit_and_the_refusal_has_the_figures() {
        let dense = MemoryRequest {
            dense: true,
            ..full(12_700_000_000)
        };
        let error = dense.plan().check(L4).unwrap_err().to_string();
        for part in ["23.", "22.50 GB are free", "smaller quantization"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_q4_step_at_512_on_the_cpu_needs_under_20_gb_with_its_file() {
        let plan = MemoryRequest {
            gpu: false,
            precision: Precision::F32,
            width: 512,
            height: 512,
            ..full(6_810_000_000)
        }
        .plan();
        let denoise = plan.stages[2];
        assert_eq!(denoise.weights_bytes, 0);
        assert!(denoise.total_bytes() + denoise.mapped_bytes < 20_000_000_000);
        plan.check(20_000_000_000).unwrap();
        assert!(plan.disk_warning(20_000_000_000).is_none());
        let shown = denoise.to_string();
        assert!(shown.starts_with("denoising: "), "{shown}");
        assert!(
            shown.ends_with("6.81 GB more are read from the file"),
            "{shown}"
        );
        let warning = plan.disk_warning(7_000_000_000).unwrap();
        assert!(warning.contains("read from the disk"), "{warning}");
    }

    #[test]
    fn a_stage_that_is_not_needed_refuses_nothing() {
        let plan = MemoryRequest {
            gpu: false,
            precision: Precision::F32,
            width: 512,
            height: 512,
            ..full(6_810_000_000)
        }
        .plan();
        let error = plan.check(9_000_000_000).unwrap_err().to_string();
        assert!(
            error.contains("embedding the prompts needs 10.01 GB"),
            "{error}"
        );
        let known = plan.without(Stage::EncodePrompts);
        known.check(9_000_000_000).unwrap();
    }

    #[test]
    fn larger_pictures_and_longer_prompts_need_more() {
        let small = full(6_810_000_000);
        let peak = |request: &MemoryRequest| request.plan().stages[2].activation_bytes;
        let larger = MemoryRequest {
            width: 2048,
            ..small.clone()
        };
        let shorter = MemoryRequest {
            text_tokens: 128,
            ..small.clone()
        };
        assert!(peak(&larger) > peak(&small));
        assert!(peak(&shorter) < peak(&small));
    }
}
