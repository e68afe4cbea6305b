//! What can go wrong between a folder of weights and a picture. Knows nothing of runs or cells.

use std::path::{Path, PathBuf};

/// A failure of the pipeline: the problem first, then the offending value, then the path.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A file or folder that the pipeline needs is not there.
    #[error("{what} is missing: looked for {}; {remedy}", path.display())]
    MissingFile {
        /// What the file is for.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What to do about it.
        remedy: String,
    },
    /// No transformer in the folder has the quantization that was asked for.
    #[error("no transformer with quantization {quant}: {}; there are {}", path.display(), list(available))]
    UnknownQuant {
        /// The quantization as it was asked for.
        quant: String,
        /// Those that were found.
        available: Vec<String>,
        /// The model folder.
        path: PathBuf,
    },
    /// Two files claim the same quantization.
    #[error("more than one transformer is {quant}: {} and {}; remove or rename one of them", first.display(), second.display())]
    AmbiguousQuant {
        /// The quantization.
        quant: String,
        /// The first file, by name.
        first: PathBuf,
        /// The second file, by name.
        second: PathBuf,
    },
    /// A weight file lacks a tensor.
    #[error("tensor {tensor} is missing: {}", path.display())]
    MissingTensor {
        /// The tensor's name.
        tensor: String,
        /// The weight file.
        path: PathBuf,
    },
    /// A GGUF file without the input embedders, as some converters write it.
    #[error(
        "the transformer lacks its input embedders {}: {}; put the base flux1-fill-dev.safetensors beside it, or use a file that has them",
        list(missing), path.display()
    )]
    MissingEmbedders {
        /// The modules that are not there, such as `img_in`.
        missing: Vec<String>,
        /// The weight file.
        path: PathBuf,
    },
    /// A tensor has another shape than its neighbours require.
    #[error("tensor {tensor} has shape {got:?}, expected {expected:?}: {}", path.display())]
    WrongShape {
        /// The tensor's name.
        tensor: String,
        /// What the rest of the model requires.
        expected: Vec<usize>,
        /// What the file says.
        got: Vec<usize>,
        /// The weight file.
        path: PathBuf,
    },
    /// The file holds another model.
    #[error("this is {found}, not {expected}: {}; {remedy}", path.display())]
    ForeignArchitecture {
        /// What the file seems to hold.
        found: String,
        /// What was needed.
        expected: String,
        /// The weight file.
        path: PathBuf,
        /// What to do about it.
        remedy: String,
    },
    /// The file ends before what its header announces.
    #[error("file is truncated, {detail}: {}; fetch it again", path.display())]
    Truncated {
        /// What was announced and what is there.
        detail: String,
        /// The weight file.
        path: PathBuf,
    },
    /// The header contradicts itself or the format.
    #[error("bad header, {detail}: {}", path.display())]
    BadHeader {
        /// What is wrong.
        detail: String,
        /// The weight file.
        path: PathBuf,
    },
    /// A tensor is stored in a way that this program cannot read.
    #[error("tensor {tensor} is stored as {kind}, which is not supported: {}", path.display())]
    UnsupportedType {
        /// The tensor's name.
        tensor: String,
        /// The type's name or number.
        kind: String,
        /// The weight file.
        path: PathBuf,
    },
    /// A configuration file does not say what it should.
    #[error("bad configuration, {detail}: {}", path.display())]
    BadConfig {
        /// What is wrong, and what was expected.
        detail: String,
        /// The configuration file.
        path: PathBuf,
    },
    /// The inputs of a fill do not fit together.
    #[error("{0}")]
    BadInput(String),
    /// A value that is not finite turned up.
    #[error("{what} is not finite at step {step}")]
    NotFinite {
        /// Which values: latents or pixels.
        what: &'static str,
        /// The step, counted from 1; pixels are made after the last one.
        step: usize,
    },
    /// The hook said stop.
    #[error("cancelled")]
    Cancelled,
    /// A device or the machine has too little memory.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device cannot be used.
    #[error("device {device} cannot be used: {detail}")]
    NoDevice {
        /// The device as it was asked for.
        device: String,
        /// Why.
        detail: String,
    },
    /// A fill was asked for before a transformer was loaded.
    #[error("no transformer is loaded")]
    NoTransformer,
    /// The file system said no.
    #[error("{action} failed: {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something could not be fetched from the hub.
    #[error("{what} cannot be fetched: {detail}; {remedy}")]
    Fetch {
        /// The repository, and the file where it is about one.
        what: String,
        /// What went wrong.
        detail: String,
        /// What to do about it.
        remedy: String,
    },
    /// A text encoder's weights are not what its configuration says.
    #[error("{0}")]
    Encoder(String),
    /// A computation failed in the tensor library.
    #[error("computation failed: {0}")]
    Compute(String),
}

/// The pipeline's results.
pub type Result<T> = std::result::Result<T, PipelineError>;

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

impl PipelineError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(super) fn bad_config(path: &Path, detail: impl Into<String>) -> Self {
        Self::BadConfig {
            detail: detail.into(),
            path: path.to_owned(),
        }
    }

    pub(super) fn bad_header(path: &Path, detail: impl Into<String>) -> Self {
        Self::BadHeader {
            detail: detail.into(),
            path: path.to_owned(),
        }
    }

    pub(super) fn truncated(path: &Path, detail: impl Into<String>) -> Self {
        Self::Truncated {
            detail: detail.into(),
            path: path.to_owned(),
        }
    }
}

impl From<candle_core::Error> for PipelineError {
    /// candle's own words, except for want of memory, which the caller must be able to tell apart.
    fn from(error: candle_core::Error) -> Self {
        use candle_core::Error as E;
        let error = match error {
            // Backtraces are for those who ask, not for messages.
            E::WithBacktrace { inner, .. } => return Self::from(*inner),
            // What our own loader said through one of candle's models.
            E::Wrapped(said) => return Self::Encoder(said.to_string()),
            other => other,
        };
        let text = error.to_string();
        let lower = text.to_lowercase();
        if lower.contains("out_of_memory") || lower.contains("out of memory") {
            Self::OutOfMemory(text)
        } else {
            Self::Compute(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_memory_is_told_apart_from_other_failures() {
        let oom = candle_core::Error::Msg("CUDA_ERROR_OUT_OF_MEMORY".to_owned());
        assert!(matches!(
            PipelineError::from(oom),
            PipelineError::OutOfMemory(_)
        ));
        let other = candle_core::Error::Msg("shape mismatch".to_owned());
        assert!(matches!(
            PipelineError::from(other),
            PipelineError::Compute(_)
        ));
    }

    #[test]
    fn messages_name_the_problem_the_value_and_the_path() {
        let error = PipelineError::WrongShape {
            tensor: "img_in.weight".to_owned(),
            expected: vec![64, 384],
            got: vec![64, 64],
            path: PathBuf::from("a/b.gguf"),
        };
        assert_eq!(
            error.to_string(),
            "tensor img_in.weight has shape [64, 64], expected [64, 384]: a/b.gguf"
        );
    }
}
