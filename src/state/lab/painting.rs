//! Painting on a mask at original resolution: brush, eraser, lasso, fill, another file; with undo.
//!
//! A stroke from press to release is one step of undo. Knows nothing of the screen or of recipes.

use crate::imaging::GrayImage;
use crate::imaging::mask::binary::PixelBox;
use std::sync::Arc;

/// Bytes of pixels that undo keeps; the oldest steps go first.
const HISTORY_BYTES: usize = 256 << 20;

/// What a person does to the mask. Positions and radii are in pixels of the original.
#[derive(Debug, Clone, PartialEq)]
pub enum PaintOp {
    /// A stroke begins.
    Begin {
        /// Where.
        pos_in_image: [f32; 2],
        /// The brush's radius.
        radius_px: f32,
        /// Whether it paints; otherwise it erases.
        is_white: bool,
    },
    /// The stroke goes on to here.
    To {
        /// Where to.
        pos_in_image: [f32; 2],
    },
    /// The stroke ends.
    End,
    /// What an outline encloses.
    Lasso {
        /// Its corners; the last is joined to the first.
        points_in_image: Vec<[f32; 2]>,
        /// Whether it paints; otherwise it erases.
        is_white: bool,
    },
    /// The area around a pixel that is of one side of the threshold with it.
    Fill {
        /// The pixel.
        pos_in_image: [f32; 2],
        /// Whether it paints; otherwise it erases.
        is_white: bool,
    },
    /// Takes a step back.
    Undo,
    /// Does it again.
    Redo,
}

/// Pixels of a rectangle as they were.
#[derive(Debug)]
struct Patch {
    area: PixelBox,
    pixels: GrayImage,
}

impl Patch {
    fn of(mask: &GrayImage, area: PixelBox) -> Self {
        let part = image::imageops::crop_imm(mask, area.x, area.y, area.width, area.height);
        Self {
            area,
            pixels: part.to_image(),
        }
    }

    fn size_bytes(&self) -> usize {
        self.pixels.as_raw().len()
    }
}

#[derive(Debug)]
struct Stroke {
    before: Arc<GrayImage>,
    last: [f32; 2],
    radius_px: f32,
    value: u8,
    dirty: Option<PixelBox>,
}

/// A mask that is painted on.
#[derive(Debug)]
pub struct MaskPainting {
    mask: Arc<GrayImage>,
    undo: Vec<Patch>,
    redo: Vec<Patch>,
    stroke: Option<Stroke>,
    revision: u64,
}

impl MaskPainting {
    /// A mask without history.
    pub fn new(mask: GrayImage) -> Self {
        Self {
            mask: Arc::new(mask),
            undo: Vec::new(),
            redo: Vec::new(),
            stroke: None,
            revision: 0,
        }
    }

    /// The mask as it is now.
    pub fn mask(&self) -> &Arc<GrayImage> {
        &self.mask
    }

    /// Counts changes.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether there is a step to take back.
    pub fn can_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Whether there is a step to do again.
    pub fn can_redo(&self) -> bool {
        !self.redo.is_empty()
    }

    /// Does what was asked; answers the rectangle that changed, if anything did.
    pub fn apply(&mut self, op: &PaintOp) -> Option<PixelBox> {
        let changed = match op {
            PaintOp::Begin {
                pos_in_image,
                radius_px,
                is_white,
            } => {
                self.end_stroke();
                self.stroke = Some(Stroke {
                    before: Arc::clone(&self.mask),
                    last: *pos_in_image,
                    radius_px: radius_px.clamp(0.5, 4096.0),
                    value: value_of(*is_white),
                    dirty: None,
                });
                self.stroke_to(*pos_in_image)
            }
            PaintOp::To { pos_in_image } => self.stroke_to(*pos_in_image),
            PaintOp::End => {
                self.end_stroke();
                None
            }
            PaintOp::Lasso {
                points_in_image,
                is_white,
            } => {
                self.end_stroke();
                let area = bounds(points_in_image, 0.0, self.mask.dimensions())?;
                self.step(area, |mask| {
                    fill_polygon(mask, points_in_image, value_of(*is_white));
                });
                Some(area)
            }
            PaintOp::Fill {
                pos_in_image,
                is_white,
            } => {
                self.end_stroke();
                let value = value_of(*is_white);
                let (spans, area) = area_around(&self.mask, *pos_in_image)?;
                self.step(area, |mask| {
                    for (y, from, to) in spans {
                        for x in from..to {
                            mask.put_pixel(x, y, image::Luma([value]));
                        }
                    }
                });
                Some(area)
            }
            PaintOp::Undo => {
                self.end_stroke();
                let patch = self.undo.pop()?;
                let (area, inverse) = self.put(&patch);
                self.redo.push(inverse);
                Some(area)
            }
            PaintOp::Redo => {
                self.end_stroke();
                let patch = self.redo.pop()?;
                let (area, inverse) = self.put(&patch);
                self.undo.push(inverse);
                Some(area)
            }
        };
        if changed.is_some() {
            self.revision += 1;
        }
        changed
    }

