//! What kind of transformer a file holds, and its dimensions, from names and shapes alone.

use super::error::{PipelineError, Result};
use super::weights::Weights;

/// Input embedders that some converters leave out.
pub const EMBEDDERS: [&str; 4] = ["img_in", "time_in", "vector_in", "guidance_in"];

/// Width of the sinusoidal embedding of times and guidances.
pub const TIME_CHANNELS: usize = 256;

/// What the shapes of a transformer's tensors say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions {
    /// Input channels: latents, masked latents and mask; 384.
    pub in_channels: usize,
    /// Output channels; 64.
    pub out_channels: usize,
    /// Width of the pooled prompt (CLIP).
    pub pooled: usize,
    /// Width of the prompt's tokens (T5).
    pub context: usize,
    /// Width of a token.
    pub hidden: usize,
    /// Width of the inner layer of the feed-forward parts.
    pub mlp: usize,
    /// Width of an attention head.
    pub head_dim: usize,
    /// Number of double-stream blocks.
    pub doubles: usize,
    /// Number of single-stream blocks.
    pub singles: usize,
    /// How the head's channels are shared between the three position axes.
    pub axes: [usize; 3],
}

impl Dimensions {
    /// Those of FLUX.1-Fill-dev: 12 billion weights.
    pub fn flux_fill() -> Self {
        Self {
            in_channels: 384,
            out_channels: 64,
            pooled: 768,
            context: 4096,
            hidden: 3072,
            mlp: 12_288,
            head_dim: 128,
            doubles: 19,
            singles: 38,
            axes: [16, 56, 56],
        }
    }

    /// Reads the dimensions from shapes; `axes_hints` are those that configuration files name, of
    /// which the first that adds up to the width of a head is taken.
    ///
    /// # Errors
    /// If the file holds another model, lacks embedders, or nobody says the position axes.
    pub(super) fn read(weights: &Weights, axes_hints: &[[usize; 3]]) -> Result<Self> {
        identify(weights)?;
        let missing: Vec<String> = EMBEDDERS
            .iter()
            .filter(|name| !weights.names().any(|n| in_module(n, name)))
            .map(|&name| name.to_owned())
            .collect();
        if !missing.is_empty() {
            return Err(PipelineError::MissingEmbedders {
                missing,
                path: weights.path().to_owned(),
            });
        }
        let (hidden, in_channels) = weights.matrix_shape("img_in.weight")?;
        let (out_channels, _) = weights.matrix_shape("final_layer.linear.weight")?;
        let (_, context) = weights.matrix_shape("txt_in.weight")?;
        let (_, pooled) = weights.matrix_shape("vector_in.in_layer.weight")?;
        let (mlp, _) = weights.matrix_shape("double_blocks.0.img_mlp.0.weight")?;
        let norm = weights.info("double_blocks.0.img_attn.norm.query_norm.scale")?;
        let head_dim = norm.shape.iter().product::<usize>();
        if in_channels != 2 * out_channels + 256 {
            return Err(PipelineError::ForeignArchitecture {
                found: format!("a FLUX transformer with {in_channels} input channels"),
                expected: format!("FLUX.1-Fill, which has {}", 2 * out_channels + 256),
                path: weights.path().to_owned(),
                remedy: "use a file made from FLUX.1-Fill-dev".to_owned(),
            });
        }
        if head_dim == 0 || !hidden.is_multiple_of(head_dim) || !head_dim.is_multiple_of(2) {
            return Err(PipelineError::bad_header(
                weights.path(),
                format!("heads of {head_dim} channels do not divide a width of {hidden}"),
            ));
        }
        let flux = [[16, 56, 56]];
        let axes = axes_hints
            .iter()
            .chain(&flux)
            .find(|axes| axes.iter().sum::<usize>() == head_dim && axes.iter().all(|a| a % 2 == 0))
            .copied()
            .ok_or_else(|| PipelineError::BadConfig {
                detail: format!(
                    "no axes_dims_rope adds up to the transformer's head width {head_dim} (found {axes_hints:?}); \
                     transformer/config.json should name it"
                ),
                path: weights.path().to_owned(),
            })?;
        Ok(Self {
            in_channels,
            out_channels,
            pooled,
            context,
            hidden,
            mlp,
            head_dim,
            doubles: blocks(weights, "double_blocks"),
            singles: blocks(weights, "single_blocks"),
            axes,
        })
    }

