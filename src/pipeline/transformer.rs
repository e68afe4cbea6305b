//! The FLUX.1-Fill transformer: 384 channels in, 64 out, in BFL's tensor names.
//!
//! Follows `src/flux/model.py` and `modules/layers.py` of <https://github.com/black-forest-labs/flux>
//! (commit 727e3a7), with diffusers' rounding of timesteps in bfloat16. Dimensions are read from
//! the tensors' shapes. Knows nothing of schedules or latents' meaning.

use super::dimensions::{Dimensions, TIME_CHANNELS};
use super::error::Result;
use super::linear::{Linear, LinearPlan, MatmulCounters};
use super::weights::Weights;
use candle_core::{D, DType, Device, IndexOp, Tensor};
use std::sync::Arc;

/// Two linear layers with an activation between.
struct Mlp(Linear, Linear);

impl Mlp {
    fn embedder(loader: &Loader<'_>, name: &str, inputs: usize, hidden: usize) -> Result<Self> {
        Ok(Self(
            loader.linear(&format!("{name}.in_layer"), inputs, hidden)?,
            loader.linear(&format!("{name}.out_layer"), hidden, hidden)?,
        ))
    }

    fn silu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.apply(&self.0)?.silu()?.apply(&self.1)?)
    }

    fn gelu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.apply(&self.0)?.gelu()?.apply(&self.1)?)
    }
}

/// RMS norms of queries and keys, over a head's channels.
struct HeadNorms {
    query: Tensor,
    key: Tensor,
}

/// One side (image or text) of a double-stream block.
struct Stream {
    modulation: Linear,
    qkv: Linear,
    norms: HeadNorms,
    proj: Linear,
    mlp: Mlp,
}

struct Double {
    img: Stream,
    txt: Stream,
}

struct Single {
    modulation: Linear,
    linear1: Linear,
    linear2: Linear,
    norms: HeadNorms,
}

struct Loader<'a> {
    weights: &'a Weights,
    plan: &'a LinearPlan,
    dims: &'a Dimensions,
}

impl Loader<'_> {
    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        Linear::load(self.weights, name, inputs, outputs, self.plan)
    }

    fn norms(&self, name: &str) -> Result<HeadNorms> {
        let scale = |which: &str| {
            self.weights.tensor(
                &format!("{name}.{which}_norm.scale"),
                &[self.dims.head_dim],
                self.plan.dtype,
                &self.plan.device,
            )
        };
        Ok(HeadNorms {
            query: scale("query")?,
            key: scale("key")?,
        })
    }

    fn stream(&self, prefix: &str, side: &str) -> Result<Stream> {
        let (hidden, mlp) = (self.dims.hidden, self.dims.mlp);
        let at = |part: &str| format!("{prefix}.{side}_{part}");
        Ok(Stream {
            modulation: self.linear(&at("mod.lin"), hidden, 6 * hidden)?,
            qkv: self.linear(&at("attn.qkv"), hidden, 3 * hidden)?,
            norms: self.norms(&at("attn.norm"))?,
            proj: self.linear(&at("attn.proj"), hidden, hidden)?,
            mlp: Mlp(
                self.linear(&at("mlp.0"), hidden, mlp)?,
                self.linear(&at("mlp.2"), mlp, hidden)?,
            ),
        })
    }

    fn single(&self, index: usize) -> Result<Single> {
        let (hidden, mlp) = (self.dims.hidden, self.dims.mlp);
        let prefix = format!("single_blocks.{index}");
        Ok(Single {
            modulation: self.linear(&format!("{prefix}.modulation.lin"), hidden, 3 * hidden)?,
            linear1: self.linear(&format!("{prefix}.linear1"), hidden, 3 * hidden + mlp)?,
            linear2: self.linear(&format!("{prefix}.linear2"), hidden + mlp, hidden)?,
            norms: self.norms(&format!("{prefix}.norm"))?,
        })
    }
}

/// Cosines and sines of every token's position, each (tokens, head / 2), in float32.
pub struct Positions {
    cos: Tensor,
    sin: Tensor,
}

