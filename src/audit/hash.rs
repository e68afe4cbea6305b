//! SHA-256 of bytes and files, and of everything that goes into one cell.

use crate::model::cell::CellKey;
use crate::model::document;
use crate::model::run::{Run, WeightsFile};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

fn hex(digest: &[u8]) -> String {
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// 64 hexadecimal digits of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// 64 hexadecimal digits of a file, read in pieces.
///
/// # Errors
/// What the file system says.
pub fn sha256_file(path: &Path) -> std::io::Result<String> {
    sha256_of(&mut std::fs::File::open(path)?)
}

/// 64 hexadecimal digits of all that is read, in pieces.
///
/// # Errors
/// What the file system says.
pub fn sha256_of(file: &mut dyn Read) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(piece.get(..n).unwrap_or_default()),
        }
    }
}

/// SHA-256 over everything that goes into a cell: the inputs, the recipe, the prompt, the key, the size,
/// and the weights. It follows from the run's documents alone, so that a reader can hold a cell's
/// document against it. `None` if the documents do not say all of it.
///
/// Where a cell was made is not part of it: the same cell on another device is the same cell.
pub fn of_cell_inputs(run: &Run, key: &CellKey) -> Option<String> {
    let document = run.document()?;
    let recipe = document::to_ron_line(&run.recipe_of(key)?, "").ok()?;
    let prompt = run.prompt_of(key)?;
    let transformer = run.transformer(&key.quant)?;
    let mut shared: Vec<&WeightsFile> = document
        .model
        .files
        .iter()
        .filter(|file| file.quant.is_none())
        .collect();
    shared.sort_by(|a, b| a.file.cmp(&b.file));

    // One fact a line, each value on its own line's rest, so that no two different inputs read alike.
    let mut text = String::from("fill-audit cell inputs 1\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(
            text,
            "{name} {}",
            value.replace('\\', "\\\\").replace('\n', "\\n")
        );
    };
    line("image", &document.inputs.image);
    line("mask", &document.inputs.mask);
    line("inference_image", &document.inputs.inference_image);
    line("inference_box", &format!("{:?}", document.inference_box));
    line(
        "inference_size_px",
        &format!("{:?}", document.inference_size_px),
    );
    line("recipe", &recipe);
    line("prompt", prompt);
    line(
        "max_sequence_length",
        &document.max_sequence_length.to_string(),
    );
    line("quant", key.quant.as_str());
    line("guidance", &key.guidance.to_string());
    line("steps", &key.steps.to_string());
    line("seed", &key.seed?.to_string());
    line("matmul", &format!("{:?}", document.matmul));
    line("transformer", &transformer.sha256);
    for file in shared {
        line("weights", &format!("{} {}", file.sha256, file.file));
    }
    Some(sha256(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
