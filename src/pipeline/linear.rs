//! Linear layers over weights in any stored type: dense, dequantized tile by tile, or integer.
//!
//! All exact paths multiply by the same numbers; they differ in where the dequantized weights are
//! kept. Which path ran is counted, not assumed.

use super::device::MatmulPath;
use super::error::Result;
use super::stored::StoredType;
use super::weights::{MappedBytes, Weights, decode_all};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{D, DType, Device, Module, Tensor};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often each kind of multiplication ran.
#[derive(Debug, Default)]
pub struct MatmulCounters {
    dense: AtomicU64,
    tiled: AtomicU64,
    device: AtomicU64,
    integer: AtomicU64,
    attention_chunks: AtomicU64,
}

/// A reading of the counters of matrix products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MatmulCounts {
    /// By weights that were dequantized once, at load.
    pub dense: u64,
    /// By weights that are dequantized tile by tile at each call, on the CPU.
    pub tiled: u64,
    /// By weights that are dequantized whole at each call, on a GPU.
    pub device: u64,
    /// By candle's integer kernels, which quantize the activations too.
    pub integer: u64,
    /// Chunks of queries in the transformer's attention.
    pub attention_chunks: u64,
}

impl MatmulCounts {
    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            dense: self.dense - earlier.dense,
            tiled: self.tiled - earlier.tiled,
            device: self.device - earlier.device,
            integer: self.integer - earlier.integer,
            attention_chunks: self.attention_chunks - earlier.attention_chunks,
        }
    }

    /// All products with weights.
    pub fn total(self) -> u64 {
        self.dense + self.tiled + self.device + self.integer
    }
}

impl MatmulCounters {
    /// How often each ran since the counters were made.
    pub fn read(&self) -> MatmulCounts {
        MatmulCounts {
            dense: self.dense.load(Ordering::Relaxed),
            tiled: self.tiled.load(Ordering::Relaxed),
            device: self.device.load(Ordering::Relaxed),
            integer: self.integer.load(Ordering::Relaxed),
            attention_chunks: self.attention_chunks.load(Ordering::Relaxed),
        }
    }

    /// Adds chunks of queries.
    pub fn count_chunks(&self, chunks: usize) {
        self.attention_chunks
            .fetch_add(chunks as u64, Ordering::Relaxed);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How the layers of one transformer are made.
#[derive(Clone)]
pub struct LinearPlan {
    /// Where they compute.
    pub device: Device,
    /// Type of the activations.
    pub dtype: DType,
    /// Exact or integer.
    pub path: MatmulPath,
    /// Whether exact weights are dequantized once, at load.
    pub dense: bool,
    /// Where calls are counted.
    pub counters: Arc<MatmulCounters>,
}

enum Weight {
    /// `[out, in]`, already rounded to the activations' type; float32 on the CPU.
    Dense(Tensor),
    Tiled(StoredType, MappedBytes),
    Device(QTensor),
    Integer(QMatMul),
}

/// `y = x Wᵀ + b`.
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
    inputs: usize,
    outputs: usize,
    dtype: DType,
    counters: Arc<MatmulCounters>,
}

/// candle's name for a stored type.
fn ggml_type(stored_type: StoredType) -> GgmlDType {
    match stored_type {
        StoredType::F32 => GgmlDType::F32,
        StoredType::F16 => GgmlDType::F16,
        StoredType::Bf16 => GgmlDType::BF16,
        StoredType::Q4_0 => GgmlDType::Q4_0,
        StoredType::Q4_1 => GgmlDType::Q4_1,
        StoredType::Q5_0 => GgmlDType::Q5_0,
        StoredType::Q5_1 => GgmlDType::Q5_1,
        StoredType::Q8_0 => GgmlDType::Q8_0,
        StoredType::Q2K => GgmlDType::Q2K,
        StoredType::Q3K => GgmlDType::Q3K,
        StoredType::Q4K => GgmlDType::Q4K,
        StoredType::Q5K => GgmlDType::Q5K,
        StoredType::Q6K => GgmlDType::Q6K,
    }
}

impl Linear {
    /// Loads `{name}.weight` of shape `[outputs, inputs]` and, if it is there, `{name}.bias`.
    ///
    /// # Errors
    /// If the weight is missing, a shape is wrong, or memory runs out.
    pub fn load(
        weights: &Weights,
        name: &str,
        inputs: usize,
        outputs: usize,
        plan: &LinearPlan,
    ) -> Result<Self> {
        let weight_name = format!("{name}.weight");
        let shape = [outputs, inputs];
        let (stored_type, bytes) = weights.stored(&weight_name, &shape)?;
        let on_cpu = plan.device.is_cpu();
        let integer = plan.path == MatmulPath::Integer && stored_type.is_quantized();
        let weight = if integer || (!on_cpu && stored_type.is_quantized() && !plan.dense) {
            let data = bytes.bytes().to_vec().into();
            let storage = QStorage::from_data(data, &plan.device, ggml_type(stored_type))?;
            let quantized = QTensor::new(storage, (outputs, inputs))?;
            if integer {
                Weight::Integer(QMatMul::from_arc(Arc::new(quantized))?)
            } else {
                Weight::Device(quantized)
            }
        } else if on_cpu && !plan.dense {
            Weight::Tiled(stored_type, bytes)
        } else {
            let rounded = weights.tensor(&weight_name, &shape, plan.dtype, &plan.device)?;
            Weight::Dense(if on_cpu {
                rounded.to_dtype(DType::F32)?
            } else {
                rounded
            })
        };
        let bias_name = format!("{name}.bias");
        let bias = if weights.contains(&bias_name) {
            Some(weights.tensor(&bias_name, &[outputs], plan.dtype, &plan.device)?)
        } else {
            None
        };
        Ok(Self {
            weight,
            bias,
            inputs,
            outputs,
            dtype: plan.dtype,
            counters: Arc::clone(&plan.counters),
        })
    }