impl Positions {
    /// For `text` tokens at the origin, then `rows` × `columns` image tokens. Angles are made in
    /// float64: in bfloat16 they would be off by up to 0.25 rad.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(
        text: usize,
        rows: usize,
        columns: usize,
        axes: [usize; 3],
        device: &Device,
    ) -> Result<Self> {
        let half = axes.iter().sum::<usize>() / 2;
        let tokens = text + rows * columns;
        let image = (0..rows).flat_map(|y| (0..columns).map(move |x| [0.0, y as f64, x as f64]));
        let ids = std::iter::repeat_n([0.0; 3], text).chain(image);
        let mut cos = Vec::with_capacity(tokens * half);
        let mut sin = Vec::with_capacity(tokens * half);
        for id in ids {
            for (position, channels) in id.into_iter().zip(axes) {
                for i in 0..channels / 2 {
                    let exponent = 2.0 * i as f64 / channels as f64;
                    let angle = position / 10_000_f64.powf(exponent);
                    cos.push(angle.cos() as f32);
                    sin.push(angle.sin() as f32);
                }
            }
        }
        Ok(Self {
            cos: Tensor::from_vec(cos, (tokens, half), device)?,
            sin: Tensor::from_vec(sin, (tokens, half), device)?,
        })
    }
}

/// Most bytes that one chunk of attention scores may take.
pub const SCORE_BYTES: usize = 128 << 20;

/// Queries a chunk, so that heads × chunk × keys scores stay under [`SCORE_BYTES`].
fn chunk_rows(heads: usize, keys: usize) -> usize {
    (SCORE_BYTES / (4 * heads * keys).max(1)).max(16)
}

/// Softmax attention over (1, heads, tokens, head) to (1, tokens, hidden); never holds the whole
/// score matrix.
///
/// # Errors
/// If shapes do not fit or memory runs out.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (_, heads, _, _) = q.dims4()?;
    attention_by(q, k, v, chunk_rows(heads, k.dim(2)?))
}

/// [`attention`] with so many queries a chunk.
fn attention_by(q: &Tensor, k: &Tensor, v: &Tensor, chunk: usize) -> Result<Tensor> {
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    let (_, _, tokens, _) = q.dims4()?;
    let keys = k.t()?;
    let v = v.contiguous()?;
    let parts = (0..tokens)
        .step_by(chunk)
        .map(|at| {
            let rows = chunk.min(tokens - at);
            // (1, heads, rows, keys)
            let scores = (q.narrow(2, at, rows)?.contiguous()?.matmul(&keys)? * scale)?;
            candle_nn::ops::softmax_last_dim(&scores)?.matmul(&v)
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    // (1, heads, tokens, head) -> (1, tokens, heads * head)
    Ok(Tensor::cat(&parts, 2)?.transpose(1, 2)?.flatten_from(2)?)
}

/// `parts` vectors (1, 1, hidden) of a modulation layer.
fn modulation(vec: &Tensor, layer: &Linear, parts: usize) -> Result<Vec<Tensor>> {
    Ok(vec
        .silu()?
        .apply(layer)?
        .unsqueeze(1)?
        .chunk(parts, D::Minus1)?)
}

fn rotated_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    at: &Positions,
    counters: &MatmulCounters,
) -> Result<Tensor> {
    let (_, heads, tokens, _) = q.dims4()?;
    counters.count_chunks(tokens.div_ceil(chunk_rows(heads, tokens)));
    let dtype = q.dtype();
    // On the CPU everything is multiplied in float32 anyway.
    let inner = if q.device().is_cpu() {
        DType::F32
    } else {
        dtype
    };
    let rotate = |x: &Tensor| {
        // In float32 whatever the activations are; FLUX pairs neighbouring channels.
        let x = x.to_dtype(DType::F32)?.contiguous()?;
        candle_nn::rotary_emb::rope_i(&x, &at.cos, &at.sin)?.to_dtype(inner)
    };
    let v = v.to_dtype(inner)?;
    Ok(attention(&rotate(q)?, &rotate(k)?, &v)?.to_dtype(dtype)?)
}

/// Rounds as a value of the activations' type would be.
fn rounded(value: f32, dtype: DType) -> f32 {
    if dtype == DType::BF16 {
        half::bf16::from_f32(value).to_f32()
    } else {
        value
    }
}

/// Sinusoidal embedding (1, 256) of a value that the caller has multiplied by 1000.
///
/// In float32 like the reference: at guidance 30 the angles reach 30,000, where float64 would give
/// other (if truer) numbers than those that the network was trained with.
fn sinusoidal(value: f32, dtype: DType, device: &Device) -> Result<Tensor> {
    let half = TIME_CHANNELS / 2;
    let angle = |i: usize| {
        let exponent = -(10_000_f64.ln() as f32) * i as f32 / half as f32;
        value * f64::from(exponent).exp() as f32
    };
    let cos = (0..half).map(|i| angle(i).cos());
    let sin = (0..half).map(|i| angle(i).sin());
    let values: Vec<f32> = cos.chain(sin).collect();
    Ok(Tensor::from_vec(values, (1, TIME_CHANNELS), device)?.to_dtype(dtype)?)
}

/// What one evaluation of the transformer is given.
pub struct Evaluation<'a> {
    /// Latents and conditioning, (1, image tokens, 384).
    pub img: &'a Tensor,
    /// The prompt's tokens, (1, text tokens, context).
    pub txt: &'a Tensor,
    /// The pooled prompt, (1, pooled).
    pub pooled: &'a Tensor,
    /// Positions of text and image tokens.
    pub positions: &'a Positions,
    /// The noise level, 0 to 1.
    pub sigma: f32,
    /// The guidance scale.
    pub guidance: f32,
}

