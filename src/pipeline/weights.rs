//! Weight files as one set of named tensors, whatever they are stored in.
//!
//! GGUF and safetensors are mapped, never read whole; shards and split files are joined. Tensors
//! are handed out decoded on the CPU or a device. Knows names, shapes and types; not what a
//! tensor is for.

use super::error::{PipelineError, Result};
use super::gguf;
use candle_core::{DType, Device, Shape, Tensor};
use fill_audit_kernels::StoredType;
use memmap2::Mmap;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A tensor in a file: its type, its shape (slowest dimension first) and its bytes' place.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// The encoding.
    pub stored_type: StoredType,
    /// Rows first: `[out, in]` of a linear layer.
    pub shape: Vec<usize>,
    /// Bytes in the file; always inside it, and of the length that type and shape require.
    pub range: Range<usize>,
}

/// Bytes of a mapped file; cheap to clone.
#[derive(Clone)]
pub struct MappedBytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl MappedBytes {
    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        self.map.get(self.range.clone()).unwrap_or_default()
    }
}

/// Maps a file for reading.
///
/// # Errors
/// If it cannot be opened or mapped, or is empty.
fn map_file(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(PipelineError::io("opening", path))?;
    let len = file
        .metadata()
        .map_err(PipelineError::io("reading", path))?
        .len();
    if len == 0 {
        return Err(PipelineError::truncated(path, "it is empty"));
    }
    #[expect(
        unsafe_code,
        reason = "mapping is what keeps a 12 GB file out of memory"
    )]
    // SAFETY: weight files are written once and moved into place; one that another process cuts
    // while it is mapped ends this process, as it does in every program that maps weights. No
    // typed view is made of the bytes: they are decoded value by value.
    let map = unsafe { Mmap::map(&file) };
    map.map_err(PipelineError::io("mapping", path))
}

struct Part {
    path: PathBuf,
    map: Arc<Mmap>,
}

/// A set of named tensors from one or more files.
pub struct Weights {
    parts: Vec<Part>,
    index: BTreeMap<String, (usize, StoredTensor)>,
    /// `general.architecture` of a GGUF file.
    architecture: Option<String>,
    /// Where each absent embedder may be said to be missing from: the first file.
    path: PathBuf,
}

/// Tensors of a checkpoint for `ComfyUI` carry this prefix.
const COMFY_PREFIX: &str = "model.diffusion_model.";

