//! A page with cells for the tests: places them, settles, and gives back what was drawn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eframe::{
    egui::{self, Pos2, Rect, pos2, vec2},
    egui_wgpu, wgpu,
};
use egui_kittest::{Harness, wgpu::WgpuTestRenderer};
use fill_audit::ui::canvas::{
    Canvas, CanvasOptions, CellMap, CellPaint, Decode, DecodedImage, ImageId, ImageSource, View,
    cell_ui, decode_with_image_crate,
};

/// How long a page may take to settle before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A picture as plain numbers.
#[derive(Clone)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub rgba8: Vec<u8>,
}

impl Picture {
    pub fn from_fn(width: u32, height: u32, color: impl Fn(u32, u32) -> [u8; 4]) -> Self {
        let rgba8 = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| color(x, y))
            .collect();
        Self {
            width,
            height,
            rgba8,
        }
    }

    /// Every pixel has another colour than its neighbours; differs with `seed`.
    pub fn noise(width: u32, height: u32, seed: u32) -> Self {
        Self::from_fn(width, height, |x, y| {
            let mut h = (x + 1).wrapping_mul(0x9E37_79B1) ^ (y + 1).wrapping_mul(0x85EB_CA77);
            h = (h ^ seed.wrapping_mul(0xC2B2_AE3D)).wrapping_mul(0x27D4_EB2F);
            h ^= h >> 15;
            h = h.wrapping_mul(0x2C1B_3C6D);
            h ^= h >> 13;
            [h as u8, (h >> 8) as u8, (h >> 16) as u8, 255]
        })
    }

    pub fn flat(width: u32, height: u32, color: [u8; 4]) -> Self {
        Self::from_fn(width, height, |_, _| color)
    }

    pub fn at(&self, x: u32, y: u32) -> [u8; 4] {
        let i = (y as usize * self.width as usize + x as usize) * 4;
        self.rgba8[i..i + 4].try_into().unwrap()
    }

    /// Without alpha, as `imaging` takes it.
    pub fn rgb(&self) -> image::RgbImage {
        image::RgbImage::from_fn(self.width, self.height, |x, y| {
            let [r, g, b, _] = self.at(x, y);
            image::Rgb([r, g, b])
        })
    }

    /// The texel under a point, as floor puts it.
    pub fn texel(&self, pos: [f64; 2]) -> [u8; 4] {
        self.at(pos[0].floor() as u32, pos[1].floor() as u32)
    }

    /// As a source that [`decode`] reads: a header of our own and the plain pixels.
    pub fn source(&self, name: &str) -> ImageSource {
        let mut bytes = b"PLAIN".to_vec();
        bytes.extend(self.width.to_le_bytes());
        bytes.extend(self.height.to_le_bytes());
        bytes.extend(&self.rgba8);
        ImageSource::memory(name, bytes)
    }
}

/// Plain pixels without encoding, everything else as the program reads it.
pub fn decode(source: &ImageSource) -> Result<DecodedImage, String> {
    if let ImageSource::Memory { bytes, .. } = source
        && let Some(rest) = bytes.strip_prefix(b"PLAIN")
    {
        let side = |i: usize| u32::from_le_bytes(rest[i..i + 4].try_into().unwrap());
        return DecodedImage::new(side(0), side(4), rest[8..].to_vec());
    }
    decode_with_image_crate(source)
}

pub struct Cell {
    pub rect: Rect,
    pub label: String,
    pub paint: CellPaint,
}

pub type Decoded = DecodedImage;

type Extra = Box<dyn Fn(&mut egui::Ui, &mut Canvas, &[Cell])>;

pub struct Page {
    pub canvas: Canvas,
    pub cells: Vec<Cell>,
    /// Drawn after the cells.
    pub extra: Option<Extra>,
}

impl eframe::App for Page {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.canvas.begin_frame();
        for (i, cell) in self.cells.iter().enumerate() {
            let id = egui::Id::unique(("cell", i));
            cell_ui(
                ui,
                id,
                cell.rect,
                &cell.label,
                &cell.paint,
                &mut self.canvas,
            );
        }
        if let Some(extra) = &self.extra {
            extra(ui, &mut self.canvas, &self.cells);
        }
        self.canvas.end_frame(ui.ctx());
    }
}

/// Vulkan on the software driver: the same pixels on every machine.
pub fn setup() -> egui_wgpu::WgpuSetup {
    let mut setup = egui_kittest::wgpu::default_wgpu_setup();
    if let egui_wgpu::WgpuSetup::CreateNew(create) = &mut setup {
        let gl = std::env::var("FILL_AUDIT_TEST_BACKEND").is_ok_and(|name| name == "gl");
        create.instance_descriptor.backends = if gl {
            wgpu::Backends::GL
        } else {
            wgpu::Backends::VULKAN
        };
    }
    setup
}

/// A page of that size in physical pixels.
pub fn page(size_px: [u32; 2], pixels_per_point: f32) -> Harness<'static, Page> {
    page_with(
        size_px,
        pixels_per_point,
        &CanvasOptions::default(),
        Arc::new(decode),
    )
}

