//! Speed of the mask operations, at 12 megapixels (a stress figure) and at 1 megapixel.
//!
//! `cargo bench --bench masks`; `masks_opencv.py` beside it times `OpenCV` on the same masks on the
//! same machine. Limits, on two cores: any change of dilation at 12 MP under 8 ms at any radius; the
//! exact field at 12 MP no slower than `OpenCV`'s precise distance transform; a whole recipe at 1 MP
//! under 12 ms.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fill_audit::imaging::GrayImage;
use fill_audit::imaging::mask::{BinaryMask, DistanceField, disc, feather, process};
use fill_audit::model::mask_recipe::MaskRecipe;

/// A leash-like band with a blob, specks and holes: the mask that `masks_opencv.py` draws too.
fn leash(width: u32, height: u32) -> GrayImage {
    let (across, down) = (width as f32, height as f32);
    let mut state = 7_u32;
    GrayImage::from_fn(width, height, |x, y| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (u, v) = (x as f32 / across, y as f32 / down);
        let band = (v - 0.5 - 0.3 * (u * 9.0).sin()).abs() < 0.02;
        let blob = (u - 0.3).hypot((v - 0.4) * down / across) < 0.1;
        let noise = state.is_multiple_of(1000);
        image::Luma([if (band || blob) ^ noise { 255 } else { 0 }])
    })
}

fn at_12_megapixels(c: &mut Criterion) {
    let grey = leash(4000, 3000);
    let cleaned = process(
        &grey,
        &MaskRecipe {
            dilate_px: 0.0,
            ..MaskRecipe::default()
        },
    )
    .cleaned;
    let specks = BinaryMask::from_grey(&grey, 128);
    let mut group = c.benchmark_group("12 MP");
    group.sample_size(20);
    group.bench_function("exact field", |b| {
        b.iter(|| DistanceField::to_white(black_box(&cleaned)));
    });
    group.bench_function("exact field, specks everywhere", |b| {
        b.iter(|| DistanceField::to_white(black_box(&specks)));
    });
    for (name, mask) in [("cleaned", &cleaned), ("specks", &specks)] {
        let field = DistanceField::to_white(mask);
        let mut grown = BinaryMask::black(4000, 3000);
        for radius_px in [1.0, 10.0, 32.0, 100.0, 512.0] {
            let id = BenchmarkId::new(format!("change of dilation, {name}"), radius_px);
            group.bench_with_input(id, &radius_px, |b, &radius_px| {
                b.iter(|| field.dilate_into(black_box(radius_px), &mut grown));
            });
        }
    }
    for radius_px in [10.0, 32.0] {
        let id = BenchmarkId::new("dilation without a field", radius_px);
        group.bench_with_input(id, &radius_px, |b, &radius_px| {
            b.iter(|| disc::dilate(black_box(&cleaned), radius_px));
        });
    }
    group.finish();
}

fn at_1_megapixel(c: &mut Criterion) {
    let grey = leash(1024, 1024);
    let recipe = MaskRecipe {
        close_px: 2.0,
        ..MaskRecipe::default()
    };
    let processed = process(&grey, &recipe);
    let mut group = c.benchmark_group("1 MP");
    group.bench_function("whole recipe", |b| {
        b.iter(|| process(black_box(&grey), &recipe));
    });
    group.bench_function("exact field", |b| {
        b.iter(|| DistanceField::to_white(black_box(&processed.cleaned)));
    });
    group.bench_function("feather 4", |b| {
        b.iter(|| feather(black_box(&processed.grown), 4.0));
    });
    group.bench_function("figures", |b| b.iter(|| black_box(&processed).figures()));
    group.finish();
}

criterion_group!(benches, at_12_megapixels, at_1_megapixel);
criterion_main!(benches);