impl Weights {
    /// Opens one file, or all files of a split GGUF when given its first.
    ///
    /// # Errors
    /// If a file is missing, truncated, malformed, or of a type that cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_all(&split_files(path)?)
    }

    /// Opens several files as one set, such as the shards of a text encoder.
    ///
    /// # Errors
    /// As [`Weights::open`], and if two files have a tensor of the same name.
    pub fn open_all(paths: &[PathBuf]) -> Result<Self> {
        let first = paths.first().cloned().unwrap_or_default();
        let mut weights = Self {
            parts: Vec::new(),
            index: BTreeMap::new(),
            architecture: None,
            path: first,
        };
        for path in paths {
            weights.add(path)?;
        }
        Ok(weights)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let map = Arc::new(map_file(path)?);
        let tensors = if map.starts_with(b"GGUF") {
            let header = gguf::read_header(&map, path)?;
            if let Some(architecture) = header.architecture() {
                self.architecture = Some(architecture.to_owned());
            }
            header.tensors
        } else if path.extension().is_some_and(|e| e == "gguf") {
            // The header's own message says what is there instead.
            gguf::read_header(&map, path)?.tensors
        } else {
            safetensors_header(&map, path)?
        };
        let part = self.parts.len();
        self.parts.push(Part {
            path: path.to_owned(),
            map,
        });
        for (name, tensor) in tensors {
            let name = name.strip_prefix(COMFY_PREFIX).unwrap_or(&name).to_owned();
            if let Some((other, _)) = self.index.get(&name) {
                let first = self.parts.get(*other).map(|p| p.path.clone());
                return Err(PipelineError::bad_header(
                    path,
                    format!(
                        "tensor {name} is also in {}",
                        first.unwrap_or_default().display()
                    ),
                ));
            }
            self.index.insert(name, (part, tensor));
        }
        Ok(())
    }

    /// The first file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `general.architecture`, if a GGUF file says it.
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Total size of the tensors in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.index.values().map(|(_, t)| t.range.len() as u64).sum()
    }

    /// Total number of values.
    pub fn value_count(&self) -> u64 {
        self.index
            .values()
            .map(|(_, t)| t.shape.iter().map(|&d| d as u64).product::<u64>())
            .sum()
    }

    /// Takes those tensors of `other` that are not here and that `wanted` names.
    pub fn fill_from(&mut self, other: &Self, wanted: impl Fn(&str) -> bool) -> usize {
        let base = self.parts.len();
        let mut taken = 0;
        for (name, (part, tensor)) in &other.index {
            if wanted(name) && !self.contains(name) {
                self.index
                    .insert(name.clone(), (base + part, tensor.clone()));
                taken += 1;
            }
        }
        self.parts.extend(other.parts.iter().map(|part| Part {
            path: part.path.clone(),
            map: Arc::clone(&part.map),
        }));
        taken
    }

    /// Gives a tensor another name, which none has yet.
    pub(super) fn move_tensor(&mut self, from: &str, to: String) {
        if let Some(tensor) = self.index.remove(from) {
            self.index.insert(to, tensor);
        }
    }

    /// Shape and type of a tensor.
    ///
    /// # Errors
    /// If it is not there.
    pub fn info(&self, name: &str) -> Result<&StoredTensor> {
        self.index
            .get(name)
            .map(|(_, tensor)| tensor)
            .ok_or_else(|| PipelineError::MissingTensor {
                tensor: name.to_owned(),
                path: self.path.clone(),
            })
    }

    /// Shape of a tensor of two dimensions, `[out, in]`.
    ///
    /// # Errors
    /// If it is not there or has another number of dimensions.
    pub fn matrix_shape(&self, name: &str) -> Result<(usize, usize)> {
        let info = self.info(name)?;
        match info.shape[..] {
            [rows, columns] => Ok((rows, columns)),
            _ => Err(PipelineError::BadHeader {
                detail: format!(
                    "tensor {name} has shape {:?}, expected two dimensions",
                    info.shape
                ),
                path: self.path.clone(),
            }),
        }
    }

    /// The encoded bytes of a tensor that must have this shape.
    ///
    /// # Errors
    /// If it is not there or has another shape.
    pub fn stored(&self, name: &str, shape: &[usize]) -> Result<(StoredType, MappedBytes)> {
        let info = self.info(name)?;
        let part = self.index.get(name).and_then(|(p, _)| self.parts.get(*p));
        let Some(part) = part else {
            return Err(PipelineError::MissingTensor {
                tensor: name.to_owned(),
                path: self.path.clone(),
            });
        };
        if info.shape != shape {
            return Err(PipelineError::WrongShape {
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                got: info.shape.clone(),
                path: part.path.clone(),
            });
        }
        let bytes = MappedBytes {
            map: Arc::clone(&part.map),
            range: info.range.clone(),
        };
        Ok((info.stored_type, bytes))
    }

    /// Decodes a tensor onto a device, rounded to `dtype`.
    ///
    /// # Errors
    /// If it is not there, has another shape, or the device is out of memory.
    pub fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let (stored_type, mapped) = self.stored(name, shape)?;
        // bfloat16 stays as it is: a text encoder of 9 GB must not pass through float32.
        let tensor = match stored_type {
            StoredType::Bf16 if dtype == DType::BF16 => {
                let values: Vec<half::bf16> = mapped
                    .bytes()
                    .chunks_exact(2)
                    .map(|b| half::bf16::from_le_bytes([b[0], b[1]]))
                    .collect();
                Tensor::from_vec(values, shape, device)?
            }
            _ => {
                let values = decode_all(stored_type, mapped.bytes());
                Tensor::from_vec(values, shape, &Device::Cpu)?
                    .to_dtype(dtype)?
                    .to_device(device)?
            }
        };
        Ok(tensor)
    }
}