    /// Takes another mask of the same size in one step. One of another size is left aside.
    pub fn replace(&mut self, mask: &GrayImage) -> Option<PixelBox> {
        if mask.dimensions() != self.mask.dimensions() {
            return None;
        }
        self.end_stroke();
        let area = PixelBox::whole(mask.width(), mask.height());
        self.step(area, |own| own.clone_from(mask));
        self.revision += 1;
        Some(area)
    }

    /// One step of undo around a change.
    fn step(&mut self, area: PixelBox, change: impl FnOnce(&mut GrayImage)) {
        self.remember(Patch::of(&self.mask, area));
        change(Arc::make_mut(&mut self.mask));
    }

    fn remember(&mut self, patch: Patch) {
        self.redo.clear();
        self.undo.push(patch);
        let mut bytes: usize = self.undo.iter().map(Patch::size_bytes).sum();
        while bytes > HISTORY_BYTES && self.undo.len() > 1 {
            bytes -= self.undo.remove(0).size_bytes();
        }
    }

    fn put(&mut self, patch: &Patch) -> (PixelBox, Patch) {
        let inverse = Patch::of(&self.mask, patch.area);
        let (x, y) = (i64::from(patch.area.x), i64::from(patch.area.y));
        image::imageops::replace(Arc::make_mut(&mut self.mask), &patch.pixels, x, y);
        (patch.area, inverse)
    }

    fn stroke_to(&mut self, pos: [f32; 2]) -> Option<PixelBox> {
        let stroke = self.stroke.as_mut()?;
        let from = std::mem::replace(&mut stroke.last, pos);
        let (radius, value) = (stroke.radius_px, stroke.value);
        let area = bounds(&[from, pos], radius, self.mask.dimensions())?;
        stroke.dirty = Some(stroke.dirty.map_or(area, |dirty| joined(dirty, area)));
        let mask = Arc::make_mut(&mut self.mask);
        for y in area.y..area.bottom() {
            for x in area.x..area.right() {
                let centre = [x as f32 + 0.5, y as f32 + 0.5];
                if squared_distance(centre, from, pos) <= radius * radius {
                    mask.put_pixel(x, y, image::Luma([value]));
                }
            }
        }
        Some(area)
    }

    fn end_stroke(&mut self) {
        if let Some(stroke) = self.stroke.take()
            && let Some(dirty) = stroke.dirty
        {
            self.remember(Patch::of(&stroke.before, dirty));
        }
    }
}

const fn value_of(is_white: bool) -> u8 {
    if is_white { 255 } else { 0 }
}

/// The smallest box around both.
pub fn joined(a: PixelBox, b: PixelBox) -> PixelBox {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let (right, bottom) = (a.right().max(b.right()), a.bottom().max(b.bottom()));
    PixelBox {
        x,
        y,
        width: right - x,
        height: bottom - y,
    }
}

/// The pixels around points, `margin` further out, inside the picture; none outside it.
fn bounds(points: &[[f32; 2]], margin: f32, (width, height): (u32, u32)) -> Option<PixelBox> {
    let along = |axis: usize, side: u32| {
        let values = points.iter().filter_map(|point| point.get(axis).copied());
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f32::MAX, f32::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let from = (low - margin).floor().clamp(0.0, side as f32) as u32;
        let to = (high + margin).ceil().clamp(0.0, side as f32) as u32;
        (to > from).then(|| (from, to - from))
    };
    let (x, box_width) = along(0, width)?;
    let (y, box_height) = along(1, height)?;
    Some(PixelBox {
        x,
        y,
        width: box_width,
        height: box_height,
    })
}

