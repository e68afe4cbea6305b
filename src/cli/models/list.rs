//! `fill-audit models list`.

use super::{named_folders, size};
use crate::pipeline::{Embedders, ModelFolder, find_models, repository_of, user_hub_folder};
use std::io::Write;
use std::path::{Path, PathBuf};

/// List every model that is found.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Also look here.
    #[arg(long, value_name = "DIR")]
    pub models: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If nothing can be printed.
pub fn run(args: &ListArgs) -> anyhow::Result<()> {
    let mut named = args.models.clone();
    named.extend(named_folders());
    let mut out = std::io::stdout().lock();
    let found = find_models(&named);
    if found.is_empty() {
        let hub = user_hub_folder().map_or_else(String::new, |dir| format!(" ({})", dir.display()));
        writeln!(
            out,
            "no model was found: neither in the Hugging Face cache{hub} nor in FILL_AUDIT_MODELS; \
             `fill-audit models pull` fetches one"
        )?;
    }
    for folder in &found {
        write_model(&mut out, folder)?;
    }
    Ok(())
}

fn write_model(out: &mut dyn Write, folder: &ModelFolder) -> anyhow::Result<()> {
    writeln!(
        out,
        "{}  {}",
        repository_of(folder.root()),
        folder.root().display()
    )?;
    let mut shared = vec![folder.vae_file()];
    let mut absent = Vec::new();
    for (name, dir) in [("CLIP", folder.clip_dir()), ("T5", folder.t5_dir())] {
        match folder.encoder_files(&dir) {
            Ok(files) => shared.extend(files),
            Err(_) => absent.push(name),
        }
    }
    let bytes: u64 = shared.iter().map(|path| bytes_of(path)).sum();
    let missing = match absent.as_slice() {
        [] => String::new(),
        names => format!("; missing: {}", names.join(", ")),
    };
    let parts = 3 - absent.len();
    writeln!(
        out,
        "  {:<8} {:>9}  {parts} of autoencoder, CLIP, T5{missing}",
        "shared",
        size(bytes)
    )?;
    for file in folder.transformers() {
        let embedders = match folder.embedders(file) {
            Ok(Embedders::Own) => "input embedders in the file".to_owned(),
            Ok(Embedders::From(path)) => format!(
                "input embedders from {}",
                path.file_name()
                    .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
            ),
            Ok(Embedders::Missing(modules)) => format!(
                "INPUT EMBEDDERS MISSING ({}): put flux1-fill-dev.safetensors beside it",
                modules.join(", ")
            ),
            Err(error) => format!("CANNOT BE READ: {error}"),
        };
        let repository = repository_of(file.path.parent().unwrap_or(&file.path));
        let place = if file.path.starts_with(folder.root()) {
            file.path
                .strip_prefix(folder.root())
                .unwrap_or(&file.path)
                .display()
                .to_string()
        } else {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            format!("{repository}/{name}")
        };
        writeln!(
            out,
            "  {:<8} {:>9}  {place}, {embedders}",
            file.quant,
            size(bytes_of(&file.path))
        )?;
    }
    if folder.transformers().is_empty() {
        writeln!(
            out,
            "  no transformer; `fill-audit models pull` fetches one"
        )?;
    }
    Ok(())
}

fn bytes_of(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}