/// Decodes a whole tensor, in parallel.
pub fn decode_all(stored_type: StoredType, bytes: &[u8]) -> Vec<f32> {
    use rayon::prelude::*;
    let (values, size) = stored_type.block();
    // About 64 KiB of output a task.
    let blocks = (16_384 / values).max(1);
    let mut out = vec![0.0; bytes.len() / size * values];
    out.par_chunks_mut(blocks * values)
        .zip(bytes.par_chunks(blocks * size))
        .for_each(|(out, bytes)| stored_type.decode(bytes, out));
    out
}

/// `name-00001-of-00003.gguf` stands for all three; anything else for itself.
pub(super) fn split_files(path: &Path) -> Result<Vec<PathBuf>> {
    let single = || Ok(vec![path.to_owned()]);
    let Some(stem) = path.file_stem().and_then(|s| s.to_str()) else {
        return single();
    };
    if path.extension().is_none_or(|e| e != "gguf") {
        return single();
    }
    let Some((rest, count)) = stem.rsplit_once("-of-") else {
        return single();
    };
    let Some((base, number)) = rest.rsplit_once('-') else {
        return single();
    };
    let (Ok(count), Ok(number)) = (count.parse::<u32>(), number.parse::<u32>()) else {
        return single();
    };
    if count == 0 || count > 999 || number != 1 {
        return Err(PipelineError::bad_header(
            path,
            format!("this is part {number} of {count} of a split file; name its first part"),
        ));
    }
    (1..=count)
        .map(|i| {
            let part = path.with_file_name(format!("{base}-{i:05}-of-{count:05}.gguf"));
            if part.exists() {
                Ok(part)
            } else {
                Err(PipelineError::MissingFile {
                    what: format!("part {i} of {count} of the split transformer"),
                    path: part,
                    remedy: "fetch all its parts into one folder".to_owned(),
                })
            }
        })
        .collect()
}

fn safetensors_header(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, StoredTensor>> {
    use safetensors::SafeTensorError as E;
    use safetensors::tensor::SafeTensors;
    let (header_len, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| match error {
            E::HeaderTooSmall | E::InvalidHeaderLength | E::MetadataIncompleteBuffer => {
                PipelineError::truncated(path, format!("safetensors says: {error}"))
            }
            other => PipelineError::bad_header(path, format!("safetensors says: {other}")),
        })?;
    let data_start = header_len + 8;
    let mut tensors = BTreeMap::new();
    for name in metadata.offset_keys() {
        use safetensors::Dtype;
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let stored_type = match info.dtype {
            Dtype::F32 => StoredType::F32,
            Dtype::F16 => StoredType::F16,
            Dtype::BF16 => StoredType::Bf16,
            // Position ids and the like: no weights.
            Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL => continue,
            other => {
                return Err(PipelineError::UnsupportedType {
                    tensor: name,
                    kind: format!("{other:?}"),
                    path: path.to_owned(),
                });
            }
        };
        let range = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
        if range.end > bytes.len() || range.start > range.end {
            return Err(PipelineError::truncated(
                path,
                format!("tensor {name} ends at {} of {}", range.end, bytes.len()),
            ));
        }
        let shape = info.shape.clone();
        let count: usize = shape.iter().product();
        if count * stored_type.block().1 != range.len() {
            return Err(PipelineError::bad_header(
                path,
                format!("tensor {name} of shape {shape:?} has {} bytes", range.len()),
            ));
        }
        tensors.insert(
            name,
            StoredTensor {
                stored_type,
                shape,
                range,
            },
        );
    }
    Ok(tensors)
}

/// Lets candle's own models read from [`Weights`].
impl candle_nn::var_builder::SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.tensor(name, shape.dims(), dtype, device)
            .map_err(candle_core::Error::wrap)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let shape = self.info(name).map_err(candle_core::Error::wrap)?;
        self.tensor(name, &shape.shape.clone(), dtype, device)
            .map_err(candle_core::Error::wrap)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.contains(name)
    }
}
