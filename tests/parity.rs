//! Holds the pipeline against `PyTorch` and diffusers, stage by stage.
//!
//! Driven by what it finds: `golden.json` names the cases, their sizes, seeds and prompts.
//! `FILL_AUDIT_FIXTURES` names another folder of the same layout (`tiny-fill/bundle`, `noise`).
//! How the references were made stands in `tests/fixtures/*/make_*.py`.
#![expect(
    clippy::print_stdout,
    reason = "with --nocapture a reader wants the figures of a passing test"
)]

use fill_audit::pipeline::noise::TorchGenerator;
use fill_audit::pipeline::{
    ComputeDevice, Conditioning, Draws, FillInputs, FillOutput, FillParams, FillPipeline,
    MatmulPath, ModelFolder, PipelineOptions, PromptEmbedding, Trace,
};
use image::{GrayImage, RgbImage};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

type Anyhow<T = ()> = anyhow::Result<T>;

/// Relative to the largest absolute value of the reference: for dense and dequantized weights.
const EXACT: f32 = 1e-4;
/// The same for integer kernels, which quantize the activations.
const INTEGER: f32 = 3e-2;

fn fixtures() -> PathBuf {
    std::env::var_os("FILL_AUDIT_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
        PathBuf::from,
    )
}

fn bundle_dir() -> PathBuf {
    fixtures().join("tiny-fill/bundle")
}

