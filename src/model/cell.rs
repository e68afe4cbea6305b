//! One cell of a matrix: its key, the file name that the key gives, and both ways between them.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A value of an axis that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {value:?}")]
pub struct ValueError {
    /// What is wrong and what is allowed.
    pub problem: &'static str,
    /// The refused text.
    pub value: String,
}

/// A quantization by its name in file names, such as `Q5_K_S`. One that the program does not know is
/// still a cell to be seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quant(String);

impl Quant {
    /// Quantizations in the order of the bits that they keep; unknown ones sort after them by name.
    const ORDER: [&'static str; 14] = [
        "Q2_K", "Q3_K_S", "Q3_K_M", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M", "Q5_0", "Q5_1", "Q5_K_S",
        "Q5_K_M", "Q6_K", "Q8_0", "BF16",
    ];

    /// Checks a quantization's name: 1 to 32 letters, digits, `_`, `-` or `.`.
    ///
    /// # Errors
    /// [`ValueError`] for anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        let text = text.into();
        let legal = (1..=32).contains(&text.len())
            && !text.starts_with('.')
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && !text.contains("_gs");
        if legal {
            Ok(Self(text))
        } else {
            Err(ValueError {
                problem: "a quant is 1 to 32 letters, digits, '_', '-' or '.', without \"_gs\"",
                value: text,
            })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The three quants of the audit's matrix.
    pub fn audited() -> Vec<Self> {
        ["Q4_0", "Q5_K_S", "Q8_0"]
            .map(|name| Self(name.to_owned()))
            .to_vec()
    }

    fn rank(&self) -> usize {
        Self::ORDER
            .iter()
            .position(|name| *name == self.0)
            .unwrap_or(Self::ORDER.len())
    }
}

impl Ord for Quant {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        let by_rank = self.rank().cmp(&other.rank());
        by_rank.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Quant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Quant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Quant {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(text)
    }
}

impl From<Quant> for String {
    fn from(quant: Quant) -> Self {
        quant.0
    }
}

impl FromStr for Quant {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::new(text)
    }
}

macro_rules! decimal {
    ($(#[$doc:meta])* $name:ident, $max:expr, $problem:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Checks and keeps a value.
            ///
            /// # Errors
            /// [`ValueError`] if it is not finite or out of range.
            pub fn new(value: f64) -> Result<Self, ValueError> {
                if value.is_finite() && (0.0..=$max).contains(&value) {
                    // Neither -0.0 nor more digits than a file name should carry.
                    Ok(Self((value * 10_000.0).round() / 10_000.0 + 0.0))
                } else {
                    Err(ValueError { problem: $problem, value: value.to_string() })
                }
            }

            /// The number.
            pub fn value(self) -> f64 {
                self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $name {}

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.to_bits().hash(state);
            }
        }

        impl fmt::Display for $name {
            /// The shortest decimal that reads back: `10`, `2.5`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.to_string())
            }
        }

        impl FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<Self, ValueError> {
                let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                match text.parse() {
                    Ok(value) if plain => Self::new(value),
                    _ => Err(ValueError { problem: $problem, value: text.to_owned() }),
                }
            }
        }

        impl TryFrom<f64> for $name {
            type Error = ValueError;
            fn try_from(value: f64) -> Result<Self, ValueError> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

decimal!(
    /// A guidance scale, 0 to 1000, as it is fed to the guidance embedding. Kept to 4 decimals.
    Guidance,
    1000.0,
    "guidance must be a number from 0 to 1000"
);
decimal!(
    /// A radius in pixels at inference size, 0 to 256. Kept to 4 decimals.
    RadiusPx,
    256.0,
    "a radius must be a number of pixels from 0 to 256"
);

impl Guidance {
    /// The five guidance scales of the audit's matrix.
    pub fn audited() -> Vec<Self> {
        [2.0, 4.0, 10.0, 20.0, 30.0].map(Self).to_vec()
    }
}

/// A number of denoising steps, 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Steps(u32);

impl Steps {
    /// Production's number of steps, and that of a run that does not say.
    pub const PRODUCTION: Self = Self(28);

    /// Checks a number of steps.
    ///
    /// # Errors
    /// [`ValueError`] outside 1 to 1000.
    pub fn new(value: u32) -> Result<Self, ValueError> {
        if (1..=1000).contains(&value) {
            Ok(Self(value))
        } else {
            Err(ValueError {
                problem: "steps must be from 1 to 1000",
                value: value.to_string(),
            })
        }
    }

    /// The number.
    pub fn value(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Steps {
    type Error = ValueError;
    fn try_from(value: u32) -> Result<Self, ValueError> {
        Self::new(value)
    }
}

impl From<Steps> for u32 {
    fn from(value: Steps) -> Self {
        value.0
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for Steps {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse()
            .ok()
            .and_then(|value| Self::new(value).ok())
            .ok_or_else(|| ValueError {
                problem: "steps must be from 1 to 1000",
                value: text.to_owned(),
            })
    }
}

/// The first 8 hexadecimal digits of a mask recipe's hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecipeHash(String);

impl RecipeHash {
    /// Checks 8 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`ValueError`] for anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        let text = text.into();
        if text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text))
        } else {
            Err(ValueError {
                problem: "a recipe's hash is 8 lower-case hex digits",
                value: text,
            })
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RecipeHash {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(text)
    }
}

impl From<RecipeHash> for String {
    fn from(hash: RecipeHash) -> Self {
        hash.0
    }
}

/// What was asked of one cell. `None` is unknown: a run of the Python service does not say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellKey {
    /// Quantization of the transformer.
    pub quant: Quant,
    /// Guidance scale.
    pub guidance: Guidance,
    /// Denoising steps.
    pub steps: Steps,
    /// Seed of the initial noise.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Index into the run's prompts.
    #[serde(default)]
    pub prompt: Option<usize>,
    /// Dilation of the mask, in pixels at inference size.
    #[serde(default)]
    pub dilate_px: Option<RadiusPx>,
    /// Set when the mask recipe differs from the run's in more than its dilation.
    #[serde(default)]
    pub recipe: Option<RecipeHash>,
}

/// What a cell's name leaves out: the run's first value of each axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellDefaults {
    /// The run's first number of steps.
    pub steps: Steps,
    /// The run's first seed.
    pub seed: Option<u64>,
    /// The run's first prompt's index.
    pub prompt: Option<usize>,
    /// The run's first dilation.
    pub dilate_px: Option<RadiusPx>,
}

