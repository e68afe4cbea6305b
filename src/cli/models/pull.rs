//! `fill-audit models pull`: says the licences and the size first, then fetches what is not there yet.

use super::{check, size};
use crate::pipeline::{
    FetchEvent, HashCache, Hub, HubAccess, HubFile, HubListing, ModelFolder, Severity,
};
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{BufRead as _, IsTerminal as _, Write};

const AFTER_HELP: &str = "\
Sizes and licences are said first, and nothing is fetched before the licences are accepted. What was
fetched is kept when the command is stopped: the same command goes on there. Every large file is held
against the SHA-256 that the hub announces.

A token is taken from HF_TOKEN or from where `hf auth login` leaves it. HF_HOME or HF_HUB_CACHE name
another cache, HF_ENDPOINT another hub.";

/// Fetch FLUX.1-Fill-dev and its quantizations into the Hugging Face cache.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct PullArgs {
    /// Quantizations of the transformer.
    #[arg(
        long,
        value_name = "Q",
        value_delimiter = ',',
        default_value = "Q4_0,Q5_K_S,Q8_0"
    )]
    pub quant: Vec<String>,
    /// Accept the licences without being asked.
    #[arg(long, visible_alias = "accept-license")]
    pub accept_licence: bool,
    /// Also the transformer in bfloat16 (23.8 GB), which holds the input embedders that some
    /// quantizations lack.
    #[arg(long)]
    pub with_base_transformer: bool,
    /// Where autoencoder, text encoders, tokenizers and scheduler come from.
    #[arg(
        long,
        value_name = "REPOSITORY",
        default_value = "black-forest-labs/FLUX.1-Fill-dev"
    )]
    pub base: String,
    /// Where the quantizations come from.
    #[arg(
        long,
        value_name = "REPOSITORY",
        default_value = "YarvixPA/FLUX.1-Fill-dev-GGUF"
    )]
    pub quants_from: String,
}

/// A repository and what is wanted of it.
struct Wanted {
    listing: HubListing,
    files: Vec<HubFile>,
}

/// Folders of the base repository of which everything but other frameworks' weights is wanted.
const FOLDERS: [&str; 5] = [
    "scheduler/",
    "text_encoder/",
    "text_encoder_2/",
    "tokenizer/",
    "tokenizer_2/",
];
/// Single files of it.
const FILES: [&str; 4] = [
    "ae.safetensors",
    "model_index.json",
    "transformer/config.json",
    "vae/config.json",
];
/// The transformer that everything was made from.
const DENSE: &str = "flux1-fill-dev.safetensors";
/// Endings of files that are read here.
const ENDINGS: [&str; 4] = [".safetensors", ".json", ".txt", ".model"];

/// Runs the command.
///
/// # Errors
/// If the licences are not accepted, the hub refuses, the disk is full, or what came is damaged.
pub fn run(args: &PullArgs) -> anyhow::Result<()> {
    let hub = Hub::open(HubAccess::from_env()?)?;
    let base = hub.list(&args.base)?;
    let quantized = hub.list(&args.quants_from)?;
    let wanted = [
        base_files(base, args.with_base_transformer)?,
        quant_files(quantized, &args.quant)?,
    ];
    let mut out = std::io::stdout().lock();
    let todo_bytes = announce(&mut out, &hub, &wanted)?;
    if todo_bytes > 0 && !args.accept_licence {
        write!(
            out,
            "Type yes to accept these licences and to fetch {}: ",
            size(todo_bytes)
        )?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !answer.trim().eq_ignore_ascii_case("yes") {
            bail!("nothing was fetched: the licences were not accepted (--accept-licence does so)");
        }
    }
    fetch_all(&mut out, &hub, &wanted, todo_bytes)?;
    let folder = ModelFolder::open(hub.folder())?;
    let quants: Vec<&str> = args.quant.iter().map(String::as_str).collect();
    let findings = folder.check_for(&quants);
    let is_usable = findings.iter().all(|f| f.severity < Severity::Error);
    if !is_usable || findings.iter().any(|f| f.severity == Severity::Warning) {
        check::write_findings(&mut out, &findings)?;
    }
    if !is_usable {
        bail!(
            "what was fetched cannot be used: {}",
            folder.root().display()
        );
    }
    writeln!(out, "{}", folder.root().display())?;
    Ok(())
}

fn base_files(listing: HubListing, with_dense: bool) -> anyhow::Result<Wanted> {
    let is_wanted = |file: &&HubFile| {
        let name = file.name.as_str();
        FILES.contains(&name)
            || (with_dense && name == DENSE)
            || (FOLDERS.iter().any(|folder| name.starts_with(folder))
                && ENDINGS.iter().any(|ending| name.ends_with(ending)))
    };
    let files: Vec<HubFile> = listing.files.iter().filter(is_wanted).cloned().collect();
    for needed in ["ae.safetensors"]
        .into_iter()
        .chain(with_dense.then_some(DENSE))
    {
        if !files.iter().any(|file| file.name == needed) {
            bail!(
                "{} has no {needed}; give another --base",
                listing.repository
            );
        }
    }
    Ok(Wanted { listing, files })
}

