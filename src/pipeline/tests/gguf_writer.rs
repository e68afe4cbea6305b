//! A writer of GGUF files for tests, which can also write wrong ones.

use crate::pipeline::weights::{Weights, decode_all};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use fill_audit_kernels::StoredType;
use std::path::Path;

/// A tensor as it will stand in the file.
pub struct Entry {
    pub name: String,
    /// Slowest dimension first, as everywhere but in GGUF itself.
    pub shape: Vec<usize>,
    pub kind: u32,
    pub bytes: Vec<u8>,
}

/// GGUF's number, candle's name.
pub const KINDS: [(u32, GgmlDType); 8] = [
    (0, GgmlDType::F32),
    (1, GgmlDType::F16),
    (2, GgmlDType::Q4_0),
    (8, GgmlDType::Q8_0),
    (12, GgmlDType::Q4K),
    (13, GgmlDType::Q5K),
    (14, GgmlDType::Q6K),
    (30, GgmlDType::BF16),
];

impl Entry {
    /// Encodes values as candle would.
    pub fn encoded(name: &str, shape: &[usize], kind: u32, values: Vec<f32>) -> Self {
        let dense = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let dtype = KINDS.iter().find(|k| k.0 == kind).unwrap().1;
        let quantized = QTensor::quantize(&dense, dtype).unwrap();
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            kind,
            bytes: quantized.data().unwrap().into_owned(),
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

/// A whole file of version 3 with alignment 32.
pub fn gguf(architecture: &str, entries: &[Entry]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    out.extend(2_u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8_u32.to_le_bytes());
    text(&mut out, architecture);
    // An array, which has to be stepped over.
    text(&mut out, "test.list");
    out.extend(9_u32.to_le_bytes());
    out.extend(8_u32.to_le_bytes());
    out.extend(2_u64.to_le_bytes());
    text(&mut out, "one");
    text(&mut out, "two");
    let mut offset = 0_u64;
    for entry in entries {
        text(&mut out, &entry.name);
        out.extend((entry.shape.len() as u32).to_le_bytes());
        for dim in entry.shape.iter().rev() {
            out.extend((*dim as u64).to_le_bytes());
        }
        out.extend(entry.kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += (entry.bytes.len() as u64).next_multiple_of(32);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    for entry in entries {
        out.extend(&entry.bytes);
        out.resize(out.len().next_multiple_of(32), 0);
    }
    out
}

/// All tensors of a file, re-encoded: one-dimensional ones as F32, others as `kind` says by name.
pub fn reencoded(path: &Path, kind: impl Fn(&str) -> u32) -> Vec<Entry> {
    let weights = Weights::open(path).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    names
        .iter()
        .map(|name| {
            let info = weights.info(name).unwrap().clone();
            let (stored, bytes) = weights.stored(name, &info.shape).unwrap();
            let values = decode_all(stored, bytes.bytes());
            let kind = if info.shape.len() == 1 { 0 } else { kind(name) };
            Entry::encoded(name, &info.shape, kind, values)
        })
        .collect()
}

/// The bytes of a tensor in a file, as they stand there.
pub fn copied(path: &Path) -> Vec<Entry> {
    let weights = Weights::open(path).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    names
        .iter()
        .map(|name| {
            let info = weights.info(name).unwrap().clone();
            let (stored, bytes) = weights.stored(name, &info.shape).unwrap();
            Entry {
                name: name.clone(),
                shape: info.shape,
                kind: number(stored),
                bytes: bytes.bytes().to_vec(),
            }
        })
        .collect()
}

fn number(stored: StoredType) -> u32 {
    (0..64)
        .find(|&n| StoredType::from_gguf(n) == Some(stored))
        .unwrap()
}