    /// Every tensor that a transformer of these dimensions has, with its shape.
    pub fn required(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, mlp, time) = (self.hidden, self.mlp, TIME_CHANNELS);
        let mut tensors = Vec::new();
        let mut linear = |name: String, inputs: usize, outputs: usize| {
            tensors.push((format!("{name}.weight"), vec![outputs, inputs]));
            tensors.push((format!("{name}.bias"), vec![outputs]));
        };
        linear("img_in".to_owned(), self.in_channels, hidden);
        linear("txt_in".to_owned(), self.context, hidden);
        let embedders = [
            ("time_in", time),
            ("guidance_in", time),
            ("vector_in", self.pooled),
        ];
        for (name, inputs) in embedders {
            linear(format!("{name}.in_layer"), inputs, hidden);
            linear(format!("{name}.out_layer"), hidden, hidden);
        }
        let last = "final_layer";
        linear(format!("{last}.adaLN_modulation.1"), hidden, 2 * hidden);
        linear(format!("{last}.linear"), hidden, self.out_channels);
        let mut norms = Vec::new();
        for i in 0..self.doubles {
            for side in ["img", "txt"] {
                let prefix = format!("double_blocks.{i}.{side}");
                linear(format!("{prefix}_mod.lin"), hidden, 6 * hidden);
                linear(format!("{prefix}_attn.qkv"), hidden, 3 * hidden);
                linear(format!("{prefix}_attn.proj"), hidden, hidden);
                linear(format!("{prefix}_mlp.0"), hidden, mlp);
                linear(format!("{prefix}_mlp.2"), mlp, hidden);
                norms.push(format!("{prefix}_attn.norm"));
            }
        }
        for i in 0..self.singles {
            let prefix = format!("single_blocks.{i}");
            linear(format!("{prefix}.modulation.lin"), hidden, 3 * hidden);
            linear(format!("{prefix}.linear1"), hidden, 3 * hidden + mlp);
            linear(format!("{prefix}.linear2"), hidden + mlp, hidden);
            norms.push(format!("{prefix}.norm"));
        }
        for norm in norms {
            for which in ["query", "key"] {
                tensors.push((format!("{norm}.{which}_norm.scale"), vec![self.head_dim]));
            }
        }
        tensors
    }
}

/// Whether the tensor `name` belongs to `module`.
pub fn in_module(name: &str, module: &str) -> bool {
    name.strip_prefix(module)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// How many blocks of a kind there are, counted from 0 without a gap.
pub fn blocks(weights: &Weights, kind: &str) -> usize {
    let mut count = 0;
    while weights
        .names()
        .any(|name| in_module(name, &format!("{kind}.{count}")))
    {
        count += 1;
    }
    count
}

/// Refuses what is not a FLUX transformer in BFL's names.
fn identify(weights: &Weights) -> Result<()> {
    let foreign = |found: String, remedy: &str| {
        Err(PipelineError::ForeignArchitecture {
            found,
            expected: "a FLUX.1-Fill transformer".to_owned(),
            path: weights.path().to_owned(),
            remedy: remedy.to_owned(),
        })
    };
    let other_file = "choose a file such as flux1-fill-dev-Q4_0.gguf";
    match weights.architecture() {
        None | Some("flux") => {}
        Some(other) => return foreign(format!("a {other} model"), other_file),
    }
    if weights.contains("double_blocks.0.img_attn.qkv.weight") {
        return Ok(());
    }
    let any = |prefix: &str| weights.names().any(|name| name.starts_with(prefix));
    if any("transformer_blocks.") {
        return foreign(
            "a transformer in diffusers' tensor names".to_owned(),
            "use flux1-fill-dev.safetensors from the repository's top folder",
        );
    }
    if any("enc.blk.") || any("encoder.block.") {
        return foreign("a text encoder".to_owned(), other_file);
    }
    if any("decoder.") && any("encoder.") {
        return foreign("an autoencoder".to_owned(), other_file);
    }
    let first: Vec<&str> = weights.names().take(3).collect();
    foreign(
        format!("an unknown model with tensors such as {first:?}"),
        other_file,
    )
}
