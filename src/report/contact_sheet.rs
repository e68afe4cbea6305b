//! A whole run in one picture: quants as rows, guidance as columns, one block for each combination of
//! the other axes, and missing and failed cells drawn as what they are.

use super::label::{Frame, Lettering, fill, outline};
use super::markdown::counts;
use crate::model::cell::{Baseline, CellKey, Guidance, Quant};
use crate::model::matrix::{Axis, AxisValue};
use crate::model::run::{CellState, Run};
use image::{Rgb, RgbImage, imageops};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Gives a decoded picture by its file's name; `None` if it cannot be read.
pub type Pictures<'a> = &'a (dyn Fn(&str) -> Option<RgbImage> + Sync);

/// What a sheet shows besides the cells.
#[derive(Debug, Clone, Default)]
pub struct SheetOptions {
    /// The longest side of a cell in pixels; 0 takes 320.
    pub cell_px: u32,
    /// The part of every picture that is shown, in its pixels; the whole one if there is none.
    pub region: Option<Frame>,
    /// The session's photograph.
    pub original: Option<RgbImage>,
    /// The mask, white where it is filled.
    pub mask: Option<RgbImage>,
}

const PAPER: Rgb<u8> = Rgb([48, 48, 48]);
const INK: Rgb<u8> = Rgb([235, 235, 235]);
const QUIET: Rgb<u8> = Rgb([165, 165, 165]);
const WARNING: Rgb<u8> = Rgb([240, 160, 60]);
const ACCENT: Rgb<u8> = Rgb([110, 170, 240]);
const FAILED_PAPER: Rgb<u8> = Rgb([64, 44, 36]);
const GAP: u32 = 10;
const TITLE_PX: f32 = 22.0;
const TEXT_PX: f32 = 16.0;
const SMALL_PX: f32 = 13.0;

/// The cells that share everything but quant and guidance.
struct Block {
    title: String,
    quants: Vec<Quant>,
    guidances: Vec<Guidance>,
    cells: BTreeMap<(Quant, Guidance), CellKey>,
}

fn blocks(run: &Run) -> Vec<Block> {
    let other = [Axis::Steps, Axis::Seed, Axis::Prompt, Axis::Dilation];
    let mut grouped: BTreeMap<Vec<AxisValue>, Vec<&CellKey>> = BTreeMap::new();
    for key in run.cells.keys() {
        let page = other.iter().map(|axis| axis.value_of(key)).collect();
        grouped.entry(page).or_default().push(key);
    }
    grouped
        .into_iter()
        .map(|(page, keys)| {
            let quants: BTreeSet<Quant> = keys.iter().map(|key| key.quant.clone()).collect();
            let guidances: BTreeSet<Guidance> = keys.iter().map(|key| key.guidance).collect();
            let title: Vec<String> = other
                .iter()
                .zip(&page)
                // What is the same everywhere or unknown needs no title, the steps aside.
                .filter(|(axis, _)| **axis == Axis::Steps || run.axis_values(**axis).len() > 1)
                .map(|(axis, value)| format!("{} {}", axis.label(), value.label(&run.prompts)))
                .collect();
            Block {
                title: title.join(" · "),
                quants: quants.into_iter().collect(),
                guidances: guidances.into_iter().collect(),
                cells: keys
                    .into_iter()
                    .map(|key| ((key.quant.clone(), key.guidance), key.clone()))
                    .collect(),
            }
        })
        .collect()
}

/// The part of a picture, at most `longest` pixels on its longer side.
fn thumbnail(picture: &RgbImage, region: Option<Frame>, longest: u32) -> RgbImage {
    let (x, y, width, height) = region.unwrap_or((0, 0, picture.width(), picture.height()));
    let x = x.min(picture.width().saturating_sub(1));
    let y = y.min(picture.height().saturating_sub(1));
    let (width, height) = (
        width.min(picture.width() - x),
        height.min(picture.height() - y),
    );
    let part = imageops::crop_imm(picture, x, y, width.max(1), height.max(1)).to_image();
    let (width, height) = fitted(part.dimensions(), longest);
    imageops::resize(&part, width, height, imageops::FilterType::CatmullRom)
}

fn fitted((width, height): (u32, u32), longest: u32) -> (u32, u32) {
    let scale = f64::from(longest) / f64::from(width.max(height).max(1));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    (side(width), side(height))
}