/// A file of reference tensors.
struct Golden(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Golden {
    fn read(path: &Path) -> Anyhow<Self> {
        let bytes = std::fs::read(path)?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let owned = tensors
            .iter()
            .map(|(name, view)| {
                let value = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
                (name.to_owned(), value)
            })
            .collect();
        Ok(Self(owned))
    }

    fn raw(&self, name: &str) -> Anyhow<&(Dtype, Vec<usize>, Vec<u8>)> {
        self.0
            .get(name)
            .ok_or_else(|| anyhow::anyhow!("the reference has no {name}"))
    }

    fn floats(&self, name: &str) -> Anyhow<Vec<f32>> {
        let (dtype, _, bytes) = self.raw(name)?;
        anyhow::ensure!(*dtype == Dtype::F32, "{name} is {dtype:?}");
        let values = bytes.chunks_exact(4);
        Ok(values
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    fn integers(&self, name: &str) -> Anyhow<Vec<u32>> {
        let (dtype, _, bytes) = self.raw(name)?;
        anyhow::ensure!(*dtype == Dtype::I64, "{name} is {dtype:?}");
        let values = bytes.chunks_exact(8);
        Ok(values
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    fn bytes(&self, name: &str) -> Anyhow<Vec<u8>> {
        let (dtype, _, bytes) = self.raw(name)?;
        anyhow::ensure!(*dtype == Dtype::U8, "{name} is {dtype:?}");
        Ok(bytes.clone())
    }

    /// Names that begin with `prefix`, without it.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter_map(move |k| k.strip_prefix(prefix))
    }
}

/// Collects every comparison, so that one failure does not hide the next.
#[derive(Default)]
struct Comparison {
    lines: String,
    /// What is said of each line from now on.
    under: &'static str,
    failures: usize,
}

impl Comparison {
    fn close(&mut self, what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
        let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let worst = if got.len() == expected.len() {
            let differences = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
            // NaN anywhere must not pass for a small difference.
            differences.fold(0.0_f32, |m, d| if d <= m { m } else { d })
        } else {
            f32::INFINITY
        };
        let relative = worst / scale.max(1e-9);
        let passes = relative <= tolerance;
        self.line(
            what,
            &format!("max abs {worst:.2e}, relative {relative:.2e}"),
            passes,
        );
    }

    fn same<T: PartialEq>(&mut self, what: &str, got: &[T], expected: &[T]) {
        let same = got == expected;
        self.line(what, if same { "equal" } else { "not equal" }, same);
    }

    fn levels(&mut self, what: &str, got: &RgbImage, expected: &[u8]) {
        let worst = if got.as_raw().len() == expected.len() {
            let pairs = got.as_raw().iter().zip(expected);
            pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
        } else {
            u8::MAX
        };
        self.line(what, &format!("{worst} levels"), worst <= 1);
    }

    fn under(&mut self, what: &'static str) {
        self.under = what;
    }

    fn line(&mut self, what: &str, result: &str, passes: bool) {
        let mark = if passes { "" } else { "  <-- FAILS" };
        let under = self.under;
        let _ = writeln!(self.lines, "{what:<56} {under:<16} {result}{mark}");
        self.failures += usize::from(!passes);
    }

    fn finish(self) -> Anyhow {
        println!("{}", self.lines);
        anyhow::ensure!(!self.lines.is_empty(), "nothing was compared");
        anyhow::ensure!(
            self.failures == 0,
            "{} comparisons fail:\n{}",
            self.failures,
            self.lines
        );
        Ok(())
    }
}

/// One entry of `golden.json`.
struct Case {
    name: String,
    width: u32,
    height: u32,
    steps: usize,
    guidance: f64,
    seed: Option<u64>,
    sampled: bool,
    prompt: String,
}

struct Bundle {
    golden: Golden,
    info: Value,
    cases: Vec<Case>,
    seeded: Vec<Case>,
}

fn cases(info: &Value, key: &str) -> Anyhow<Vec<Case>> {
    let cases = info.get(key).and_then(Value::as_object);
    let cases = cases.ok_or_else(|| anyhow::anyhow!("golden.json has no {key}"))?;
    cases
        .iter()
        .map(|(name, c)| {
            let wrong = || anyhow::anyhow!("case {name} is malformed: {c}");
            let side = |key: &str| u32::try_from(c.get(key)?.as_u64()?).ok();
            Ok(Case {
                name: name.clone(),
                width: side("width").ok_or_else(wrong)?,
                height: side("height").ok_or_else(wrong)?,
                steps: side("steps").ok_or_else(wrong)? as usize,
                guidance: c
                    .get("guidance")
                    .and_then(Value::as_f64)
                    .ok_or_else(wrong)?,
                seed: c.get("seed").and_then(Value::as_u64),
                sampled: c.get("posterior").and_then(Value::as_str) == Some("sample"),
                prompt: c
                    .get("prompt")
                    .and_then(Value::as_str)
                    .ok_or_else(wrong)?
                    .to_owned(),
            })
        })
        .collect()
}

impl Bundle {
    fn read() -> Anyhow<Self> {
        let dir = bundle_dir();
        let info: Value = serde_json::from_slice(&std::fs::read(dir.join("golden.json"))?)?;
        Ok(Self {
            golden: Golden::read(&dir.join("golden.safetensors"))?,
            cases: cases(&info, "cases")?,
            seeded: cases(&info, "seeded")?,
            info,
        })
    }

    fn t5_len(&self) -> Option<usize> {
        Some(self.info.get("t5_len")?.as_u64()? as usize)
    }

    fn pipeline(&self, dir: &Path, change: impl Fn(&mut PipelineOptions)) -> Anyhow<FillPipeline> {
        let mut options = PipelineOptions::for_device(ComputeDevice::Cpu);
        options.t5_tokens = self.t5_len();
        // The references were made by PyTorch on one CPU thread; `with_norms` has cases without it too.
        options.torch_cpu_norms = true;
        change(&mut options);
        let folder = ModelFolder::open(dir)?;
        Ok(FillPipeline::new(folder, ComputeDevice::Cpu, options)?)
    }

    fn inputs(&self, case: &Case) -> Anyhow<FillInputs> {
        let (w, h) = (case.width, case.height);
        let image = self.golden.bytes(&format!("{}/image_u8", case.name))?;
        let mask = self.golden.bytes(&format!("{}/mask_u8", case.name))?;
        let wrong = || anyhow::anyhow!("the pictures of {} are not {w}x{h}", case.name);
        Ok(FillInputs {
            image: RgbImage::from_raw(w, h, image).ok_or_else(wrong)?,
            mask: GrayImage::from_raw(w, h, mask).ok_or_else(wrong)?,
        })
    }

    fn params(&self, case: &Case) -> Anyhow<FillParams> {
        let draws = match case.seed {
            Some(seed) => Draws::Seed(seed),
            None => Draws::Given {
                noise: self.golden.floats(&format!("{}/noise", case.name))?,
                posterior: if case.sampled {
                    Some(
                        self.golden
                            .floats(&format!("{}/posterior_eps", case.name))?,
                    )
                } else {
                    None
                },
            },
        };
        Ok(FillParams {
            guidance: case.guidance,
            steps: case.steps,
            draws,
        })
    }
}

fn go_on(_: fill_audit::pipeline::FillEvent) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Prompt and picture of a case, ready for any transformer.
struct Prepared {
    prompt: PromptEmbedding,
    conditioning: Conditioning,
    params: FillParams,
}

fn prepare(bundle: &Bundle, pipeline: &mut FillPipeline, case: &Case) -> Anyhow<Prepared> {
    let prompts = pipeline.encode_prompts(std::slice::from_ref(&case.prompt), &mut go_on)?;
    let prompt = prompts.into_iter().next();
    Ok(Prepared {
        prompt: prompt.ok_or_else(|| anyhow::anyhow!("no embedding came back"))?,
        conditioning: pipeline.encode_image(&bundle.inputs(case)?, &mut go_on)?,
        params: bundle.params(case)?,
    })
}

fn fill(pipeline: &mut FillPipeline, prepared: &Prepared) -> Anyhow<(FillOutput, Trace)> {
    let mut trace = Trace::default();
    let output = pipeline.fill_traced(
        &prepared.prompt,
        &prepared.conditioning,
        &prepared.params,
        &mut go_on,
        Some(&mut trace),
    )?;
    Ok((output, trace))
}

/// Compares every traced value that the reference has under `prefix`.
fn compare_trace(
    comparison: &mut Comparison,
    golden: &Golden,
    prefix: &str,
    trace: &Trace,
    tolerance: f32,
) -> Anyhow<usize> {
    let mut compared = 0;
    for name in golden.under(prefix) {
        let traced = if name == "noise_packed" {
            "noise"
        } else {
            name
        };
        if name == "noise" {
            continue;
        }
        if let Some(values) = trace.values.get(traced) {
            let expected = golden.floats(&format!("{prefix}{name}"))?;
            let tolerance = if traced == "noise" { 0.0 } else { tolerance };
            comparison.close(&format!("{prefix}{name}"), values, &expected, tolerance);
            compared += 1;
        }
    }
    Ok(compared)
}

fn dense_transformer(pipeline: &FillPipeline) -> Anyhow<PathBuf> {
    let mut dense = pipeline.folder().dense_transformers();
    let first = dense.next().map(Path::to_owned);
    first.ok_or_else(|| anyhow::anyhow!("the bundle has no dense transformer"))
}

/// The most pixels at which the rounding of `PyTorch`'s norms on a CPU stays well below the tolerance: 96 x 96.
/// It grows with the picture, and references of larger ones have it in them.
const FEW_PIXELS: u32 = 96 * 96;

/// Each case with the rounding that the references have, and, where that does not show, as the program ships.
fn with_norms(cases: &[Case]) -> impl Iterator<Item = (&Case, bool)> {
    cases.iter().flat_map(|case| {
        let is_small = case.width * case.height <= FEW_PIXELS;
        let as_it_ships = is_small.then_some((case, false));
        as_it_ships.into_iter().chain([(case, true)])
    })
}

/// A bundle's pipeline with `PyTorch`'s norms, or with the very options that the program ships.
fn with_options(bundle: &Bundle, torch_cpu_norms: bool) -> Anyhow<FillPipeline> {
    let shipped = PipelineOptions::for_device(ComputeDevice::Cpu);
    anyhow::ensure!(!shipped.torch_cpu_norms, "the program ships exact norms");
    bundle.pipeline(&bundle_dir(), |options| {
        options.torch_cpu_norms = torch_cpu_norms;
    })
}

fn norms_label(torch_cpu_norms: bool) -> &'static str {
    if torch_cpu_norms {
        "PyTorch's norms"
    } else {
        "as it ships"
    }
}

#[test]
fn every_stage_is_that_of_diffusers_when_the_noise_is_given() -> Anyhow {
    let bundle = Bundle::read()?;
    let mut comparison = Comparison::default();
    for (case, torch_cpu_norms) in with_norms(&bundle.cases) {
        let mut pipeline = with_options(&bundle, torch_cpu_norms)?;
        comparison.under(norms_label(torch_cpu_norms));
        let prepared = prepare(&bundle, &mut pipeline, case)?;
        let at = |name: &str| format!("{}/{name}", case.name);
        let golden = &bundle.golden;
        let prompt = &prepared.prompt;
        comparison.same(
            &at("clip_ids"),
            prompt.clip_ids(),
            &golden.integers(&at("clip_ids"))?,
        );
        comparison.same(
            &at("t5_ids"),
            prompt.t5_ids(),
            &golden.integers(&at("t5_ids"))?,
        );
        for (name, values) in [
            ("prompt_embeds", prompt.token_values()?),
            ("pooled", prompt.pooled_values()?),
            ("moments", prepared.conditioning.moment_values()?),
        ] {
            comparison.close(&at(name), &values, &golden.floats(&at(name))?, EXACT);
        }
        let dense = dense_transformer(&pipeline)?;
        pipeline.load(&dense, &mut go_on)?;
        let (output, trace) = fill(&mut pipeline, &prepared)?;
        let compared = compare_trace(&mut comparison, golden, &at(""), &trace, EXACT)?;
        // Conditioning, noise, sigmas, z, decoded, and two values a step.
        anyhow::ensure!(
            compared == 5 + 2 * case.steps,
            "{compared} values of {}",
            case.name
        );
        comparison.levels(
            &at("output_u8"),
            &output.image,
            &golden.bytes(&at("output_u8"))?,
        );
    }
    comparison.finish()
}

#[test]
fn a_fill_from_a_seed_alone_is_that_of_diffusers() -> Anyhow {
    let bundle = Bundle::read()?;
    let mut comparison = Comparison::default();
    for (case, torch_cpu_norms) in with_norms(&bundle.seeded) {
        let mut pipeline = with_options(&bundle, torch_cpu_norms)?;
        comparison.under(norms_label(torch_cpu_norms));
        let prepared = prepare(&bundle, &mut pipeline, case)?;
        let dense = dense_transformer(&pipeline)?;
        pipeline.load(&dense, &mut go_on)?;
        let (output, trace) = fill(&mut pipeline, &prepared)?;
        let prefix = format!("{}/", case.name);
        let compared = compare_trace(&mut comparison, &bundle.golden, &prefix, &trace, EXACT)?;
        anyhow::ensure!(compared == case.steps, "{compared} values of {}", case.name);
        let expected = bundle.golden.bytes(&format!("{prefix}output_u8"))?;
        comparison.levels(&format!("{prefix}output_u8"), &output.image, &expected);
    }
    comparison.finish()
}

/// Fills with every GGUF file of the bundle and holds it against the dequantized reference.
fn compare_gguf(tolerance: f32, change: impl Fn(&mut PipelineOptions)) -> Anyhow<FillPipeline> {
    let bundle = Bundle::read()?;
    let files = bundle.info.get("gguf").and_then(Value::as_object);
    let files = files.ok_or_else(|| anyhow::anyhow!("golden.json names no GGUF files"))?;
    let mut comparison = Comparison::default();
    let mut pipeline = bundle.pipeline(&bundle_dir(), &change)?;
    let mut compared_of: BTreeMap<&str, usize> =
        files.keys().map(|file| (file.as_str(), 0)).collect();
    for case in &bundle.cases {
        let mut prepared = None;
        for file in files.keys() {
            let prefix = format!("gguf/{file}/{}/", case.name);
            if bundle.golden.under(&prefix).next().is_none() {
                continue;
            }
            let prepared = match &mut prepared {
                Some(prepared) => prepared,
                none => none.insert(prepare(&bundle, &mut pipeline, case)?),
            };
            pipeline.load(&bundle_dir().join(file), &mut go_on)?;
            let (_, trace) = fill(&mut pipeline, prepared)?;
            let compared =
                compare_trace(&mut comparison, &bundle.golden, &prefix, &trace, tolerance)?;
            anyhow::ensure!(compared == 2 * case.steps, "{compared} values of {prefix}");
            *compared_of.entry(file).or_default() += compared;
        }
    }
    anyhow::ensure!(!compared_of.is_empty(), "golden.json names no GGUF files");
    for (file, compared) in compared_of {
        anyhow::ensure!(compared > 0, "no case of the references is of {file}");
    }
    comparison.finish()?;
    Ok(pipeline)
}

#[test]
fn quantized_files_fill_as_their_dequantized_weights_do() -> Anyhow {
    let ran = compare_gguf(EXACT, |_| {})?.matmuls();
    anyhow::ensure!(ran.dense > 0 && ran.tiled + ran.integer == 0, "{ran:?}");
    Ok(())
}

#[test]
fn weights_that_are_dequantized_tile_by_tile_fill_the_same() -> Anyhow {
    let ran = compare_gguf(EXACT, |options| options.dense_budget_bytes = 0)?.matmuls();
    anyhow::ensure!(ran.tiled > 0 && ran.dense + ran.integer == 0, "{ran:?}");
    Ok(())
}

#[test]
fn integer_kernels_stay_within_what_quantized_activations_cost() -> Anyhow {
    let ran = compare_gguf(INTEGER, |options| options.matmul = MatmulPath::Integer)?.matmuls();
    anyhow::ensure!(ran.integer > 0, "{ran:?}");
    Ok(())
}

#[test]
fn noise_is_what_pytorch_draws_number_for_number() -> Anyhow {
    let golden = Golden::read(&fixtures().join("noise/torch_cpu.safetensors"))?;
    let mut comparison = Comparison::default();
    for (name, (dtype, shape, bytes)) in &golden.0 {
        let seed = name
            .strip_prefix("seed")
            .and_then(|rest| rest.split('_').next())
            .and_then(|seed| seed.parse().ok())
            .ok_or_else(|| anyhow::anyhow!("{name} names no seed"))?;
        let mut generator = TorchGenerator::new(seed);
        let len = shape.iter().product();
        let drawn: Vec<u8> = match dtype {
            Dtype::F32 => generator
                .randn_f32(len)
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect(),
            Dtype::BF16 => generator
                .randn_bf16(len)
                .into_iter()
                .flat_map(half::bf16::to_le_bytes)
                .collect(),
            other => anyhow::bail!("{name} is {other:?}"),
        };
        comparison.same(name, &drawn, bytes);
    }
    comparison.finish()
}

/// Rewrites the bundle in the layout of the published repository: `tokenizer` with `vocab.json` and
/// `merges.txt`, `tokenizer_2` with `tokenizer.json`, T5 in two shards with an index.
fn publish(bundle: &Path, out: &Path) -> Anyhow {
    let copy = |from: &str, to: &str| -> Anyhow {
        let to = out.join(to);
        std::fs::create_dir_all(to.parent().unwrap_or(out))?;
        std::fs::copy(bundle.join(from), to)?;
        Ok(())
    };
    copy("ae.safetensors", "ae.safetensors")?;
    copy("config.json", "config.json")?;
    copy("text_encoder/config.json", "text_encoder/config.json")?;
    copy(
        "text_encoder/model.safetensors",
        "text_encoder/model.safetensors",
    )?;
    copy("text_encoder_2/config.json", "text_encoder_2/config.json")?;
    copy(
        "text_encoder_2/tokenizer.json",
        "tokenizer_2/tokenizer.json",
    )?;
    copy(
        "text_encoder_2/tokenizer_config.json",
        "tokenizer_2/tokenizer_config.json",
    )?;

    let json = std::fs::read(bundle.join("text_encoder/tokenizer.json"))?;
    let json: Value = serde_json::from_slice(&json)?;
    let model = json.get("model").cloned().unwrap_or_default();
    let vocab = model.get("vocab").cloned().unwrap_or_default();
    let mut merges = String::from("#version: 0.2\n");
    for pair in model
        .get("merges")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let part = |i: usize| pair.get(i).and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(merges, "{} {}", part(0), part(1));
    }
    std::fs::create_dir_all(out.join("tokenizer"))?;
    std::fs::write(out.join("tokenizer/vocab.json"), vocab.to_string())?;
    std::fs::write(out.join("tokenizer/merges.txt"), merges)?;

    let bytes = std::fs::read(bundle.join("text_encoder_2/model.safetensors"))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    names.sort();
    let halves = names.split_at(names.len() / 2);
    let mut map = serde_json::Map::new();
    for (i, half) in [halves.0, halves.1].into_iter().enumerate() {
        let file = format!("model-{:05}-of-00002.safetensors", i + 1);
        let mut views = Vec::new();
        for name in half {
            views.push((name.clone(), tensors.tensor(name)?));
            map.insert(name.clone(), Value::from(file.clone()));
        }
        let shard = safetensors::serialize(views, None)?;
        std::fs::write(out.join("text_encoder_2").join(file), shard)?;
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(
        out.join("text_encoder_2/model.safetensors.index.json"),
        index.to_string(),
    )?;
    Ok(())
}

#[test]
fn the_published_layout_embeds_and_fills_as_the_flat_one_does() -> Anyhow {
    let bundle = Bundle::read()?;
    let published = tempfile::tempdir()?;
    publish(&bundle_dir(), published.path())?;
    let mut flat = bundle.pipeline(&bundle_dir(), |_| {})?;
    let mut sharded = bundle.pipeline(published.path(), |_| {})?;
    let dense = dense_transformer(&flat)?;
    let mut comparison = Comparison::default();
    for case in &bundle.cases {
        let a = prepare(&bundle, &mut flat, case)?;
        let b = prepare(&bundle, &mut sharded, case)?;
        let at = |name: &str| format!("{}/{name}", case.name);
        let (pa, pb) = (&a.prompt, &b.prompt);
        comparison.same(&at("clip_ids"), pb.clip_ids(), pa.clip_ids());
        comparison.same(&at("t5_ids"), pb.t5_ids(), pa.t5_ids());
        comparison.same(&at("tokens"), &pb.token_values()?, &pa.token_values()?);
        comparison.same(&at("pooled"), &pb.pooled_values()?, &pa.pooled_values()?);
        flat.load(&dense, &mut go_on)?;
        sharded.load(&dense, &mut go_on)?;
        let (a, b) = (fill(&mut flat, &a)?.0, fill(&mut sharded, &b)?.0);
        comparison.same(&at("picture"), b.image.as_raw(), a.image.as_raw());
    }
    comparison.finish()
}