impl CellDefaults {
    /// Of a run without `run.ron`: 28 steps and nothing else known.
    pub fn of_service_run() -> Self {
        Self {
            steps: Steps::PRODUCTION,
            seed: None,
            prompt: None,
            dilate_px: None,
        }
    }
}

/// How a cell relates to what production does today: `Q4_0`, guidance 10, 28 steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Production's quant, guidance and steps.
    Exact,
    /// Production's quant and guidance at other steps, in a run that has no cell at 28.
    OtherSteps,
}

impl CellKey {
    /// Whether this is production's quant, guidance and steps, with the run's first seed, prompt,
    /// dilation and recipe.
    pub fn is_baseline(&self, defaults: &CellDefaults) -> bool {
        self.steps == Steps::PRODUCTION && self.is_baseline_but_steps(defaults)
    }

    pub(crate) fn is_baseline_but_steps(&self, defaults: &CellDefaults) -> bool {
        self.quant.as_str() == "Q4_0"
            && self.guidance.value() == 10.0
            && self.seed == defaults.seed
            && self.prompt == defaults.prompt
            && self.dilate_px == defaults.dilate_px
            && self.recipe.is_none()
    }

    /// The cell's file name without extension: `Q4_0_gs10`, plus what differs from the defaults:
    /// `_s50`, `_seed7`, `_p1`, `_d12`, `_m0123abcd`.
    pub fn name(&self, defaults: &CellDefaults) -> String {
        use std::fmt::Write as _;
        let mut name = format!("{}_gs{}", self.quant, self.guidance);
        if self.steps != defaults.steps {
            let _ = write!(name, "_s{}", self.steps);
        }
        if let Some(seed) = self.seed.filter(|_| self.seed != defaults.seed) {
            let _ = write!(name, "_seed{seed}");
        }
        if let Some(prompt) = self.prompt.filter(|_| self.prompt != defaults.prompt) {
            let _ = write!(name, "_p{prompt}");
        }
        if let Some(dilate_px) = self
            .dilate_px
            .filter(|_| self.dilate_px != defaults.dilate_px)
        {
            let _ = write!(name, "_d{dilate_px}");
        }
        if let Some(recipe) = &self.recipe {
            let _ = write!(name, "_m{}", recipe.as_str());
        }
        name
    }

