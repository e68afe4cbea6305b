//! Linear layers over weights in any stored type: dense, decoded while they are multiplied by, or integer.
//!
//! All exact paths multiply by the same numbers; they differ in where the decoded weights are kept. Which
//! path ran is counted, not assumed. The loops of the CPU are in the crate `fill-audit-kernels`.

use super::device::MatmulPath;
use super::error::Result;
use super::weights::{MappedBytes, Weights};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{D, DType, Device, Module, Storage, Tensor};
use fill_audit_kernels::product::FEW_ROWS;
use fill_audit_kernels::{Arithmetic, Instructions, Matrix, StoredType, multiply};
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
    /// By integers: the activations are quantized too.
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
    /// Multiplied as integers on the CPU, straight from the file.
    Integer(StoredType, MappedBytes),
    Device(QTensor),
    DeviceInteger(QMatMul),
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
        let weight = if on_cpu && integer {
            Weight::Integer(stored_type, bytes)
        } else if integer || (!on_cpu && stored_type.is_quantized() && !plan.dense) {
            let data = bytes.bytes().to_vec().into();
            let storage = QStorage::from_data(data, &plan.device, ggml_type(stored_type))?;
            let quantized = QTensor::new(storage, (outputs, inputs))?;
            if integer {
                Weight::DeviceInteger(QMatMul::from_arc(Arc::new(quantized))?)
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
                let exact = Arithmetic::Exact {
                    rounds_to_bf16: self.dtype == DType::BF16,
                };
                self.multiply_stored(x, *stored_type, bytes.bytes(), exact)
            }
            Weight::Integer(stored_type, bytes) => {
                // The modulations have one row, which is multiplied exactly.
                let is_exact = x.dim(0)? < FEW_ROWS;
                count(if is_exact {
                    &self.counters.tiled
                } else {
                    &self.counters.integer
                });
                self.multiply_stored(x, *stored_type, bytes.bytes(), Arithmetic::Integer)
            }
            Weight::Device(quantized) => {
                count(&self.counters.device);
                let weight = quantized.dequantize(x.device())?.to_dtype(x.dtype())?;
                x.matmul(&weight.t()?)
            }
            Weight::DeviceInteger(quantized) => {
                count(&self.counters.integer);
                quantized.forward(&x.to_dtype(DType::F32)?)
            }
        }
    }

    /// The product by weights that are decoded, or taken apart, in the processor's cache.
    fn multiply_stored(
        &self,
        x: &Tensor,
        stored_type: StoredType,
        bytes: &[u8],
        arithmetic: Arithmetic,
    ) -> candle_core::Result<Tensor> {
        let rows = x.dim(0)?;
        let Some(matrix) = Matrix::new(stored_type, bytes, self.outputs, self.inputs) else {
            candle_core::bail!(
                "the weight is not {} by {} values of {}",
                self.outputs,
                self.inputs,
                stored_type.name()
            );
        };
        let x = x.to_dtype(DType::F32)?;
        let (storage, layout) = x.storage_and_layout();
        let (Storage::Cpu(values), Some((from, to))) = (&*storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("activations are not in order in the memory of the CPU");
        };
        let values = values.as_slice::<f32>()?.get(from..to).unwrap_or_default();
        let product = multiply(values, &matrix, arithmetic, Instructions::best());
        Tensor::from_vec(product, (rows, self.outputs), &Device::Cpu)
    }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use std::path::Path;

    fn layer(inputs: usize, outputs: usize, dense: bool, dtype: DType, path: MatmulPath) -> Linear {
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
        let weights = Weights::open(&bundle.join("flux1-fill-kq-Q5_K_S.gguf")).unwrap();
        let plan = LinearPlan {
            device: Device::Cpu,
            dtype,
            path,
            dense,
            counters: Arc::default(),
        };
        Linear::load(&weights, "single_blocks.0.linear1", inputs, outputs, &plan).unwrap()
    }

    fn rows(count: usize, inputs: usize) -> Tensor {
        let values: Vec<f32> = (0..count * inputs)
            .map(|i| (i as f32 * 0.7).sin())
            .collect();
        Tensor::from_vec(values, (count, inputs), &Device::Cpu).unwrap()
    }

    #[test]
    fn weights_in_the_file_multiply_as_their_dense_copy_does() {
        let (inputs, outputs) = (256, 1792);
        // One row, too few for panels, the first that are enough, more than a panel.
        for count in [1, FEW_ROWS - 1, FEW_ROWS, 100] {
            let x = rows(count, inputs);
            for dtype in [DType::F32, DType::BF16] {
                let exact = |dense| layer(inputs, outputs, dense, dtype, MatmulPath::Exact);
                let whole = exact(true).multiply(&x).unwrap().to_vec2::<f32>().unwrap();
                let stored = exact(false);
                assert!(matches!(stored.weight, Weight::Tiled(..)));
                let stored = stored.multiply(&x).unwrap().to_vec2::<f32>().unwrap();
                for (a, b) in stored.iter().flatten().zip(whole.iter().flatten()) {
                    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{count}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn integers_are_counted_where_they_ran_and_one_row_is_exact() {
        let (inputs, outputs) = (256, 1792);
        let integer = layer(inputs, outputs, false, DType::F32, MatmulPath::Integer);
        let exact = layer(inputs, outputs, true, DType::F32, MatmulPath::Exact);
        let off = |count| {
            let x = rows(count, inputs);
            let a = integer.multiply(&x).unwrap().to_vec2::<f32>().unwrap();
            let b = exact.multiply(&x).unwrap().to_vec2::<f32>().unwrap();
            let pairs = a.iter().flatten().zip(b.iter().flatten());
            let largest = b.iter().flatten().fold(0.0_f32, |max, b| max.max(b.abs()));
            pairs.fold(0.0_f32, |max, (a, b)| max.max((a - b).abs())) / largest
        };
        assert!(off(1) < 1e-6);
        assert_eq!(integer.counters.read().integer, 0);
        let many = off(64);
        assert!(many > 1e-5 && many < 1e-2, "{many}");
        assert_eq!(integer.counters.read().integer, 1);
    }
}
