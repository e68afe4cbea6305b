//! The GPU's side of the canvas: pipeline, textures, and the callback that draws cells' pieces.
//!
//! The only file of the canvas that names wgpu's objects. It decides nothing: what is drawn where is
//! handed to it as [`Piece`]s.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU32, Ordering},
};

use eframe::{
    egui::PaintCallbackInfo,
    egui_wgpu::{self, CallbackResources, CallbackTrait, ScreenDescriptor},
    wgpu,
};

use super::pixels::Level;

/// What the shader is told about one piece; the fields' meaning stands in `canvas.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct PieceUniform {
    pub to_image: [f32; 4],
    pub region: [f32; 4],
    pub covers: [f32; 4],
    pub base_map: [f32; 4],
    pub reference_map: [f32; 4],
    pub field_place: [f32; 4],
    pub screen: [f32; 4],
    pub levels: [f32; 4],
    pub choice: [u32; 4],
    pub params: [f32; 4],
    pub mask: [f32; 4],
}

const UNIFORM_BYTES: u64 = size_of::<PieceUniform>() as u64;

/// A texture that cells can be drawn from; clones share it, and the last one frees it.
#[derive(Clone, Debug)]
pub(super) struct GpuTexture {
    texture: wgpu::Texture,
    group: wgpu::BindGroup,
}

impl GpuTexture {
    /// Width and height in texels.
    pub fn size(&self) -> [u32; 2] {
        [self.texture.width(), self.texture.height()]
    }

    /// Levels of its mip chain.
    pub fn levels(&self) -> u32 {
        self.texture.mip_level_count()
    }
}

/// One rectangle of a cell, with the textures that it is drawn from.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub uniform: PieceUniform,
    pub base: GpuTexture,
    pub reference: Option<GpuTexture>,
    pub field: Option<GpuTexture>,
}

/// Device, queue and layouts: all that is needed to make textures.
#[derive(Clone)]
pub(super) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    texture_layout: wgpu::BindGroupLayout,
    field_layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Makes pipeline and layouts, and leaves the pipeline where the callbacks find it.
    pub fn install(state: &egui_wgpu::RenderState) -> Self {
        let device = &state.device;
        let layout = |label, filterable| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(label),
                entries: &[wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::FRAGMENT,
                    ty: wgpu::BindingType::Texture {
                        sample_type: wgpu::TextureSampleType::Float { filterable },
                        view_dimension: wgpu::TextureViewDimension::D2,
                        multisampled: false,
                    },
                    count: None,
                }],
            })
        };
        let gpu = Self {
            device: device.clone(),
            queue: state.queue.clone(),
            texture_layout: layout("canvas picture", true),
            field_layout: layout("canvas field", false),
        };
        let painter = Painter::new(&gpu, state.target_format);
        state.renderer.write().callback_resources.insert(painter);
        gpu
    }

    /// The longest side of a texture that the device takes, in texels.
    pub fn max_side(&self) -> u32 {
        self.device.limits().max_texture_dimension_2d
    }

    /// An empty picture with room for `levels` mip levels.
    pub fn new_picture(&self, size: [u32; 2], levels: u32) -> GpuTexture {
        self.texture(
            size,
            levels,
            wgpu::TextureFormat::Rgba8Unorm,
            &self.texture_layout,
        )
    }

    /// A distance field: pairs of distance and raw mask class.
    pub fn new_field(&self, size: [u32; 2], pairs: &[[f32; 2]]) -> GpuTexture {
        let field = self.texture(size, 1, wgpu::TextureFormat::Rg32Float, &self.field_layout);
        self.write(&field, 0, 0, size, 8, bytemuck::cast_slice(pairs));
        field
    }

    /// Writes rows `first_row..first_row + rows` of one level.
    pub fn write_rows(
        &self,
        texture: &GpuTexture,
        mip: u32,
        level: &Level,
        first_row: u32,
        rows: u32,
    ) {
        let stride = level.width as usize * 4;
        let from = first_row as usize * stride;
        let Some(bytes) = level.rgba8.get(from..from + rows as usize * stride) else {
            return;
        };
        self.write(texture, mip, first_row, [level.width, rows], 4, bytes);
    }

    /// Hands staged writes to the driver, so that their staging memory is freed.
    pub fn flush(&self) {
        self.queue.submit([]);
    }

    fn write(
        &self,
        texture: &GpuTexture,
        mip_level: u32,
        first_row: u32,
        size: [u32; 2],
        bytes_per_texel: u32,
        bytes: &[u8],
    ) {
        self.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &texture.texture,
                mip_level,
                origin: wgpu::Origin3d {
                    x: 0,
                    y: first_row,
                    z: 0,
                },
                aspect: wgpu::TextureAspect::All,
            },
            bytes,
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(size[0] * bytes_per_texel),
                rows_per_image: None,
            },
            wgpu::Extent3d {
                width: size[0],
                height: size[1],
                depth_or_array_layers: 1,
            },
        );
    }

    fn texture(
        &self,
        size: [u32; 2],
        levels: u32,
        format: wgpu::TextureFormat,
        layout: &wgpu::BindGroupLayout,
    ) -> GpuTexture {
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("canvas"),
            size: wgpu::Extent3d {
                width: size[0],
                height: size[1],
                depth_or_array_layers: 1,
            },
            mip_level_count: levels,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("canvas"),
            layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::TextureView(&view),
            }],
        });
        GpuTexture { texture, group }
    }
}