pub fn page_with(
    size_px: [u32; 2],
    pixels_per_point: f32,
    options: &CanvasOptions,
    decode: Arc<Decode>,
) -> Harness<'static, Page> {
    let renderer = WgpuTestRenderer::from_setup(setup());
    page_on(renderer, size_px, pixels_per_point, options, decode)
}

/// A page on a target that encodes what is written to it, as some displays offer.
pub fn encoding_page(size_px: [u32; 2]) -> Harness<'static, Page> {
    let options = egui_wgpu::RendererOptions::PREDICTABLE;
    let mut state = egui_kittest::wgpu::create_render_state(setup(), options);
    state.target_format = wgpu::TextureFormat::Rgba8UnormSrgb;
    *state.renderer.write() = egui_wgpu::Renderer::new(&state.device, state.target_format, options);
    let renderer = WgpuTestRenderer::from_render_state(state);
    page_on(
        renderer,
        size_px,
        1.0,
        &CanvasOptions::default(),
        Arc::new(decode),
    )
}

fn page_on(
    renderer: WgpuTestRenderer,
    size_px: [u32; 2],
    pixels_per_point: f32,
    options: &CanvasOptions,
    decode: Arc<Decode>,
) -> Harness<'static, Page> {
    let options = options.clone();
    Harness::builder()
        .with_size(vec2(size_px[0] as f32, size_px[1] as f32) / pixels_per_point)
        .with_pixels_per_point(pixels_per_point)
        .with_render_cursor(false)
        .renderer(renderer)
        .build_eframe(move |cc| Page {
            canvas: Canvas::new(
                &cc.egui_ctx,
                cc.wgpu_render_state.as_ref(),
                &decode,
                &options,
            ),
            cells: Vec::new(),
            extra: None,
        })
}

/// Steps until everything that was asked for is there.
pub fn settle(harness: &mut Harness<'_, Page>) {
    let started = Instant::now();
    harness.step();
    loop {
        harness.step();
        if !harness.state().canvas.is_busy() {
            harness.step();
            if !harness.state().canvas.is_busy() {
                return;
            }
        }
        assert!(started.elapsed() < PATIENCE, "the page did not settle");
        std::thread::yield_now();
    }
}

/// What was drawn, once everything is there.
pub fn drawn(harness: &mut Harness<'_, Page>) -> image::RgbaImage {
    settle(harness);
    rendered(harness)
}

/// What is drawn now. A software driver on a busy machine may need longer than the harness waits for one
/// submission: the same frame is then asked for again.
pub fn rendered(harness: &mut Harness<'_, Page>) -> image::RgbaImage {
    let started = Instant::now();
    loop {
        match harness.render() {
            Ok(picture) => return picture,
            Err(error) => assert!(
                error.contains("timed out") && started.elapsed() < PATIENCE,
                "not rendered: {error}"
            ),
        }
    }
}

/// A page of one cell at an odd place; answers the picture's id.
pub fn one_cell(
    harness: &mut Harness<'_, Page>,
    rect: Rect,
    source: &ImageSource,
    view: View,
) -> ImageId {
    let page = harness.state_mut();
    let image = page.canvas.image(source);
    page.cells = vec![Cell {
        rect,
        label: "the cell".to_owned(),
        paint: CellPaint::new(image, view),
    }];
    image
}

/// Compares every drawn pixel of a cell that lies on the picture with `expected(pos_in_image)`; at
/// least `least` of them must be there. Channels may differ by `within`.
#[expect(clippy::too_many_arguments, reason = "each is one word at the call")]
pub fn compare(
    drawn: &image::RgbaImage,
    rect: Rect,
    pixels_per_point: f32,
    view: &View,
    size_in_image: [f64; 2],
    within: u8,
    least: usize,
    expected: impl Fn([f64; 2]) -> Option<[u8; 3]>,
) {
    let map = CellMap::new(rect, pixels_per_point, view);
    let mut compared = 0;
    for (x, y, pixel) in drawn.enumerate_pixels() {
        let center = pos2(x as f32 + 0.5, y as f32 + 0.5) / pixels_per_point;
        if !inside(rect, center) {
            continue;
        }
        let pos = map.to_image(center);
        // Texels exactly between two pixels may fall to either side.
        let on_edge = |v: f64| (v - v.round()).abs() < 0.002;
        if pos[0] < 0.0 || pos[1] < 0.0 || pos[0] >= size_in_image[0] || pos[1] >= size_in_image[1]
        {
            continue;
        }
        if view.zoom > 1.0 && (on_edge(pos[0]) || on_edge(pos[1])) {
            continue;
        }
        let Some(expected) = expected(pos) else {
            continue;
        };
        compared += 1;
        for (drawn, expected) in pixel.0.into_iter().zip(expected) {
            assert!(
                drawn.abs_diff(expected) <= within,
                "at screen ({x}, {y}), image {pos:?}: drawn {:?}, expected {expected:?}",
                pixel.0
            );
        }
    }
    assert!(compared >= least, "only {compared} pixels were compared");
}

fn inside(rect: Rect, at: Pos2) -> bool {
    at.x > rect.min.x && at.x < rect.max.x && at.y > rect.min.y && at.y < rect.max.y
}