fn quant_files(listing: HubListing, quants: &[String]) -> anyhow::Result<Wanted> {
    let is_gguf = |file: &&HubFile| {
        let extension = std::path::Path::new(&file.name).extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
    };
    let mut files: Vec<HubFile> = Vec::new();
    for quant in quants {
        let found = listing.files.iter().filter(is_gguf);
        let of_quant: Vec<&HubFile> = found.filter(|file| is_of(&file.name, quant)).collect();
        if of_quant.is_empty() {
            let there: Vec<&str> = listing
                .files
                .iter()
                .filter(is_gguf)
                .map(|file| file.name.as_str())
                .collect();
            bail!(
                "{} has no quantization {quant}; it has {}",
                listing.repository,
                if there.is_empty() {
                    "no GGUF files".to_owned()
                } else {
                    there.join(", ")
                }
            );
        }
        for file in of_quant {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
    }
    Ok(Wanted { listing, files })
}

/// Whether a file's name says that it is of this quantization, as a whole or as a part of it.
fn is_of(name: &str, quant: &str) -> bool {
    name.split(['-', '.', '/'])
        .any(|part| part.eq_ignore_ascii_case(quant))
}

/// Prints what would be fetched; returns how many bytes that is.
fn announce(out: &mut dyn Write, hub: &Hub, wanted: &[Wanted]) -> anyhow::Result<u64> {
    let mut todo_bytes = 0;
    for Wanted { listing, files } in wanted {
        let commit = listing.revision.get(..12).unwrap_or(&listing.revision);
        writeln!(out, "{} at {commit}", listing.repository)?;
        let licence = listing.licence.as_deref();
        let gated = if listing.is_gated {
            "; to be accepted on the hub too"
        } else {
            ""
        };
        writeln!(
            out,
            "  licence  {}{gated}",
            licence.unwrap_or("not stated; the weights' own applies")
        )?;
        let all: u64 = files.iter().map(|file| file.size_bytes).sum();
        let absent = files.iter().filter(|file| !hub.has(listing, file));
        let absent: u64 = absent
            .map(|file| {
                let begun = hub.begun_bytes(listing, file);
                file.size_bytes.saturating_sub(begun)
            })
            .sum();
        let there = match all - absent {
            0 => String::new(),
            bytes => format!(", {} of it here already", size(bytes)),
        };
        writeln!(out, "  files    {}, {}{there}", files.len(), size(all))?;
        todo_bytes += absent;
    }
    writeln!(
        out,
        "{} to fetch into {}",
        size(todo_bytes),
        hub.folder().display()
    )?;
    Ok(todo_bytes)
}

fn progress_bar(total_bytes: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total_bytes), target);
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}  {msg}  {bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style);
    }
    bar
}

fn fetch_all(
    out: &mut dyn Write,
    hub: &Hub,
    wanted: &[Wanted],
    todo_bytes: u64,
) -> anyhow::Result<()> {
    let bar = progress_bar(todo_bytes);
    let mut hashes = HashCache::of_user();
    let mut before = 0;
    for Wanted { listing, files } in wanted {
        for file in files {
            let begun = hub.begun_bytes(listing, file);
            let is_there = hub.has(listing, file);
            bar.set_message(file.name.clone());
            let fetched = hub
                .fetch(listing, file, &mut hashes, &mut |event| match event {
                    FetchEvent::Bytes(bytes) => {
                        bar.set_position(before + bytes.saturating_sub(begun));
                    }
                    FetchEvent::Verifying => bar.set_message(format!("verifying {}", file.name)),
                    FetchEvent::Again => bar.set_message(format!("again: {}", file.name)),
                })
                .with_context(|| format!("fetching into {}", hub.folder().display()))?;
            if !is_there {
                before += file.size_bytes.saturating_sub(begun);
            }
            bar.set_position(before);
            if !fetched.was_there {
                bar.suspend(|| writeln!(out, "  {} {}", file.name, size(file.size_bytes)))?;
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantization_is_found_by_a_whole_word_of_the_name() {
        assert!(is_of("flux1-fill-dev-Q4_0.gguf", "q4_0"));
        assert!(is_of("sub/flux1-fill-dev-Q8_0-00001-of-00002.gguf", "Q8_0"));
        assert!(!is_of("flux1-fill-dev-Q5_K_S.gguf", "Q5_K"));
    }
}
