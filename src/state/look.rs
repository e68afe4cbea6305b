//! How pictures are looked at: framing, comparison, overlay, channel. One of it for all cells and modes.

use crate::imaging::difference::Metric;
use crate::model::cell::CellKey;
use crate::state::seeing::time_tone::TimeTone;

/// What a cell is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The session's photograph.
    Original,
    /// Another cell of the run.
    Cell(CellKey),
    /// The same cell of the second run.
    OtherRun,
}

/// How a cell and the reference are shown together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// The cell alone.
    #[default]
    Plain,
    /// The reference to the left of a line, the cell to the right.
    Wipe,
    /// Their difference.
    Difference,
}

/// What is drawn of the mask over a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    Off,
    /// The grown mask's outline, and the outline before growing.
    Outline,
    /// The grown mask tinted.
    Tint,
    /// What growing added, tinted.
    Ring,
    /// What clean-up and growing change of the raw mask: gained, lost, and specks that are dropped.
    Change,
    /// The 16-pixel token grid that the model works on.
    Tokens,
    /// The black and white mask that the model was given.
    Mask,
    /// The picture without what is masked, as the model was given it.
    Masked,
}

impl Overlay {
    /// All overlays in the order of the key.
    pub const ALL: [Self; 8] = [
        Self::Outline,
        Self::Tint,
        Self::Ring,
        Self::Change,
        Self::Tokens,
        Self::Mask,
        Self::Masked,
        Self::Off,
    ];

    /// The name that is shown.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Outline => "outline",
            Self::Tint => "tint",
            Self::Ring => "ring",
            Self::Change => "before and after clean-up",
            Self::Tokens => "token grid",
            Self::Mask => "binary mask",
            Self::Masked => "masked picture",
        }
    }
}

/// Which part of the colour is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channel {
    /// All three.
    #[default]
    All,
    /// Red, as grey.
    Red,
    /// Green, as grey.
    Green,
    /// Blue, as grey.
    Blue,
    /// Luma.
    Luma,
}

impl Channel {
    /// All channels in the order of the key.
    pub const ALL: [Self; 5] = [Self::All, Self::Red, Self::Green, Self::Blue, Self::Luma];

    /// The name that is shown.
    pub fn label(self) -> &'static str {
        match self {
            Self::All => "RGB",
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Luma => "luma",
        }
    }
}

/// What the shared view is asked to do at the next frame, where sizes on screen are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ViewRequest {
    /// The whole image.
    Fit,
    /// The mask's box with a margin.
    MaskBox,
    /// The other one of the two above.
    ToggleMaskBox,
    /// One image pixel to one screen pixel at the cursor.
    ActualSize,
    /// Closer or further by a factor, at the cursor.
    ZoomBy(f32),
    /// Sideways and down, in tenths of a cell.
    PanBy([f32; 2]),
}

/// How pictures are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// What is compared with.
    pub reference: Reference,
    /// How the comparison is shown.
    pub compare: Compare,
    /// How a difference is measured.
    pub metric: Metric,
    /// A difference is multiplied by this before it is shown, 1 to 64.
    pub gain: f32,
    /// Differences below this are not shown: 8-bit levels, or ΔE for [`Metric::DeltaE2000`].
    pub threshold: f32,
    /// The wipe's line as a fraction of the image's width, 0 to 1.
    pub wipe: f32,
    /// What is drawn of the mask.
    pub overlay: Overlay,
    /// Part of the colour.
    pub channel: Channel,
    /// Exposure in stops, for looking only, −8 to 8.
    pub exposure_stops: f32,
    /// Whether a magnifier follows the cursor.
    pub has_loupe: bool,
    /// Whether the values of all cells under the cursor are listed.
    pub has_values: bool,
    /// Which time the cells are toned by.
    pub tone: TimeTone,
    /// Dilation that the overlay shows, in pixels at inference size; `None` is the cell's own.
    pub dilate_px: Option<f32>,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            reference: Reference::Original,
            compare: Compare::Plain,
            metric: Metric::Absolute,
            gain: 4.0,
            threshold: 0.0,
            wipe: 0.5,
            // The fill is what is judged: nothing lies over it until somebody asks.
            overlay: Overlay::Off,
            channel: Channel::All,
            exposure_stops: 0.0,
            has_loupe: false,
            has_values: false,
            tone: TimeTone::Off,
            dilate_px: None,
        }
    }
}

/// The value after `now` in a cycle.
pub fn next_in<T: PartialEq + Copy>(all: &[T], now: T) -> T {
    let index = all
        .iter()
        .position(|value| *value == now)
        .map_or(0, |index| index + 1);
    all.get(index % all.len().max(1)).copied().unwrap_or(now)
}