/// A loaded transformer.
pub struct Transformer {
    dims: Dimensions,
    dtype: DType,
    img_in: Linear,
    txt_in: Linear,
    time_in: Mlp,
    vector_in: Mlp,
    guidance_in: Mlp,
    doubles: Vec<Double>,
    singles: Vec<Single>,
    final_modulation: Linear,
    final_linear: Linear,
    /// Weight and bias of the layer norms, which have none of their own.
    ones: Tensor,
    zeros: Tensor,
    counters: Arc<MatmulCounters>,
}

impl Transformer {
    /// Loads all layers. `between` is called after each block and may stop the loading.
    ///
    /// # Errors
    /// If a tensor is missing or has a wrong shape, memory runs out, or `between` says stop.
    pub fn load(
        weights: &Weights,
        dims: Dimensions,
        plan: &LinearPlan,
        between: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let hidden = dims.hidden;
        let loader = Loader {
            weights,
            plan,
            dims: &dims,
        };
        let mut doubles = Vec::with_capacity(dims.doubles);
        for i in 0..dims.doubles {
            let prefix = format!("double_blocks.{i}");
            doubles.push(Double {
                img: loader.stream(&prefix, "img")?,
                txt: loader.stream(&prefix, "txt")?,
            });
            between()?;
        }
        let mut singles = Vec::with_capacity(dims.singles);
        for i in 0..dims.singles {
            singles.push(loader.single(i)?);
            between()?;
        }
        Ok(Self {
            img_in: loader.linear("img_in", dims.in_channels, hidden)?,
            txt_in: loader.linear("txt_in", dims.context, hidden)?,
            time_in: Mlp::embedder(&loader, "time_in", TIME_CHANNELS, hidden)?,
            vector_in: Mlp::embedder(&loader, "vector_in", dims.pooled, hidden)?,
            guidance_in: Mlp::embedder(&loader, "guidance_in", TIME_CHANNELS, hidden)?,
            final_modulation: loader.linear(
                "final_layer.adaLN_modulation.1",
                hidden,
                2 * hidden,
            )?,
            final_linear: loader.linear("final_layer.linear", hidden, dims.out_channels)?,
            doubles,
            singles,
            ones: Tensor::ones(hidden, plan.dtype, &plan.device)?,
            zeros: Tensor::zeros(hidden, plan.dtype, &plan.device)?,
            dtype: plan.dtype,
            counters: Arc::clone(&plan.counters),
            dims,
        })
    }