/// Draws the sheet; `None` only if the program was built with a broken font.
pub fn contact_sheet(
    run: &Run,
    options: &SheetOptions,
    pictures: Pictures<'_>,
) -> Option<RgbImage> {
    let letters = Lettering::new()?;
    let cell_px = if options.cell_px == 0 {
        320
    } else {
        options.cell_px
    };
    let thumbnails: BTreeMap<CellKey, RgbImage> = run
        .cells
        .par_iter()
        .filter(|(_, state)| matches!(state, CellState::Done(_)))
        .filter_map(|(key, _)| {
            let picture = pictures(&run.picture_file(key))?;
            Some((key.clone(), thumbnail(&picture, options.region, cell_px)))
        })
        .collect();
    let cell = thumbnails
        .values()
        .next()
        .map_or((cell_px, cell_px * 3 / 4), RgbImage::dimensions);
    let sheet = Sheet {
        run,
        letters,
        cell,
        thumbnails,
    };
    Some(sheet.draw(options))
}

struct Sheet<'a> {
    run: &'a Run,
    letters: Lettering,
    /// Width and height of a cell's picture.
    cell: (u32, u32),
    thumbnails: BTreeMap<CellKey, RgbImage>,
}

impl Sheet<'_> {
    /// Height of the line below a picture.
    const CAPTION: u32 = 22;

    fn draw(&self, options: &SheetOptions) -> RgbImage {
        let blocks = blocks(self.run);
        let labels = self
            .run
            .cells
            .keys()
            .map(|key| self.letters.width(key.quant.as_str(), TEXT_PX))
            .max()
            .unwrap_or(0)
            .max(60)
            + 2 * GAP;
        let columns = blocks
            .iter()
            .map(|block| block.guidances.len())
            .max()
            .unwrap_or(0) as u32;
        let title_lines = self.title_lines();
        let head = GAP + 30 + title_lines.len() as u32 * 20 + GAP;
        let inputs: Vec<(&str, RgbImage)> =
            [("original", &options.original), ("mask", &options.mask)]
                .into_iter()
                .filter_map(|(name, picture)| {
                    let picture = picture.as_ref()?;
                    Some((
                        name,
                        thumbnail(picture, options.region, self.cell.0.max(self.cell.1)),
                    ))
                })
                .collect();
        let inputs_height = inputs
            .iter()
            .map(|(_, picture)| picture.height() + Self::CAPTION + GAP)
            .max()
            .unwrap_or(0);
        let row = self.cell.1 + Self::CAPTION + GAP;
        let block_head = 28 + 24;
        let blocks_height: u32 = blocks
            .iter()
            .map(|block| block_head + row * block.quants.len() as u32 + GAP)
            .sum();
        let inputs_width: u32 = inputs.iter().map(|(_, p)| p.width() + GAP).sum();
        let text_width = title_lines
            .iter()
            .map(|line| self.letters.width(line, TEXT_PX))
            .max()
            .unwrap_or(0);
        let width = (labels + columns * (self.cell.0 + GAP))
            .max(labels + inputs_width)
            .max(text_width + GAP)
            .max(480)
            + GAP;
        let mut image = RgbImage::from_pixel(width, head + inputs_height + blocks_height, PAPER);
        let title = format!("Run {}", self.run.run_id);
        self.letters
            .draw(&mut image, &title, (GAP.into(), 8), TITLE_PX, INK);
        for (index, line) in title_lines.iter().enumerate() {
            let at = (GAP.into(), 40 + 20 * index as i64);
            self.letters.draw(&mut image, line, at, TEXT_PX, QUIET);
        }
        let mut x = labels;
        for (name, picture) in &inputs {
            imageops::replace(&mut image, picture, x.into(), head.into());
            let below = (x.into(), i64::from(head + picture.height()) + 2);
            self.letters.draw(&mut image, name, below, SMALL_PX, INK);
            x += picture.width() + GAP;
        }
        let mut y = head + inputs_height;
        for block in &blocks {
            let at = (GAP.into(), y.into());
            self.letters
                .draw(&mut image, &block.title, at, TEXT_PX, ACCENT);
            for (column, guidance) in (0_u32..).zip(&block.guidances) {
                let text = format!("guidance {guidance}");
                let centre = labels + column * (self.cell.0 + GAP) + self.cell.0 / 2;
                let left = i64::from(centre) - i64::from(self.letters.width(&text, TEXT_PX) / 2);
                self.letters
                    .draw(&mut image, &text, (left, i64::from(y) + 26), TEXT_PX, INK);
            }
            y += block_head;
            for quant in &block.quants {
                let middle = i64::from(y + self.cell.1 / 2) - 10;
                self.letters.draw(
                    &mut image,
                    quant.as_str(),
                    (GAP.into(), middle),
                    TEXT_PX,
                    INK,
                );
                for (column, guidance) in (0_u32..).zip(&block.guidances) {
                    if let Some(key) = block.cells.get(&(quant.clone(), *guidance)) {
                        let x = labels + column * (self.cell.0 + GAP);
                        self.draw_cell(&mut image, key, (x, y));
                    }
                }
                y += row;
            }
            y += GAP;
        }
        image
    }

    fn title_lines(&self) -> Vec<String> {
        let run = self.run;
        let mut facts = Vec::new();
        facts.push(match &run.session {
            Some(session) => format!("session {session}"),
            None => "session unknown".to_owned(),
        });
        if let Some(environment) = &run.environment {
            facts.push(environment.label());
        }
        facts.push(counts(run));
        let mut lines = vec![facts.join(" · ")];
        if !run.expected.is_empty() {
            lines.push(format!("expected: {}", run.expected));
        }
        lines
    }

    fn draw_cell(&self, image: &mut RgbImage, key: &CellKey, (x, y): (u32, u32)) {
        let frame = (x, y, self.cell.0, self.cell.1);
        let run = self.run;
        let state = run.cells.get(key);
        let (caption, ink) = match state {
            Some(CellState::Done(done)) => {
                if let Some(picture) = self.thumbnails.get(key) {
                    imageops::replace(image, picture, x.into(), y.into());
                } else {
                    self.placard(
                        image,
                        frame,
                        "unreadable",
                        "its picture cannot be read",
                        WARNING,
                    );
                }
                let time = done.timing.wall_secs.map(|secs| format!("{secs:.1} s"));
                (time.unwrap_or_else(|| "time unknown".to_owned()), QUIET)
            }
            Some(CellState::Failed { error, .. }) => {
                self.placard(image, frame, "failed", error, WARNING);
                ("failed".to_owned(), WARNING)
            }
            Some(CellState::Unreadable { reason }) => {
                self.placard(image, frame, "unreadable", reason, WARNING);
                ("unreadable".to_owned(), WARNING)
            }
            Some(CellState::Missing) | None => {
                outline(image, frame, 2, QUIET, true);
                self.centred(image, frame, "not run", QUIET);
                (String::new(), QUIET)
            }
        };
        let baseline = match run.baseline(key) {
            Some(Baseline::Exact) => "★ baseline",
            Some(Baseline::OtherSteps) => "★ baseline but for steps",
            None => "",
        };
        let below = i64::from(y + self.cell.1) + 2;
        self.letters
            .draw(image, &caption, (x.into(), below), SMALL_PX, ink);
        if !baseline.is_empty() {
            outline(image, frame, 3, ACCENT, false);
            let width = self.letters.width(baseline, SMALL_PX);
            let right = i64::from(x + self.cell.0) - i64::from(width);
            self.letters
                .draw(image, baseline, (right, below), SMALL_PX, ACCENT);
        }
    }

    /// A cell without a picture: what became of it, and why.
    fn placard(&self, image: &mut RgbImage, frame: Frame, word: &str, why: &str, ink: Rgb<u8>) {
        let (x, y, width, height) = frame;
        fill(image, frame, FAILED_PAPER);
        outline(image, frame, 2, ink, false);
        let at = (i64::from(x) + 10, i64::from(y) + 8);
        self.letters
            .draw(image, &format!("✕ {word}"), at, TEXT_PX, ink);
        let room = height.saturating_sub(40) as usize / 18;
        let lines = self
            .letters
            .wrap(why, SMALL_PX, width.saturating_sub(20), room.max(1));
        for (index, line) in lines.iter().enumerate() {
            let at = (i64::from(x) + 10, i64::from(y) + 34 + 18 * index as i64);
            self.letters.draw(image, line, at, SMALL_PX, INK);
        }
    }

    fn centred(
        &self,
        image: &mut RgbImage,
        (x, y, width, height): Frame,
        text: &str,
        ink: Rgb<u8>,
    ) {
        let left = i64::from(x + width / 2) - i64::from(self.letters.width(text, TEXT_PX) / 2);
        let top = i64::from(y + height / 2) - 10;
        self.letters.draw(image, text, (left, top), TEXT_PX, ink);
    }
}
