//! Linear layers over weights in any stored type: dense, dequantized tile by tile, or integer.
//!
//! All exact paths multiply by the same numbers; they differ in where the dequantized weights are
//! kept. Which path ran is counted, not assumed.

use super::device::MatmulPath;
use super::error::Result;
use super::stored::StoredType;
use super::weights::{MappedBytes, Weights};
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

/// A reading of [`MatmulCounters`].
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
                self.multiply_tiled(x, *stored_type, bytes.bytes())
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

    /// Decodes some rows of the weight, multiplies by them, and goes on to the next, on all cores.
    ///
    /// The transposed product is made, so that each tile of weight rows gives rows that lie
    /// together in the result.
    fn multiply_tiled(
        &self,
        x: &Tensor,
        stored_type: StoredType,
        bytes: &[u8],
    ) -> candle_core::Result<Tensor> {
        let rows = x.dim(0)?;
        // (inputs, rows)
        let columns = x.to_dtype(DType::F32)?.t()?;
        let (block_values, block_bytes) = stored_type.block();
        let row_bytes = self.inputs / block_values * block_bytes;
        let tile = tile_rows(self.inputs, self.outputs);
        let mut product = vec![0_f32; self.outputs * rows];
        product
            .par_chunks_mut(tile * rows)
            .zip(bytes.par_chunks(tile * row_bytes))
            .try_for_each(|(out, encoded)| {
                let tile = out.len() / rows;
                let mut decoded = vec![0_f32; tile * self.inputs];
                stored_type.decode(encoded, &mut decoded);
                if self.dtype == DType::BF16 {
                    for value in &mut decoded {
                        *value = half::bf16::from_f32(*value).to_f32();
                    }
                }
                let decoded = Tensor::from_vec(decoded, (tile, self.inputs), &Device::Cpu)?;
                let made = decoded.matmul(&columns)?.flatten_all()?.to_vec1::<f32>()?;
                out.copy_from_slice(&made);
                candle_core::Result::Ok(())
            })?;
        Tensor::from_vec(product, (self.outputs, rows), &Device::Cpu)?
            .t()?
            .contiguous()
    }
}

/// Weight rows that are decoded together: about 1 MiB of float32, which stays in a core's cache,
/// and few enough that every core has some.
fn tile_rows(inputs: usize, outputs: usize) -> usize {
    let by_cache = (262_144 / inputs.max(1)).max(8);
    let by_cores = outputs.div_ceil(rayon::current_num_threads()).max(1);
    by_cache.min(by_cores)
}

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
