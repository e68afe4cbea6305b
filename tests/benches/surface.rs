//! A window without a window: egui, a renderer, a target to draw to, and what frames on it cost the
//! window's thread.

use cpu_time::ThreadTime;
use eframe::egui::{self, Pos2, Rect, vec2};
use eframe::egui_wgpu::{self, ScreenDescriptor};
use eframe::wgpu;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A frame at 60 Hz.
pub const FRAME: Duration = Duration::from_micros(16_667);

/// What one frame cost the window's thread.
pub struct Spent {
    /// Time on a processor.
    pub cpu: Duration,
    /// Of that, laying out and painting into egui's list, uploads included.
    pub interface: Duration,
    /// Of that, turning shapes into triangles.
    pub shapes: Duration,
    /// Of that, the callbacks' preparation and egui's buffers; the rest is encoding.
    pub prepare: Duration,
    /// The same with waiting for one.
    pub wall: Duration,
}

/// p50, p95, p99 and maximum in milliseconds.
pub fn quantiles(frames: &[Spent]) -> Value {
    let of = |pick: fn(&Spent) -> Duration| {
        let mut times: Vec<Duration> = frames.iter().map(pick).collect();
        times.sort();
        let at = |q: f64| {
            times
                .get(((times.len() as f64 - 1.0) * q).round() as usize)
                .copied()
        };
        json!({
            "p50": at(0.5).map(ms),
            "p95": at(0.95).map(ms),
            "p99": at(0.99).map(ms),
            "max": at(1.0).map(ms),
        })
    };
    json!({ "frames": frames.len(), "cpu_ms": of(|f| f.cpu), "wall_ms": of(|f| f.wall) })
}

/// Medians of a frame's parts in milliseconds.
pub fn parts(frames: &[Spent]) -> Value {
    let of = |pick: fn(&Spent) -> Duration| {
        let mut parts: Vec<Duration> = frames.iter().map(pick).collect();
        parts.sort();
        parts.get(parts.len() / 2).copied().map(ms)
    };
    json!({
        "interface": of(|f| f.interface),
        "shapes": of(|f| f.shapes),
        "prepare": of(|f| f.prepare),
    })
}

/// Milliseconds, to a hundredth.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// Where frames are drawn.
pub struct Surface {
    /// The interface's context.
    pub ctx: egui::Context,
    /// The driver.
    pub gpu: egui_wgpu::RenderState,
    target: wgpu::TextureView,
    size_px: [u32; 2],
}

impl Surface {
    /// One of so many pixels, at one pixel a point.
    pub fn new(size_px: [u32; 2]) -> Self {
        let mut setup = egui_kittest::wgpu::default_wgpu_setup();
        if let egui_wgpu::WgpuSetup::CreateNew(create) = &mut setup {
            create.instance_descriptor.backends = wgpu::Backends::VULKAN;
        }
        let gpu =
            egui_kittest::wgpu::create_render_state(setup, egui_wgpu::RendererOptions::default());
        let target = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d {
                width: size_px[0],
                height: size_px[1],
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: gpu.target_format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        Self {
            ctx: egui::Context::default(),
            target: target.create_view(&wgpu::TextureViewDescriptor::default()),
            gpu,
            size_px,
        }
    }

    /// Draws one frame, from `input` to the encoded draw calls, and answers what the window's thread spent
    /// on it. Submission and presentation are left out.
    pub fn frame(&mut self, input: egui::RawInput, draw: impl FnMut(&mut egui::Ui)) -> Spent {
        let size = vec2(self.size_px[0] as f32, self.size_px[1] as f32);
        let input = egui::RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, size)),
            ..input
        };
        let (cpu, started) = (ThreadTime::now(), Instant::now());
        let mut output = self.ctx.run_ui(input, draw);
        let interface = cpu.elapsed();
        let jobs = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        let screen = ScreenDescriptor {
            size_in_pixels: self.size_px,
            pixels_per_point: 1.0,
        };
        let (device, queue) = (&self.gpu.device, &self.gpu.queue);
        let mut renderer = self.gpu.renderer.write();
        #[expect(clippy::iter_over_hash_type, reason = "the order does not show")]
        for (id, deltas) in &output.textures_delta.set {
            for delta in deltas {
                renderer.update_texture(device, queue, *id, delta);
            }
        }
        output.textures_delta.clear();
        let shapes = cpu.elapsed();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let buffers = renderer.update_buffers(device, queue, &mut encoder, &jobs, &screen);
        let prepared = cpu.elapsed();
        {
            let mut pass = encoder
                .begin_render_pass(&wgpu::RenderPassDescriptor {
                    label: None,
                    color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                        view: &self.target,
                        resolve_target: None,
                        ops: wgpu::Operations {
                            load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                            store: wgpu::StoreOp::Store,
                        },
                        depth_slice: None,
                    })],
                    ..Default::default()
                })
                .forget_lifetime();
            renderer.render(&mut pass, &jobs, &screen);
        }
        let commands = encoder.finish();
        let spent = Spent {
            cpu: cpu.elapsed(),
            interface,
            shapes: shapes.saturating_sub(interface),
            prepare: prepared.saturating_sub(shapes),
            wall: started.elapsed(),
        };
        drop(renderer);
        // Drawing is the GPU's work and not measured: a software driver would take the processors from
        // the window's thread. Uploads do happen.
        drop(commands);
        queue.submit(buffers);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        spent
    }
}