    /// The dimensions that were read from the file.
    pub fn dimensions(&self) -> &Dimensions {
        &self.dims
    }

    /// The velocity (1, image tokens, 64). `between` is called after each block and may stop it.
    ///
    /// # Errors
    /// If inputs do not fit, memory runs out, or `between` says stop.
    pub fn forward(
        &self,
        given: &Evaluation<'_>,
        between: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Tensor> {
        let vec = self.condition(given)?;
        let mut img = given.img.apply(&self.img_in)?;
        let mut txt = given.txt.apply(&self.txt_in)?;
        let text_tokens = txt.dim(1)?;
        for block in &self.doubles {
            (img, txt) = self.double(block, &img, &txt, &vec, given.positions)?;
            between()?;
        }
        let mut x = Tensor::cat(&[&txt, &img], 1)?;
        drop((txt, img));
        for block in &self.singles {
            x = self.single(block, &x, &vec, given.positions)?;
            between()?;
        }
        let x = x.i((.., text_tokens.., ..))?;
        let m = modulation(&vec, &self.final_modulation, 2)?;
        Ok(self.modulate(&x, &m[0], &m[1])?.apply(&self.final_linear)?)
    }

    /// Time, guidance and pooled prompt in one vector (1, hidden).
    fn condition(&self, given: &Evaluation<'_>) -> Result<Tensor> {
        let device = given.img.device();
        // diffusers: the scheduler's timestep is 1000 sigma; it is rounded to the activations'
        // type, divided by 1000, and multiplied by 1000 again inside the model.
        let timestep = rounded(given.sigma * 1000.0, self.dtype);
        let timestep = rounded(rounded(timestep / 1000.0, self.dtype) * 1000.0, self.dtype);
        let guidance = rounded(rounded(given.guidance, self.dtype) * 1000.0, self.dtype);
        let time = self
            .time_in
            .silu(&sinusoidal(timestep, self.dtype, device)?)?;
        let guidance = self
            .guidance_in
            .silu(&sinusoidal(guidance, self.dtype, device)?)?;
        Ok(((time + guidance)? + self.vector_in.silu(given.pooled)?)?)
    }

    /// Layer norm without weights, then scale and shift.
    fn modulate(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let normed = candle_nn::ops::layer_norm(&x.contiguous()?, &self.ones, &self.zeros, 1e-6)?;
        Ok(normed
            .broadcast_mul(&(scale + 1.0)?)?
            .broadcast_add(shift)?)
    }

    /// (1, tokens, 3 hidden) to three of (1, heads, tokens, head), queries and keys normed.
    fn heads(&self, x: &Tensor, norms: &HeadNorms) -> Result<[Tensor; 3]> {
        let (batch, tokens, _) = x.dims3()?;
        let heads = self.dims.hidden / self.dims.head_dim;
        let x = x.reshape((batch, tokens, 3, heads, self.dims.head_dim))?;
        let part = |i: usize| x.i((.., .., i))?.transpose(1, 2)?.contiguous();
        Ok([
            candle_nn::ops::rms_norm(&part(0)?, &norms.query, 1e-6)?,
            candle_nn::ops::rms_norm(&part(1)?, &norms.key, 1e-6)?,
            part(2)?,
        ])
    }

    fn double(
        &self,
        block: &Double,
        img: &Tensor,
        txt: &Tensor,
        vec: &Tensor,
        positions: &Positions,
    ) -> Result<(Tensor, Tensor)> {
        let qkv = |stream: &Stream, x: &Tensor, m: &[Tensor]| {
            let x = self.modulate(x, &m[0], &m[1])?.apply(&stream.qkv)?;
            self.heads(&x, &stream.norms)
        };
        let img_mod = modulation(vec, &block.img.modulation, 6)?;
        let txt_mod = modulation(vec, &block.txt.modulation, 6)?;
        let i = qkv(&block.img, img, &img_mod)?;
        let t = qkv(&block.txt, txt, &txt_mod)?;
        let [q, k, v] = [0, 1, 2].map(|n| Tensor::cat(&[&t[n], &i[n]], 2));
        let attended = rotated_attention(&q?, &k?, &v?, positions, &self.counters)?;
        let text_tokens = txt.dim(1)?;
        let img_attended = attended.narrow(1, text_tokens, img.dim(1)?)?;
        let txt_attended = attended.narrow(1, 0, text_tokens)?;
        Ok((
            self.finish(&block.img, img, &img_attended, &img_mod)?,
            self.finish(&block.txt, txt, &txt_attended, &txt_mod)?,
        ))
    }

    /// The rest of a double block's side, after the attention.
    fn finish(&self, side: &Stream, x: &Tensor, attended: &Tensor, m: &[Tensor]) -> Result<Tensor> {
        let x = (x + attended.apply(&side.proj)?.broadcast_mul(&m[2])?)?;
        let y = side.mlp.gelu(&self.modulate(&x, &m[3], &m[4])?)?;
        Ok((x + y.broadcast_mul(&m[5])?)?)
    }

    fn single(
        &self,
        block: &Single,
        x: &Tensor,
        vec: &Tensor,
        positions: &Positions,
    ) -> Result<Tensor> {
        let m = modulation(vec, &block.modulation, 3)?;
        let (hidden, mlp) = (self.dims.hidden, self.dims.mlp);
        let y = self.modulate(x, &m[0], &m[1])?.apply(&block.linear1)?;
        let qkv = y.narrow(2, 0, 3 * hidden)?.contiguous()?;
        let [q, k, v] = self.heads(&qkv, &block.norms)?;
        let attended = rotated_attention(&q, &k, &v, positions, &self.counters)?;
        let inner = y.narrow(2, 3 * hidden, mlp)?.contiguous()?.gelu()?;
        let y = Tensor::cat(&[attended, inner], 2)?.apply(&block.linear2)?;
        Ok((x + y.broadcast_mul(&m[2])?)?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn wave(shape: (usize, usize, usize, usize), pitch: f32) -> Tensor {
        let count = shape.0 * shape.1 * shape.2 * shape.3;
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * pitch).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn attention_in_chunks_is_attention() {
        let shape = (1, 3, 37, 8);
        let (q, k, v) = (wave(shape, 0.7), wave(shape, 0.3), wave(shape, 1.1));
        let by = |chunk| {
            let x = attention_by(&q, &k, &v, chunk).unwrap();
            assert_eq!(x.dims(), [1, 37, 24]);
            x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let whole = by(37);
        for chunk in [1, 5, 36, 100] {
            for (a, b) in whole.iter().zip(by(chunk)) {
                assert!((a - b).abs() < 1e-6, "{chunk}: {a} {b}");
            }
        }
    }

    #[test]
    fn scores_stay_under_their_limit_at_full_size() {
        let tokens = 4096 + 512;
        let rows = chunk_rows(24, tokens);
        assert!(rows < tokens / 10);
        assert!(24 * rows * tokens * 4 <= SCORE_BYTES);
    }

    #[test]
    fn positions_of_text_do_not_turn_and_those_of_pixels_do() {
        let positions = Positions::new(2, 2, 3, [2, 4, 4], &Device::Cpu).unwrap();
        let sin = positions.sin.to_vec2::<f32>().unwrap();
        assert_eq!(sin.len(), 8);
        assert!(sin[..3].iter().flatten().all(|&s| s == 0.0));
        // Row 1, column 2: the second axis turns by 1, the third by 2.
        assert!((sin[7][1] - 1_f32.sin()).abs() < 1e-6);
        assert!((sin[7][3] - 2_f32.sin()).abs() < 1e-6);
    }
}