/// Squared distance of a point to the line between two others.
fn squared_distance(point: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let away = [point[0] - from[0], point[1] - from[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let t = if length > 0.0 {
        ((away[0] * along[0] + away[1] * along[1]) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let rest = [away[0] - t * along[0], away[1] - t * along[1]];
    rest[0] * rest[0] + rest[1] * rest[1]
}

/// Fills the pixels whose centres an outline encloses, by the even-odd rule.
fn fill_polygon(mask: &mut GrayImage, points: &[[f32; 2]], value: u8) {
    let Some(area) = bounds(points, 0.0, mask.dimensions()) else {
        return;
    };
    let edges: Vec<([f32; 2], [f32; 2])> = points
        .iter()
        .copied()
        .zip(points.iter().copied().cycle().skip(1))
        .collect();
    let mut crossings = Vec::new();
    for y in area.y..area.bottom() {
        let at = y as f32 + 0.5;
        crossings.clear();
        crossings.extend(
            edges
                .iter()
                .filter(|(a, b)| (a[1] <= at) != (b[1] <= at))
                .map(|(a, b)| a[0] + (at - a[1]) / (b[1] - a[1]) * (b[0] - a[0])),
        );
        crossings.sort_by(f32::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let &[from, to] = pair else { continue };
            let first = (from - 0.5).ceil().clamp(0.0, mask.width() as f32) as u32;
            let end = ((to - 0.5).floor() + 1.0).clamp(0.0, mask.width() as f32) as u32;
            for x in first..end {
                mask.put_pixel(x, y, image::Luma([value]));
            }
        }
    }
}

/// Runs of pixels: row, first column, column after the last.
type Spans = Vec<(u32, u32, u32)>;

/// The area of one side of 128 around a pixel, joined along edges, and its box.
fn area_around(mask: &GrayImage, pos: [f32; 2]) -> Option<(Spans, PixelBox)> {
    let (width, height) = mask.dimensions();
    if !(0.0..width as f32).contains(&pos[0]) || !(0.0..height as f32).contains(&pos[1]) {
        return None;
    }
    let start = (pos[0] as u32, pos[1] as u32);
    let is_white = |x: u32, y: u32| mask.get_pixel(x, y).0[0] >= 128;
    let wanted = is_white(start.0, start.1);
    let mut seen = vec![false; width as usize * height as usize];
    let at = |x: u32, y: u32| y as usize * width as usize + x as usize;
    let mut spans = Vec::new();
    let mut stack = vec![start];
    let mut area: Option<PixelBox> = None;
    while let Some((x, y)) = stack.pop() {
        if seen[at(x, y)] {
            continue;
        }
        let is_open = |x: u32, seen: &[bool]| is_white(x, y) == wanted && !seen[at(x, y)];
        let mut from = x;
        while from > 0 && is_open(from - 1, &seen) {
            from -= 1;
        }
        let mut to = x + 1;
        while to < width && is_open(to, &seen) {
            to += 1;
        }
        seen[at(from, y)..at(from, y) + (to - from) as usize].fill(true);
        spans.push((y, from, to));
        let row = PixelBox {
            x: from,
            y,
            width: to - from,
            height: 1,
        };
        area = Some(area.map_or(row, |area| joined(area, row)));
        for next in [y.checked_sub(1), Some(y + 1).filter(|&next| next < height)]
            .into_iter()
            .flatten()
        {
            let mut was_open = false;
            for x in from..to {
                let open = is_white(x, next) == wanted && !seen[at(x, next)];
                if open && !was_open {
                    stack.push((x, next));
                }
                was_open = open;
            }
        }
    }
    area.map(|area| (spans, area))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn black() -> MaskPainting {
        MaskPainting::new(GrayImage::new(60, 40))
    }

    fn white_px(painting: &MaskPainting) -> usize {
        painting
            .mask()
            .pixels()
            .filter(|grey| grey.0 == [255])
            .count()
    }

    fn stroke(painting: &mut MaskPainting, points: &[[f32; 2]], is_white: bool) {
        for (index, &pos_in_image) in points.iter().enumerate() {
            let op = if index == 0 {
                PaintOp::Begin {
                    pos_in_image,
                    radius_px: 3.0,
                    is_white,
                }
            } else {
                PaintOp::To { pos_in_image }
            };
            painting.apply(&op);
        }
        painting.apply(&PaintOp::End);
    }

    #[test]
    fn a_stroke_is_one_step_however_many_moves_it_has() {
        let mut painting = black();
        stroke(
            &mut painting,
            &[[10.0, 10.0], [30.0, 10.0], [30.0, 30.0]],
            true,
        );
        let painted = white_px(&painting);
        assert!(painted > 200, "{painted}");
        assert_eq!(painting.mask().get_pixel(20, 10).0, [255]);
        painting.apply(&PaintOp::Undo);
        assert_eq!(white_px(&painting), 0);
        assert!(!painting.can_undo());
        painting.apply(&PaintOp::Redo);
        assert_eq!(white_px(&painting), painted);
    }

    #[test]
    fn the_eraser_takes_away_and_a_new_stroke_forgets_what_was_undone() {
        let mut painting = black();
        stroke(&mut painting, &[[20.0, 20.0], [40.0, 20.0]], true);
        stroke(&mut painting, &[[30.0, 20.0]], false);
        assert_eq!(painting.mask().get_pixel(30, 20).0, [0]);
        assert_eq!(painting.mask().get_pixel(22, 20).0, [255]);
        painting.apply(&PaintOp::Undo);
        assert_eq!(painting.mask().get_pixel(30, 20).0, [255]);
        stroke(&mut painting, &[[5.0, 5.0]], true);
        assert!(!painting.can_redo());
    }

    #[test]
    fn undo_and_redo_in_the_middle_of_a_stroke_end_it_first() {
        let mut painting = black();
        stroke(&mut painting, &[[10.0, 10.0]], true);
        painting.apply(&PaintOp::Undo);
        let begin = PaintOp::Begin {
            pos_in_image: [40.0, 30.0],
            radius_px: 3.0,
            is_white: true,
        };
        painting.apply(&begin);
        assert_eq!(
            painting.apply(&PaintOp::Redo),
            None,
            "a new stroke forgets what was undone"
        );
        let painted = white_px(&painting);
        assert!(painted > 0);
        painting.apply(&begin);
        painting.apply(&PaintOp::Undo);
        assert_eq!(white_px(&painting), painted);
        painting.apply(&PaintOp::Undo);
        assert_eq!(white_px(&painting), 0);
    }

    #[test]
    fn a_lasso_fills_the_pixels_whose_centres_it_encloses() {
        let mut painting = black();
        let points_in_image = vec![[10.0, 10.0], [20.0, 10.0], [20.0, 15.0], [10.0, 15.0]];
        painting.apply(&PaintOp::Lasso {
            points_in_image,
            is_white: true,
        });
        assert_eq!(white_px(&painting), 50);
        assert_eq!(painting.mask().get_pixel(10, 10).0, [255]);
        assert_eq!(painting.mask().get_pixel(20, 12).0, [0]);
    }

    #[test]
    fn fill_closes_a_hole_and_takes_a_component_away() {
        let mut painting = black();
        let ring = vec![[10.0, 10.0], [40.0, 10.0], [40.0, 35.0], [10.0, 35.0]];
        painting.apply(&PaintOp::Lasso {
            points_in_image: ring,
            is_white: true,
        });
        let hole = vec![[15.0, 15.0], [30.0, 15.0], [30.0, 30.0], [15.0, 30.0]];
        painting.apply(&PaintOp::Lasso {
            points_in_image: hole,
            is_white: false,
        });
        assert_eq!(white_px(&painting), 750 - 225);
        painting.apply(&PaintOp::Fill {
            pos_in_image: [20.5, 20.5],
            is_white: true,
        });
        assert_eq!(white_px(&painting), 750);
        painting.apply(&PaintOp::Fill {
            pos_in_image: [12.0, 12.0],
            is_white: false,
        });
        assert_eq!(white_px(&painting), 0);
    }

    #[test]
    fn what_lies_outside_changes_nothing() {
        let mut painting = black();
        let far = [-500.0, 7.0];
        let begin = PaintOp::Begin {
            pos_in_image: far,
            radius_px: 3.0,
            is_white: true,
        };
        assert_eq!(painting.apply(&begin), None);
        painting.apply(&PaintOp::End);
        assert_eq!(
            painting.apply(&PaintOp::Fill {
                pos_in_image: far,
                is_white: true
            }),
            None
        );
        for points_in_image in [Vec::new(), vec![[f32::NAN; 2]; 3], vec![far; 3]] {
            let lasso = PaintOp::Lasso {
                points_in_image,
                is_white: true,
            };
            assert_eq!(painting.apply(&lasso), None);
        }
        assert_eq!((painting.revision(), painting.can_undo()), (0, false));
        assert_eq!(white_px(&painting), 0);
    }

    fn any_op() -> impl Strategy<Value = PaintOp> {
        let pos = || prop::array::uniform2(-20.0_f32..80.0);
        prop_oneof![
            (pos(), 0.5_f32..9.0, any::<bool>()).prop_map(|(pos_in_image, radius_px, is_white)| {
                PaintOp::Begin {
                    pos_in_image,
                    radius_px,
                    is_white,
                }
            }),
            pos().prop_map(|pos_in_image| PaintOp::To { pos_in_image }),
            Just(PaintOp::End),
            (prop::collection::vec(pos(), 0..6), any::<bool>()).prop_map(
                |(points_in_image, is_white)| PaintOp::Lasso {
                    points_in_image,
                    is_white
                }
            ),
            (pos(), any::<bool>()).prop_map(|(pos_in_image, is_white)| PaintOp::Fill {
                pos_in_image,
                is_white
            }),
        ]
    }

    proptest! {
        #[test]
        fn undoing_everything_and_doing_it_again_comes_back(
            ops in prop::collection::vec(any_op(), 1..12),
        ) {
            let mut painting = black();
            for op in &ops {
                painting.apply(op);
            }
            painting.apply(&PaintOp::End);
            let painted = Arc::clone(painting.mask());
            let mut steps = 0;
            while painting.can_undo() {
                painting.apply(&PaintOp::Undo);
                steps += 1;
            }
            prop_assert_eq!(white_px(&painting), 0);
            for _ in 0..steps {
                painting.apply(&PaintOp::Redo);
            }
            prop_assert_eq!(painting.mask(), &painted);
        }
    }
}