/// What a pipeline can do beyond showing and wiping: the names are the shader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the shader"
)]
struct Abilities {
    difference: bool,
    mask: bool,
    outlines: bool,
    adjustment: bool,
}

/// From the least to the most; the last can do everything.
const VARIANTS: [Abilities; 5] = {
    let plain = Abilities {
        difference: false,
        mask: false,
        outlines: false,
        adjustment: false,
    };
    [
        plain,
        Abilities {
            difference: true,
            ..plain
        },
        Abilities {
            mask: true,
            ..plain
        },
        Abilities {
            mask: true,
            outlines: true,
            ..plain
        },
        Abilities {
            difference: true,
            mask: true,
            outlines: true,
            adjustment: true,
        },
    ]
};

impl PieceUniform {
    /// The pipeline that can do just what this piece asks for.
    fn variant(&self) -> usize {
        let [mode, _, overlay, channel] = self.choice;
        let difference = mode == 2;
        let mask = mode > 2 || overlay != 0 || self.levels[3] > 0.0;
        let outlines = overlay == 1 || overlay == 3;
        let adjustment = channel != 0 || self.params[3].to_bits() != 1.0_f32.to_bits();
        VARIANTS
            .iter()
            .position(|can| {
                can.difference >= difference
                    && can.mask >= mask
                    && can.outlines >= outlines
                    && can.adjustment >= adjustment
            })
            .unwrap_or(VARIANTS.len() - 1)
    }
}

/// Pipelines and uniforms of one renderer, kept in egui's callback resources.
struct Painter {
    /// One for each of [`VARIANTS`].
    pipelines: Vec<wgpu::RenderPipeline>,
    uniform_layout: wgpu::BindGroupLayout,
    sampler: wgpu::Sampler,
    uniforms: wgpu::Buffer,
    uniform_group: wgpu::BindGroup,
    /// Distance between two pieces' uniforms in the buffer, in bytes.
    stride: u64,
    /// This frame's uniforms, written in one go once all cells are known.
    staged: Vec<u8>,
    is_written: bool,
    no_picture: GpuTexture,
    no_field: GpuTexture,
}

impl Painter {
    fn new(gpu: &Gpu, format: wgpu::TextureFormat) -> Self {
        let device = &gpu.device;
        let shader = device.create_shader_module(wgpu::include_wgsl!("canvas.wgsl"));
        let uniform_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("canvas uniforms"),
            entries: &[
                wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::VERTEX_FRAGMENT,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: true,
                        min_binding_size: NonZeroU64::new(UNIFORM_BYTES),
                    },
                    count: None,
                },
                wgpu::BindGroupLayoutEntry {
                    binding: 1,
                    visibility: wgpu::ShaderStages::FRAGMENT,
                    ty: wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Filtering),
                    count: None,
                },
            ],
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("canvas"),
            bind_group_layouts: &[
                Some(&uniform_layout),
                Some(&gpu.texture_layout),
                Some(&gpu.texture_layout),
                Some(&gpu.field_layout),
            ],
            ..Default::default()
        });
        // Pictures are shown as they are in the file, whether or not the target encodes by itself.
        let entry_point = if format.is_srgb() {
            "linear_target"
        } else {
            "encoded_target"
        };
        let pipeline = |can: &Abilities| {
            let constants = [
                ("with_difference", f64::from(u8::from(can.difference))),
                ("with_mask", f64::from(u8::from(can.mask))),
                ("with_outlines", f64::from(u8::from(can.outlines))),
                ("with_adjustment", f64::from(u8::from(can.adjustment))),
            ];
            device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some("canvas"),
                layout: Some(&layout),
                vertex: wgpu::VertexState {
                    module: &shader,
                    entry_point: Some("cover"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    buffers: &[],
                },
                fragment: Some(wgpu::FragmentState {
                    module: &shader,
                    entry_point: Some(entry_point),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &constants,
                        ..Default::default()
                    },
                    targets: &[Some(format.into())],
                }),
                primitive: wgpu::PrimitiveState::default(),
                depth_stencil: None,
                multisample: wgpu::MultisampleState::default(),
                multiview_mask: None,
                cache: None,
            })
        };
        let pipelines = VARIANTS.iter().map(pipeline).collect();
        let sampler = device.create_sampler(&wgpu::SamplerDescriptor {
            label: Some("canvas"),
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            mipmap_filter: wgpu::MipmapFilterMode::Linear,
            ..Default::default()
        });
        let alignment = u64::from(device.limits().min_uniform_buffer_offset_alignment).max(1);
        let stride = UNIFORM_BYTES.div_ceil(alignment) * alignment;
        let (uniforms, uniform_group) =
            uniform_buffer(device, &uniform_layout, &sampler, stride * 64);
        Self {
            pipelines,
            uniform_layout,
            sampler,
            uniforms,
            uniform_group,
            stride,
            staged: Vec::new(),
            is_written: false,
            no_picture: gpu.new_picture([1, 1], 1),
            no_field: gpu.new_field([1, 1], &[[f32::MAX, 0.0]]),
        }
    }

    /// Room in this frame's uniforms for these pieces; answers the index of the first.
    fn stage(&mut self, pieces: &[Piece], screen: &ScreenDescriptor) -> u32 {
        if self.is_written {
            self.staged.clear();
            self.is_written = false;
        }
        let first = self.staged.len() as u64 / self.stride;
        let size = screen.size_in_pixels.map(|px| px as f32);
        // Lines are as thick as egui's on a scaled display, in whole pixels.
        let line_px = screen.pixels_per_point.round().max(1.0);
        for piece in pieces {
            let uniform = PieceUniform {
                screen: [size[0], size[1], line_px, 0.0],
                ..piece.uniform
            };
            let at = self.staged.len();
            self.staged.extend_from_slice(bytemuck::bytes_of(&uniform));
            self.staged.resize(at + self.stride as usize, 0);
        }
        first as u32
    }

    fn write(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) {
        if self.is_written {
            return;
        }
        self.is_written = true;
        let needed = self.staged.len() as u64;
        if needed > self.uniforms.size() {
            let size = needed.next_power_of_two();
            (self.uniforms, self.uniform_group) =
                uniform_buffer(device, &self.uniform_layout, &self.sampler, size);
        }
        queue.write_buffer(&self.uniforms, 0, &self.staged);
    }
}