    /// Reads a name back; `None` if it is not a cell's. Parts must come in the order of
    /// [`CellKey::name`], each at most once, in the form in which it is written.
    pub fn parse(name: &str, defaults: &CellDefaults) -> Option<Self> {
        let (quant, rest) = name.rsplit_once("_gs")?;
        let mut parts = rest.split('_').peekable();
        let mut key = Self {
            quant: Quant::new(quant).ok()?,
            guidance: parts.next()?.parse().ok()?,
            steps: defaults.steps,
            seed: defaults.seed,
            prompt: defaults.prompt,
            dilate_px: defaults.dilate_px,
            recipe: None,
        };
        if let Some(part) = parts.next_if(|part| part.starts_with('s') && !part.starts_with("seed"))
        {
            key.steps = part.strip_prefix('s')?.parse().ok()?;
        }
        if let Some(part) = parts.next_if(|part| part.starts_with("seed")) {
            key.seed = Some(part.strip_prefix("seed")?.parse().ok()?);
        }
        if let Some(part) = parts.next_if(|part| part.starts_with('p')) {
            key.prompt = Some(part.strip_prefix('p')?.parse().ok()?);
        }
        if let Some(part) = parts.next_if(|part| part.starts_with('d')) {
            key.dilate_px = Some(part.strip_prefix('d')?.parse().ok()?);
        }
        if let Some(part) = parts.next_if(|part| part.starts_with('m')) {
            key.recipe = Some(RecipeHash::new(part.strip_prefix('m')?).ok()?);
        }
        parts.next().is_none().then_some(key)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use proptest::prelude::*;

    fn defaults() -> CellDefaults {
        CellDefaults {
            steps: Steps::PRODUCTION,
            seed: Some(42),
            prompt: Some(0),
            dilate_px: Some(RadiusPx::new(10.0).unwrap()),
        }
    }

    #[test]
    fn a_run_at_the_defaults_has_the_services_names() {
        let key = CellKey::parse("Q5_K_S_gs30", &defaults()).unwrap();
        assert_eq!(key.name(&defaults()), "Q5_K_S_gs30");
        assert_eq!(key.quant.as_str(), "Q5_K_S");
        assert_eq!(key.seed, Some(42));
    }

    #[test]
    fn every_difference_is_named_in_order() {
        let name = "Q8_0_gs2.5_s50_seed7_p3_d12.5_m0123abcd";
        let key = CellKey::parse(name, &defaults()).unwrap();
        assert_eq!(key.name(&defaults()), name);
        assert_eq!(key.guidance.value(), 2.5);
        assert_eq!(key.steps.value(), 50);
    }

    #[test]
    fn names_that_are_no_cells_are_none() {
        for bad in [
            "REPORT",
            "image",
            "Q4_0",
            "Q4_0_gs",
            "_gs10",
            "Q4_0_gsx",
            "Q4_0_gs10_",
            "Q4_0_gs10_x1",
            "Q4_0_gs10_seed7_s50",
            "Q4_0_gs-1",
            "Q4_0_gsinf",
            "Q4_0_gs1e3",
            "Q4_0_gs10_s0",
            "../x_gs10",
            "Q4_0_gs10.fill",
        ] {
            assert_eq!(CellKey::parse(bad, &defaults()), None, "{bad}");
        }
    }

    #[test]
    fn guidance_is_written_in_the_shortest_decimal() {
        for (text, shown) in [("10", "10"), ("10.0", "10"), ("2.50", "2.5"), ("0", "0")] {
            assert_eq!(text.parse::<Guidance>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn only_production_is_the_baseline() {
        let key = CellKey::parse("Q4_0_gs10", &defaults()).unwrap();
        assert!(key.is_baseline(&defaults()));
        for other in [
            "Q8_0_gs10",
            "Q4_0_gs4",
            "Q4_0_gs10_s50",
            "Q4_0_gs10_seed1",
            "Q4_0_gs10_p1",
        ] {
            assert!(
                !CellKey::parse(other, &defaults())
                    .unwrap()
                    .is_baseline(&defaults()),
                "{other}"
            );
        }
    }

    #[test]
    fn quants_sort_by_the_bits_that_they_keep() {
        let mut quants: Vec<Quant> = ["BF16", "Q8_0", "NEW_1", "Q4_0", "Q5_K_S"]
            .map(|q| Quant::new(q).unwrap())
            .to_vec();
        quants.sort();
        let names: Vec<&str> = quants.iter().map(Quant::as_str).collect();
        assert_eq!(names, ["Q4_0", "Q5_K_S", "Q8_0", "BF16", "NEW_1"]);
    }

    proptest! {
        #[test]
        fn any_key_reads_back_from_its_name(
            quant in "[A-Z][A-Z0-9_]{0,9}", guidance in 0.0f64..1000.0, steps in 1u32..=1000,
            seed in any::<u64>(), prompt in 0usize..20, dilate in 0.0f64..256.0,
            recipe in proptest::option::of("[0-9a-f]{8}"),
        ) {
            prop_assume!(!quant.contains("_gs"));
            let key = CellKey {
                quant: Quant::new(quant).unwrap(),
                guidance: Guidance::new(guidance).unwrap(),
                steps: Steps::new(steps).unwrap(),
                seed: Some(seed),
                prompt: Some(prompt),
                dilate_px: Some(RadiusPx::new(dilate).unwrap()),
                recipe: recipe.map(|r| RecipeHash::new(r).unwrap()),
            };
            prop_assert_eq!(CellKey::parse(&key.name(&defaults()), &defaults()), Some(key));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = CellKey::parse(&text, &defaults());
        }
    }
}
