//! The header of a GGUF file, read with every count and offset checked against the file's size.
//!
//! Follows <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Works on bytes that are
//! mapped, never allocates more than the header could hold, and knows nothing of FLUX.

use super::error::{PipelineError, Result};
use super::weights::StoredTensor;
use fill_audit_kernels::StoredType;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A metadata value, as far as this program needs them.
#[derive(Debug, Clone, PartialEq)]
pub enum MetaValue {
    /// Any integer type or bool.
    Integer(i128),
    /// Either float type.
    Float(f64),
    /// UTF-8, lossily.
    Text(String),
    /// An array of this many values, not kept.
    Array(u64),
}

/// A parsed header: metadata and where each tensor's bytes are in the file.
#[derive(Debug)]
pub struct GgufHeader {
    /// Metadata by key.
    pub meta: BTreeMap<String, MetaValue>,
    /// Tensors by the name that the file uses.
    pub tensors: BTreeMap<String, StoredTensor>,
}

impl GgufHeader {
    /// `general.architecture`, such as `flux`.
    pub fn architecture(&self) -> Option<&str> {
        match self.meta.get("general.architecture") {
            Some(MetaValue::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// Longest key, tensor name and text that are believed; the format itself allows 65535 for keys.
const MAX_NAME: u64 = 65_535;
/// Arrays of arrays are legal but unknown in practice.
const MAX_DEPTH: usize = 4;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8]> {
        let available = self.left();
        if len > available {
            return Err(PipelineError::truncated(
                self.path,
                format!(
                    "{what} needs {len} bytes at offset {} and {available} are there",
                    self.at
                ),
            ));
        }
        let end = self.at + len as usize;
        let taken = self.bytes.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A number of things of which each takes at least `each` bytes of what is left.
    fn count(&mut self, what: &str, each: u64) -> Result<u64> {
        let count = self.u64(what)?;
        match count.checked_mul(each) {
            Some(total) if total <= self.left() => Ok(count),
            _ => Err(PipelineError::truncated(
                self.path,
                format!("{what} is {count} and {} bytes are left", self.left()),
            )),
        }
    }

    fn text(&mut self, what: &str, limit: u64) -> Result<String> {
        let len = self.u64(what)?;
        if len > limit {
            return Err(PipelineError::bad_header(
                self.path,
                format!("{what} has a length of {len}, more than {limit}"),
            ));
        }
        Ok(String::from_utf8_lossy(self.take(len, what)?).into_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<MetaValue> {
        let what = "a metadata value";
        Ok(match kind {
            0 => MetaValue::Integer(i128::from(u8::from_le_bytes(self.array(what)?))),
            1 => MetaValue::Integer(i128::from(i8::from_le_bytes(self.array(what)?))),
            2 => MetaValue::Integer(i128::from(u16::from_le_bytes(self.array(what)?))),
            3 => MetaValue::Integer(i128::from(i16::from_le_bytes(self.array(what)?))),
            4 => MetaValue::Integer(i128::from(self.u32(what)?)),
            5 => MetaValue::Integer(i128::from(i32::from_le_bytes(self.array(what)?))),
            6 => MetaValue::Float(f64::from(f32::from_le_bytes(self.array(what)?))),
            7 => MetaValue::Integer(i128::from(self.array::<1>(what)?[0] != 0)),
            8 => {
                let limit = self.left();
                MetaValue::Text(self.text("a metadata text", limit)?)
            }
            9 => {
                let item = self.u32("an array's type")?;
                let size = match item {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    8..=12 => 8,
                    _ => {
                        return Err(PipelineError::bad_header(
                            self.path,
                            format!("an array's items have the unknown type {item}"),
                        ));
                    }
                };
                let count = self.count("an array's length", size)?;
                match item {
                    8 | 9 if depth >= MAX_DEPTH => {
                        return Err(PipelineError::bad_header(
                            self.path,
                            format!("arrays are nested deeper than {MAX_DEPTH}"),
                        ));
                    }
                    8 => {
                        for _ in 0..count {
                            let len = self.u64("a text's length")?;
                            self.take(len, "a text in an array")?;
                        }
                    }
                    9 => {
                        for _ in 0..count {
                            self.value(9, depth + 1)?;
                        }
                    }
                    _ => {
                        self.take(count * size, "an array")?;
                    }
                }
                MetaValue::Array(count)
            }
            10 => MetaValue::Integer(i128::from(self.u64(what)?)),
            11 => MetaValue::Integer(i128::from(i64::from_le_bytes(self.array(what)?))),
            12 => MetaValue::Float(f64::from_le_bytes(self.array(what)?)),
            _ => {
                return Err(PipelineError::bad_header(
                    self.path,
                    format!("a metadata value has the unknown type {kind}"),
                ));
            }
        })
    }
}

/// What a tensor's entry says, before its place is checked.
struct Entry {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

fn entry(reader: &mut Reader<'_>) -> Result<Entry> {
    let path = reader.path;
    let name = reader.text("a tensor's name", MAX_NAME)?;
    let dims = reader.u32("a tensor's number of dimensions")?;
    if dims == 0 || dims > 4 {
        return Err(PipelineError::bad_header(
            path,
            format!("tensor {name} has {dims} dimensions, expected 1 to 4"),
        ));
    }
    let mut shape = Vec::with_capacity(4);
    for _ in 0..dims {
        let dim = reader.u64("a tensor's dimension")?;
        shape.push(usize::try_from(dim).unwrap_or(usize::MAX));
    }
    // GGUF writes the fastest dimension first.
    shape.reverse();
    let kind = reader.u32("a tensor's type")?;
    let offset = reader.u64("a tensor's offset")?;
    Ok(Entry {
        name,
        shape,
        kind,
        offset,
    })
}

/// Reads a header and places every tensor inside `bytes`, the whole file.
///
/// # Errors
/// If it is no GGUF file of version 2 or 3, is truncated, or contradicts itself.
pub fn read_header(bytes: &[u8], path: &Path) -> Result<GgufHeader> {
    let mut reader = Reader { bytes, at: 0, path };
    if reader.array::<4>("the magic")? != *b"GGUF" {
        return Err(PipelineError::bad_header(
            path,
            "it does not begin with GGUF",
        ));
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(PipelineError::bad_header(
            path,
            format!("GGUF version {version}, expected 2 or 3 (little-endian)"),
        ));
    }
    // A tensor entry takes at least 8 + 4 + 8 + 4 + 8 bytes, a metadata entry 8 + 4 + 1.
    let tensor_count = reader.count("the number of tensors", 32)?;
    let meta_count = reader.count("the number of metadata entries", 13)?;
    let mut meta = BTreeMap::new();
    for _ in 0..meta_count {
        let key = reader.text("a metadata key", MAX_NAME)?;
        let kind = reader.u32("a metadata type")?;
        let value = reader.value(kind, 0)?;
        meta.insert(key, value);
    }
    let entries = (0..tensor_count)
        .map(|_| entry(&mut reader))
        .collect::<Result<Vec<_>>>()?;

    let alignment = match meta.get("general.alignment") {
        None => 32,
        Some(MetaValue::Integer(value))
            if (1..=65_536).contains(value) && value.count_ones() == 1 =>
        {
            *value as u64
        }
        Some(other) => {
            return Err(PipelineError::bad_header(
                path,
                format!("general.alignment is {other:?}, expected a power of two up to 65536"),
            ));
        }
    };
    let data_start = (reader.at as u64).next_multiple_of(alignment);
    let tensors = place(entries, data_start, alignment, bytes.len() as u64, path)?;
    Ok(GgufHeader { meta, tensors })
}

fn place(
    entries: Vec<Entry>,
    data_start: u64,
    alignment: u64,
    file_len: u64,
    path: &Path,
) -> Result<BTreeMap<String, StoredTensor>> {
    let mut tensors = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for Entry {
        name,
        shape,
        kind,
        offset,
    } in entries
    {
        let Some(stored_type) = StoredType::from_gguf(kind) else {
            return Err(PipelineError::UnsupportedType {
                tensor: name,
                kind: format!("GGUF type {kind}"),
                path: path.to_owned(),
            });
        };
        let size = stored_type.size_bytes(&shape).ok_or_else(|| {
            PipelineError::bad_header(
                path,
                format!(
                    "tensor {name} cannot have shape {shape:?} as {}",
                    stored_type.name()
                ),
            )
        })?;
        if !offset.is_multiple_of(alignment) {
            return Err(PipelineError::bad_header(
                path,
                format!("tensor {name} is at {offset}, which is no multiple of {alignment}"),
            ));
        }
        let end = data_start
            .checked_add(offset)
            .and_then(|start| start.checked_add(size));
        if end.is_none_or(|end| end > file_len) {
            return Err(PipelineError::truncated(
                path,
                format!(
                    "tensor {name} needs {size} bytes at {data_start} + {offset} and the file has {file_len}"
                ),
            ));
        }
        if !taken.insert(offset) {
            return Err(PipelineError::bad_header(
                path,
                format!("tensor {name} begins where another one does"),
            ));
        }
        let start = (data_start + offset) as usize;
        let stored = StoredTensor {
            stored_type,
            shape,
            range: start..start + size as usize,
        };
        if tensors.insert(name.clone(), stored).is_some() {
            return Err(PipelineError::bad_header(
                path,
                format!("tensor {name} is there twice"),
            ));
        }
    }
    Ok(tensors)
}