fn uniform_buffer(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    sampler: &wgpu::Sampler,
    size: u64,
) -> (wgpu::Buffer, wgpu::BindGroup) {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("canvas uniforms"),
        size,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("canvas uniforms"),
        layout,
        entries: &[
            wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer,
                    offset: 0,
                    size: NonZeroU64::new(UNIFORM_BYTES),
                }),
            },
            wgpu::BindGroupEntry {
                binding: 1,
                resource: wgpu::BindingResource::Sampler(sampler),
            },
        ],
    });
    (buffer, group)
}

/// What egui's paint list carries for the cells that are painted together.
pub(super) struct CellsCallback {
    pieces: Vec<Piece>,
    first_slot: AtomicU32,
}

impl CellsCallback {
    pub fn new(pieces: Vec<Piece>) -> Self {
        Self {
            pieces,
            first_slot: AtomicU32::new(0),
        }
    }
}

impl CallbackTrait for CellsCallback {
    fn prepare(
        &self,
        _device: &wgpu::Device,
        _queue: &wgpu::Queue,
        screen: &ScreenDescriptor,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(painter) = resources.get_mut::<Painter>() {
            self.first_slot
                .store(painter.stage(&self.pieces, screen), Ordering::Relaxed);
        }
        Vec::new()
    }

    fn finish_prepare(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(painter) = resources.get_mut::<Painter>() {
            painter.write(device, queue);
        }
        Vec::new()
    }

    fn paint(
        &self,
        info: PaintCallbackInfo,
        pass: &mut wgpu::RenderPass<'static>,
        resources: &CallbackResources,
    ) {
        let Some(painter) = resources.get::<Painter>() else {
            return;
        };
        // egui's viewport is cut at the screen's edge; positions here are those of the whole screen.
        let [width, height] = info.screen_size_px.map(|px| px as f32);
        pass.set_viewport(0.0, 0.0, width, height, 0.0, 1.0);
        let first = self.first_slot.load(Ordering::Relaxed);
        // What is set stays set: most cells differ in their own picture only.
        let (mut variant, mut set) = (None, [None; 4]);
        for (slot, piece) in (first..).zip(&self.pieces) {
            let wanted = piece.uniform.variant();
            if variant != Some(wanted) {
                let Some(pipeline) = painter.pipelines.get(wanted) else {
                    continue;
                };
                pass.set_pipeline(pipeline);
                variant = Some(wanted);
            }
            let offset = u64::from(slot) * painter.stride;
            pass.set_bind_group(0, &painter.uniform_group, &[offset as u32]);
            let textures = [
                (1, &piece.base),
                (2, piece.reference.as_ref().unwrap_or(&painter.no_picture)),
                (3, piece.field.as_ref().unwrap_or(&painter.no_field)),
            ];
            for (index, texture) in textures {
                let group = Some(&texture.group);
                if let Some(last) = set.get_mut(index)
                    && *last != group
                {
                    pass.set_bind_group(index as u32, group, &[]);
                    *last = group;
                }
            }
            pass.draw(0..6, 0..1);
        }
    }
}
