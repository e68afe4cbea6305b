//! `fill-audit mask`: carries a recipe out on mask files without a window.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use crate::imaging::codecs::{decode_mask, write_grey_png};
use crate::imaging::mask::{MaskFigures, inspect_mask, process};
use crate::model::mask_recipe::MaskRecipe;

/// Clean up and grow mask files, and print what that does to them.
///
/// Each file is taken as being at inference size. The operations are done in this order: threshold,
/// despeck, close, open, despeck, dilate, feather. One that is not named is not done, the threshold
/// aside. With both --despeck and --open, small components are dropped before and after opening.
#[derive(Debug, Clone, clap::Args)]
pub struct MaskArgs {
    /// A mask file, or a folder of them.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The PNG to write, or for a folder the folder to write them to.
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// White is where grey is at least this, 1 to 255.
    #[arg(long, value_name = "GREY", default_value_t = 128)]
    pub threshold: u8,
    /// Drop white components (corners connect) of fewer pixels [50 when no number is given].
    #[arg(long, value_name = "PX", num_args = 0..=1, default_missing_value = "50")]
    pub despeck: Option<u32>,
    /// Close with a disc of this radius in pixels.
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub close: Option<f32>,
    /// Open with a disc of this radius in pixels.
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub open: Option<f32>,
    /// Grow by a disc of this radius in pixels.
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub dilate: Option<f32>,
    /// Blur what is written by a Gaussian of this sigma in pixels: a composite's weights, not a mask
    /// for the model. The figures are those of the mask before it.
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true)]
    pub feather: Option<f32>,
    /// Print the figures as JSON: an object for one file, an array for a folder.
    #[arg(long)]
    pub json: bool,
}

/// What the command prints for a file with `--json`.
#[derive(Serialize)]
struct FileReport {
    file: PathBuf,
    out: PathBuf,
    #[serde(flatten)]
    figures: MaskFigures,
    /// Why `run` would refuse the mask, a sentence each.
    gates: Vec<String>,
    /// What about the file deserves a look, a sentence each.
    warnings: Vec<String>,
}

/// What the command prints with `--json` for a file of a folder that could not be done.
#[derive(Serialize)]
struct FileError {
    file: PathBuf,
    error: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Done(FileReport),
    Failed(FileError),
}

/// Runs the command and prints to standard output.
///
/// # Errors
/// When an option is out of range, or a file cannot be read or written. In a folder the other files
/// are still done, and each failure is printed where its figures would be.
pub fn run(args: &MaskArgs) -> anyhow::Result<()> {
    run_to(args, &mut std::io::stdout().lock())
}

fn run_to(args: &MaskArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let recipe = recipe_of(args);
    recipe.check()?;
    if args.input.is_dir() {
        return run_on_folder(args, &recipe, out);
    }
    let target = if args.out.is_dir() {
        png_in(&args.out, &args.input)?
    } else {
        args.out.clone()
    };
    let report = run_on_file(&args.input, &target, &recipe)?;
    if args.json {
        print_json(out, &report)
    } else {
        print_text(out, &report)
    }
}

fn recipe_of(args: &MaskArgs) -> MaskRecipe {
    MaskRecipe {
        threshold: args.threshold,
        min_component_px: args.despeck.unwrap_or(0),
        close_px: args.close.unwrap_or(0.0),
        open_px: args.open.unwrap_or(0.0),
        dilate_px: args.dilate.unwrap_or(0.0),
        feather_sigma_px: args.feather.unwrap_or(0.0),
        ..MaskRecipe::none()
    }
}

fn run_on_folder(args: &MaskArgs, recipe: &MaskRecipe, out: &mut impl Write) -> anyhow::Result<()> {
    let files = pictures_in(&args.input)?;
    ensure!(
        !files.is_empty(),
        "no picture in the folder: {}",
        args.input.display()
    );
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder: {}", args.out.display()))?;
    let mut outcomes = Vec::new();
    let mut failed = 0_usize;
    let mut written = std::collections::BTreeSet::new();
    for file in files {
        let done = png_in(&args.out, &file).and_then(|target| {
            ensure!(
                written.insert(target.clone()),
                "another file of this folder was already written to {}",
                target.display()
            );
            run_on_file(&file, &target, recipe)
        });
        let outcome = match done {
            Ok(report) => Outcome::Done(report),
            Err(error) => {
                failed += 1;
                Outcome::Failed(FileError {
                    file,
                    error: format!("{error:#}"),
                })
            }
        };
        if !args.json {
            match &outcome {
                Outcome::Done(report) => print_text(out, report)?,
                Outcome::Failed(FileError { file, error }) => {
                    writeln!(out, "{}\n  failed: {error}", file.display())?;
                }
            }
        }
        outcomes.push(outcome);
    }
    if args.json {
        print_json(out, &outcomes)?;
    }
    if failed > 0 {
        bail!(
            "{failed} of {} masks failed in {}",
            outcomes.len(),
            args.input.display()
        );
    }
    Ok(())
}

