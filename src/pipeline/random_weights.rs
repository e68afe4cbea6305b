//! Writes a GGUF transformer of any size with random weights, to measure and to test with.
//!
//! Speed and memory do not depend on what the weights say, so a file of full size can be had
//! without fetching one. Layout and mixture of types are those of the community's converter:
//! vectors in F32, the embedders and the last layer in BF16, all other matrices quantized.

use super::dimensions::Dimensions;
use super::error::{PipelineError, Result};
use fill_audit_kernels::StoredType;
use half::{bf16, f16};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Standard deviation of the weights, about that of a trained layer 3072 wide.
const DEVIATION: f32 = 0.02;
const ALIGNMENT: u64 = 32;
/// Modules whose matrices keep the source's type.
const KEPT: [&str; 6] = [
    "img_in",
    "txt_in",
    "time_in",
    "vector_in",
    "guidance_in",
    "final_layer",
];

/// Marsaglia's xorshift64*: quick, and good enough for weights that mean nothing.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next().to_le_bytes();
            chunk.copy_from_slice(random.get(..chunk.len()).unwrap_or_default());
        }
    }

    /// Uniform, of standard deviation [`DEVIATION`].
    fn weight(&mut self) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
        unit * DEVIATION * 3_f32.sqrt()
    }
}

/// One block of random values, of about the right size.
fn write_block(kind: StoredType, block: &mut [u8], random: &mut Random) {
    random.fill(block);
    let mut scale = |at: usize, value: f32| {
        let bytes = f16::from_f32(value).to_le_bytes();
        if let Some(place) = block.get_mut(at..at + 2) {
            place.copy_from_slice(&bytes);
        }
    };
    match kind {
        // Values (q - 8) d of a uniform q have a deviation of 4.6 d; of i8 74 d.
        StoredType::Q4_0 => scale(0, DEVIATION / 4.6),
        StoredType::Q8_0 => scale(0, DEVIATION / 74.0),
        // Values d s q - m n with s, n below 64 and q below 32: mean 0, deviation about 650 d.
        StoredType::Q5K => {
            scale(0, DEVIATION / 650.0);
            scale(2, 15.5 * DEVIATION / 650.0);
        }
        StoredType::Bf16 => {
            let value = bf16::from_f32(random.weight()).to_le_bytes();
            block.copy_from_slice(&value);
        }
        _ => block.copy_from_slice(&random.weight().to_le_bytes()),
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

/// Writes a transformer with random weights; `quant` is `Q4_0`, `Q5_K_S` or `Q8_0`. The same seed
/// gives the same file.
///
/// # Errors
/// If the quantization is another one, or the file cannot be written.
pub fn write_random_transformer(
    path: &Path,
    dims: &Dimensions,
    quant: &str,
    seed: u64,
) -> Result<()> {
    let (kind, number) = match quant {
        "Q4_0" => (StoredType::Q4_0, 2_u32),
        "Q8_0" => (StoredType::Q8_0, 8),
        "Q5_K_S" => (StoredType::Q5K, 13),
        other => {
            return Err(PipelineError::BadInput(format!(
                "random weights in {other}: expected Q4_0, Q5_K_S or Q8_0"
            )));
        }
    };
    let mut tensors = Vec::new();
    for (name, shape) in dims.required() {
        let kept = KEPT.iter().any(|m| super::dimensions::in_module(&name, m));
        let (kind, number) = match shape.len() {
            1 => (StoredType::F32, 0),
            _ if kept => (StoredType::Bf16, 30),
            _ => (kind, number),
        };
        let size = kind.size_bytes(&shape).ok_or_else(|| {
            PipelineError::BadInput(format!("{name} of shape {shape:?} cannot be {quant}"))
        })?;
        tensors.push((name, shape, kind, number, size));
    }

    let mut header = b"GGUF".to_vec();
    header.extend(3_u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    text(&mut header, "general.architecture");
    header.extend(8_u32.to_le_bytes());
    text(&mut header, "flux");
    let mut offset = 0_u64;
    for (name, shape, _, number, size) in &tensors {
        text(&mut header, name);
        header.extend((shape.len() as u32).to_le_bytes());
        for dim in shape.iter().rev() {
            header.extend((*dim as u64).to_le_bytes());
        }
        header.extend(number.to_le_bytes());
        header.extend(offset.to_le_bytes());
        offset += size.next_multiple_of(ALIGNMENT);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);

    let file = File::create(path).map_err(PipelineError::io("creating", path))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut random = Random(seed | 1);
    let mut write = |bytes: &[u8]| {
        out.write_all(bytes)
            .map_err(PipelineError::io("writing", path))
    };
    write(&header)?;
    for (name, _, kind, _, size) in &tensors {
        let mut block = vec![0_u8; kind.block().1];
        for _ in 0..size / block.len() as u64 {
            if name.contains("_norm.scale") {
                block.copy_from_slice(&1_f32.to_le_bytes());
            } else {
                write_block(*kind, &mut block, &mut random);
            }
            write(&block)?;
        }
        let padding = size.next_multiple_of(ALIGNMENT) - size;
        write(&vec![0; padding as usize])?;
    }
    out.flush().map_err(PipelineError::io("writing", path))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use crate::pipeline::weights::{Weights, decode_all};

    #[test]
    fn random_weights_are_a_transformer_of_the_size_that_was_asked_for() {
        let dims = Dimensions {
            hidden: 256,
            mlp: 1024,
            head_dim: 128,
            context: 512,
            pooled: 64,
            doubles: 1,
            singles: 2,
            ..Dimensions::flux_fill()
        };
        let dir = tempfile::tempdir().unwrap();
        for quant in ["Q4_0", "Q5_K_S", "Q8_0"] {
            let path = dir.path().join(format!("flux1-fill-random-{quant}.gguf"));
            write_random_transformer(&path, &dims, quant, 7).unwrap();
            let weights = Weights::open(&path).unwrap();
            assert_eq!(Dimensions::read(&weights, &[]).unwrap(), dims);
            let name = "single_blocks.1.linear1.weight";
            let shape = weights.info(name).unwrap().shape.clone();
            let (kind, bytes) = weights.stored(name, &shape).unwrap();
            let values = decode_all(kind, bytes.bytes());
            let count = values.len() as f32;
            let mean = values.iter().sum::<f32>() / count;
            let deviation = (values.iter().map(|v| v * v).sum::<f32>() / count).sqrt();
            assert!(mean.abs() < 0.005, "{quant}: mean {mean}");
            assert!(
                (0.01..0.04).contains(&deviation),
                "{quant}: deviation {deviation}"
            );
        }
        let error = write_random_transformer(dir.path(), &dims, "Q2_K", 7).unwrap_err();
        assert!(error.to_string().contains("expected Q4_0"), "{error}");
    }
}