    /// The product without the bias, of `x` (rows, inputs).
    fn multiply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match &self.weight {
            Weight::Dense(weight) => {
                count(&self.counters.dense);
                x.to_dtype(weight.dtype())?.matmul(&weight.t()?)
            }
            Weight::Tiled(stored_type, bytes) => {
                count(&self.counters.tiled);
                self.multiply_tiled(x, *stored_type, bytes.bytes(), TILE_BYTES)
            }
            Weight::Device(quantized) => {
                count(&self.counters.device);
                let weight = quantized.dequantize(x.device())?.to_dtype(x.dtype())?;
                x.matmul(&weight.t()?)
            }
            Weight::Integer(quantized) => {
                count(&self.counters.integer);
                quantized.forward(&x.to_dtype(DType::F32)?)
            }
        }
    }

    /// Decodes some rows of the weight on all cores, multiplies by them on all cores, and goes on
    /// to the next.
    fn multiply_tiled(
        &self,
        x: &Tensor,
        stored_type: StoredType,
        bytes: &[u8],
        tile_bytes: usize,
    ) -> candle_core::Result<Tensor> {
        let x = x.to_dtype(DType::F32)?;
        let (block_values, block_bytes) = stored_type.block();
        let row_bytes = self.inputs / block_values * block_bytes;
        let tile = (tile_bytes / (4 * self.inputs).max(1)).max(1);
        let products = bytes
            .chunks(tile * row_bytes)
            .map(|encoded| {
                let mut decoded = decode_all(stored_type, encoded);
                if self.dtype == DType::BF16 {
                    decoded
                        .par_iter_mut()
                        .for_each(|v| *v = half::bf16::from_f32(*v).to_f32());
                }
                let shape = (encoded.len() / row_bytes, self.inputs);
                x.matmul(&Tensor::from_vec(decoded, shape, &Device::Cpu)?.t()?)
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        Tensor::cat(&products, 1)
    }
}

/// Most bytes of weights that are held decoded. Smaller tiles would stay in the processor's cache,
/// but then the activations are laid out anew for each of them, which costs more.
const TILE_BYTES: usize = 32 << 20;

impl Module for Linear {
    /// `x`: (…, inputs) to (…, outputs), in the type of `x`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let rows = x.elem_count() / x.dim(D::Minus1)?;
        let flat = x.contiguous()?.reshape((rows, x.dim(D::Minus1)?))?;
        let product = self.multiply(&flat)?.to_dtype(x.dtype())?;
        let product = match &self.bias {
            Some(bias) => product.broadcast_add(&bias.to_dtype(x.dtype())?)?,
            None => product,
        };
        if let Some(last) = shape.last_mut() {
            *last = self.outputs;
        }
        product.reshape(shape)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_matrix_of_many_tiles_multiplies_as_its_dense_copy_does() {
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
        let weights = Weights::open(&bundle.join("flux1-fill-kq-Q5_K_S.gguf")).unwrap();
        let (name, inputs, outputs) = ("single_blocks.0.linear1", 256, 1792);
        let values: Vec<f32> = (0..3 * inputs).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = Tensor::from_vec(values, (3, inputs), &Device::Cpu).unwrap();
        let load = |dense, dtype| {
            let plan = LinearPlan {
                device: Device::Cpu,
                dtype,
                path: MatmulPath::Exact,
                dense,
                counters: Arc::default(),
            };
            Linear::load(&weights, name, inputs, outputs, &plan).unwrap()
        };
        for dtype in [DType::F32, DType::BF16] {
            let whole = load(true, dtype).multiply(&x).unwrap();
            let whole = whole.to_vec2::<f32>().unwrap();
            let layer = load(false, dtype);
            let Weight::Tiled(stored_type, bytes) = &layer.weight else {
                panic!("not tiled");
            };
            // One row a tile, some rows with a rest, all rows.
            for tile_bytes in [1, 100 * 4 * inputs, TILE_BYTES] {
                let tiled = layer
                    .multiply_tiled(&x, *stored_type, bytes.bytes(), tile_bytes)
                    .unwrap();
                let tiled = tiled.to_vec2::<f32>().unwrap();
                for (a, b) in tiled.iter().flatten().zip(whole.iter().flatten()) {
                    assert!(
                        (a - b).abs() <= 1e-5 * b.abs().max(1.0),
                        "{tile_bytes}: {a} {b}"
                    );
                }
            }
        }
    }
}