fn pictures_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif"];
    let unreadable = || format!("cannot read the folder: {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let is_picture = path.extension().is_some_and(|extension| {
            EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        if is_picture && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where the result of a file goes inside a folder.
fn png_in(folder: &Path, file: &Path) -> anyhow::Result<PathBuf> {
    let stem = file
        .file_stem()
        .with_context(|| format!("no file name: {}", file.display()))?;
    let mut name = stem.to_os_string();
    name.push(".png");
    Ok(folder.join(name))
}

fn run_on_file(file: &Path, target: &Path, recipe: &MaskRecipe) -> anyhow::Result<FileReport> {
    let same = match (file.canonicalize(), target.canonicalize()) {
        (Ok(file), Ok(target)) => file == target,
        _ => false,
    };
    ensure!(
        !same,
        "the result would replace the mask it is made from: {}",
        file.display()
    );
    let picture = decode_mask(file)?;
    let size = (picture.width(), picture.height());
    let warnings = inspect_mask(&picture, size)
        .iter()
        .map(ToString::to_string)
        .collect();
    let mask = process(&picture.into_luma8(), recipe);
    let gates = mask
        .gates(recipe, None)?
        .iter()
        .map(ToString::to_string)
        .collect();
    write_grey_png(target, &mask.feathered(recipe))?;
    Ok(FileReport {
        file: file.to_path_buf(),
        out: target.to_path_buf(),
        figures: mask.figures(),
        gates,
        warnings,
    })
}

fn print_json(out: &mut impl Write, report: &impl Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
    Ok(())
}

fn print_text(out: &mut impl Write, report: &FileReport) -> anyhow::Result<()> {
    let FileReport {
        file,
        out: target,
        figures,
        gates,
        warnings,
    } = report;
    writeln!(out, "{} -> {}", file.display(), target.display())?;
    writeln!(
        out,
        "  size        {} x {} px\n  coverage    {:.2} % -> {:.2} %",
        figures.width,
        figures.height,
        figures.coverage_before * 100.0,
        figures.coverage_after_recipe * 100.0,
    )?;
    writeln!(
        out,
        "  components  {} (largest {} px) -> {}\n  pixels      {} added, {} removed",
        figures.components_before,
        figures.largest_component_px,
        figures.components_after,
        figures.added_px,
        figures.removed_px,
    )?;
    match (figures.bounds, figures.margin_to_frame_px) {
        (Some(bounds), Some(margin_px)) => writeln!(
            out,
            "  box         {} x {} px at ({}, {}), {margin_px} px from the frame",
            bounds.width, bounds.height, bounds.x, bounds.y
        )?,
        _ => writeln!(out, "  box         none")?,
    }
    for gate in gates {
        writeln!(out, "  run refuses it: {gate}")?;
    }
    for warning in warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use clap::Parser as _;
    use serde_json::Value;

    use super::*;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: MaskArgs,
    }

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/masks")
    }

    fn ran(words: &[&str]) -> (anyhow::Result<()>, String) {
        let line = std::iter::once("mask").chain(words.iter().copied());
        let args = CommandLine::try_parse_from(line).unwrap().args;
        let mut out = Vec::new();
        let result = run_to(&args, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_references_are_reproduced_from_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.png").display().to_string();
        let mask = fixtures().join("mask1.png").display().to_string();
        for (options, reference) in [
            (&[][..], "threshold"),
            (&["--despeck", "50"], "despeck50"),
            (&["--open", "2"], "open2"),
            (&["--close", "3"], "close3"),
            (&["--despeck", "50", "--dilate", "12"], "dilate12"),
            (
                &["--despeck", "50", "--open", "2", "--dilate", "10"],
                "recipe",
            ),
        ] {
            let mut words = vec![mask.as_str(), "--out", &out];
            words.extend(options);
            ran(&words).0.unwrap();
            let expected = decode_mask(&fixtures().join(format!("mask1_{reference}.png"))).unwrap();
            assert_eq!(
                decode_mask(Path::new(&out)).unwrap(),
                expected,
                "{reference}"
            );
        }
    }

    #[test]
    fn a_feathered_mask_is_the_reference_within_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.png").display().to_string();
        let mask = fixtures().join("mask1.png").display().to_string();
        let recipe = ["--despeck", "50", "--open", "2", "--dilate", "10"];
        let mut words = vec![mask.as_str(), "--out", &out];
        words.extend(recipe);
        words.extend(["--feather", "4"]);
        ran(&words).0.unwrap();
        let found = decode_mask(Path::new(&out)).unwrap().into_luma8();
        let expected = decode_mask(&fixtures().join("mask1_feather4.png")).unwrap();
        let pairs = found.iter().zip(expected.as_bytes());
        assert_eq!(found.len(), expected.as_bytes().len());
        assert!(pairs.into_iter().all(|(a, b)| a.abs_diff(*b) <= 1));
        assert!(found.iter().any(|value| (1..255).contains(value)));
    }

    #[test]
    fn json_has_the_figures_of_one_file_as_an_object() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.png").display().to_string();
        let mask = fixtures().join("mask0.png").display().to_string();
        let options = ["--despeck", "50", "--open", "2", "--dilate", "10", "--json"];
        let mut words = vec![mask.as_str(), "--out", &out];
        words.extend(options);
        let (result, text) = ran(&words);
        result.unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["added_px"], 3393);
        assert_eq!(report["removed_px"], 110);
        assert_eq!(report["components_before"], 34);
        assert_eq!(report["box"]["x"], 0);
        let gate = report["gates"][0].as_str().unwrap();
        assert!(gate.contains("40.2 %"), "{gate}");
    }

    #[test]
    fn a_folder_gives_an_array_and_one_bad_file_does_not_stop_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["mask0.png", "mask1.png"] {
            std::fs::copy(fixtures().join(name), folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("broken.png"), "no picture").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "not looked at").unwrap();
        let input = folder.path().display().to_string();
        let out = folder.path().join("grown").display().to_string();
        let (result, text) = ran(&[&input, "--out", &out, "--dilate", "3", "--json"]);
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("1 of 3 masks failed in "), "{message}");
        let reports: Value = serde_json::from_str(&text).unwrap();
        let error = reports[0]["error"].as_str().unwrap();
        assert!(error.ends_with("broken.png"), "{error}");
        assert_eq!(reports[2]["width"], 256);
        assert!(folder.path().join("grown/mask1.png").is_file());
    }

    #[test]
    fn text_says_what_changed_and_what_run_would_refuse() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.png").display().to_string();
        let mask = fixtures().join("mask0.png").display().to_string();
        let (result, text) = ran(&[&mask, "--out", &out, "--dilate", "10"]);
        result.unwrap();
        assert!(text.contains("size        97 x 131 px"), "{text}");
        assert!(
            text.contains("run refuses it: the processed mask covers"),
            "{text}"
        );
    }

    #[test]
    fn a_mask_is_never_replaced_by_its_own_result() {
        let folder = tempfile::tempdir().unwrap();
        let mask = folder.path().join("mask.png");
        std::fs::copy(fixtures().join("mask0.png"), &mask).unwrap();
        let before = std::fs::read(&mask).unwrap();
        let name = mask.display().to_string();
        let (result, _) = ran(&[&name, "--out", &name, "--dilate", "3"]);
        assert!(
            result
                .unwrap_err()
                .to_string()
                .starts_with("the result would replace the mask")
        );
        assert_eq!(std::fs::read(&mask).unwrap(), before);
    }

    #[test]
    fn a_radius_out_of_range_is_refused_before_any_file_is_read() {
        let (result, _) = ran(&[
            "/nowhere.png",
            "--out",
            "/nowhere/out.png",
            "--dilate",
            "-3",
        ]);
        let message = result.unwrap_err().to_string();
        assert!(
            message.contains("dilate_px") && message.contains("-3"),
            "{message}"
        );
    }
}
