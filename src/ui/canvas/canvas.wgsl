// Paints one piece of one cell: picture, wipe, difference, mask views and overlays.
//
// Works in the pixels of the screen: `to_image` turns a fragment's position into image space, and the
// maps of the pictures turn image space into texels (`p * xy + zw`). Colours stay sRGB-encoded from the file to the
// screen. No derivatives, no compute, one sampler: also OpenGL can do this.

struct Cell {
    // Image pixels per screen pixel (xy) and the image point at screen pixel (0, 0) (zw).
    to_image: vec4f,
    // The part of image space that this piece covers: min, max.
    region: vec4f,
    // The picture's place in image space: min, max. Around it is neutral grey.
    covers: vec4f,
    base_map: vec4f,
    reference_map: vec4f,
    // Where the field lies in image space: corner (xy) and size (zw).
    field_place: vec4f,
    // Screen's size in pixels (xy), pixels in a line's unit of thickness (z).
    screen: vec4f,
    // Mip level of base (x) and reference (y): negative means exact texels.
    // Screen pixels per texel of the field (z), 16-pixel tokens on (w > 0).
    levels: vec4f,
    // Mode, metric, overlay, channel.
    choice: vec4u,
    // Wipe position in image space, gain, threshold, exposure factor.
    params: vec4f,
    // Dilation radius and feather sigma in texels of the field, strength of the tint, and the distance
    // up to which a texel is grown: between the last one within the radius and the next (w).
    mask: vec4f,
}

// What a pipeline can do; drivers that run both sides of a branch are spared what is not asked for.
override with_difference: bool = true;
override with_mask: bool = true;
override with_outlines: bool = true;
override with_adjustment: bool = true;

const PLAIN = 0u;
const WIPE = 1u;
const DIFFERENCE = 2u;
const MASK = 3u;
const MASKED_PICTURE = 4u;
const COMPOSITE = 5u;

const SIGNED = 0u;
const ABSOLUTE = 1u;
const LUMA_DIFFERENCE = 2u;
const DELTA_E = 3u;

const OVERLAY_OUTLINE = 1u;
const OVERLAY_TINT = 2u;
const OVERLAY_RING = 3u;
const OVERLAY_CHANGE = 4u;

const RGB = 0u;
const LUMA = 4u;

// Keeps positions that fall on the edge between two texels from flickering.
const NUDGE = 0.001;
const LUMA_WEIGHTS = vec3f(0.2126, 0.7152, 0.0722);

@group(0) @binding(0) var<uniform> cell: Cell;
@group(0) @binding(1) var linear_sampler: sampler;
@group(1) @binding(0) var base_image: texture_2d<f32>;
@group(2) @binding(0) var reference_image: texture_2d<f32>;
// Red: distance to the cleaned mask in texels, 0 on it. Green: the mask before clean-up.
@group(3) @binding(0) var distance_field: texture_2d<f32>;

// Two triangles over the piece.
@vertex
fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    // 0 1 2 and 2 1 3 of the square's corners; no array indexed by a variable, which old drivers refuse.
    let right = f32(index == 1u || index == 4u || index == 5u);
    let below = f32(index == 2u || index == 3u || index == 5u);
    let at = vec2f(right, below);
    let p = mix(cell.region.xy, cell.region.zw, at);
    let px = (p - cell.to_image.zw) / cell.to_image.xy;
    let ndc = px / cell.screen.xy * 2.0 - 1.0;
    return vec4f(ndc.x, -ndc.y, 0.0, 1.0);
}

fn pick(image: texture_2d<f32>, map: vec4f, level: f32, p: vec2f) -> vec4f {
    let size = vec2f(textureDimensions(image, 0));
    let t = p * map.xy + map.zw;
    if level < 0.0 {
        let texel = clamp(floor(t + NUDGE), vec2f(0.0), size - 1.0);
        return textureLoad(image, vec2i(texel), 0);
    }
    return textureSampleLevel(image, linear_sampler, t / size, level);
}

// ---- colour ----

fn linear_from_encoded(c: vec3f) -> vec3f {
    let low = c / 12.92;
    let high = pow((max(c, vec3f(0.0)) + 0.055) / 1.055, vec3f(2.4));
    return select(high, low, c <= vec3f(0.04045));
}

fn encoded_from_linear(c: vec3f) -> vec3f {
    let low = c * 12.92;
    let high = 1.055 * pow(max(c, vec3f(0.0)), vec3f(1.0 / 2.4)) - 0.055;
    return select(high, low, c <= vec3f(0.0031308));
}

fn lab_curve(t: vec3f) -> vec3f {
    let low = t * (841.0 / 108.0) + 4.0 / 29.0;
    return select(pow(max(t, vec3f(0.0)), vec3f(1.0 / 3.0)), low, t <= vec3f(216.0 / 24389.0));
}

// CIE L*a*b* under D65.
fn lab(encoded: vec3f) -> vec3f {
    let c = linear_from_encoded(encoded);
    let xyz = vec3f(
        dot(c, vec3f(0.4124564, 0.3575761, 0.1804375)) / 0.95047,
        dot(c, vec3f(0.2126729, 0.7151522, 0.0721750)),
        dot(c, vec3f(0.0193339, 0.1191920, 0.9503041)) / 1.08883,
    );
    let f = lab_curve(xyz);
    return vec3f(116.0 * f.y - 16.0, 500.0 * (f.x - f.y), 200.0 * (f.y - f.z));
}

fn hue_degrees(a: f32, b: f32) -> f32 {
    if abs(a) + abs(b) < 1e-6 {
        return 0.0;
    }
    let h = degrees(atan2(b, a));
    return select(h, h + 360.0, h < 0.0);
}

fn pow7(x: f32) -> f32 {
    let x2 = x * x;
    return x2 * x2 * x2 * x;
}

// Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula", 2005.
fn delta_e_2000(first: vec3f, second: vec3f) -> f32 {
    let one = lab(first);
    let two = lab(second);
    let chroma_mean = 0.5 * (length(one.yz) + length(two.yz));
    let c7 = pow7(chroma_mean);
    let g = 0.5 * (1.0 - sqrt(c7 / (c7 + 6103515625.0)));
    let a1 = (1.0 + g) * one.y;
    let a2 = (1.0 + g) * two.y;
    let c1 = length(vec2f(a1, one.z));
    let c2 = length(vec2f(a2, two.z));
    let h1 = hue_degrees(a1, one.z);
    let h2 = hue_degrees(a2, two.z);
    let grey = c1 * c2 < 1e-9;

    let dl = two.x - one.x;
    let dc = c2 - c1;
    var dh_degrees = h2 - h1;
    if dh_degrees > 180.0 {
        dh_degrees -= 360.0;
    } else if dh_degrees < -180.0 {
        dh_degrees += 360.0;
    }
    if grey {
        dh_degrees = 0.0;
    }
    let dh = 2.0 * sqrt(c1 * c2) * sin(radians(0.5 * dh_degrees));

    let l_mean = 0.5 * (one.x + two.x);
    let c_mean = 0.5 * (c1 + c2);
    var h_mean = h1 + h2;
    if !grey {
        if abs(h1 - h2) > 180.0 {
            h_mean += select(-360.0, 360.0, h_mean < 360.0);
        }
        h_mean *= 0.5;
    }
    let t = 1.0 - 0.17 * cos(radians(h_mean - 30.0)) + 0.24 * cos(radians(2.0 * h_mean))
        + 0.32 * cos(radians(3.0 * h_mean + 6.0)) - 0.20 * cos(radians(4.0 * h_mean - 63.0));
    let turn = (h_mean - 275.0) / 25.0;
    let theta = 30.0 * exp(-turn * turn);
    let cm7 = pow7(c_mean);
    let rc = 2.0 * sqrt(cm7 / (cm7 + 6103515625.0));
    let l50 = (l_mean - 50.0) * (l_mean - 50.0);
    let sl = 1.0 + 0.015 * l50 / sqrt(20.0 + l50);
    let sc = 1.0 + 0.045 * c_mean;
    let sh = 1.0 + 0.015 * c_mean * t;
    let rt = -sin(radians(2.0 * theta)) * rc;
    let l = dl / sl;
    let c = dc / sc;
    let h = dh / sh;
    return sqrt(max(l * l + c * c + h * h + rt * c * h, 0.0));
}

fn adjusted(color: vec3f) -> vec3f {
    var c = color;
    if cell.params.w != 1.0 {
        c = encoded_from_linear(linear_from_encoded(c) * cell.params.w);
    }
    let channel = cell.choice.w;
    if channel == LUMA {
        return vec3f(dot(c, LUMA_WEIGHTS));
    } else if channel != RGB {
        return vec3f(c[channel - 1u]);
    }
    return c;
}

fn difference(image: vec3f, reference: vec3f) -> vec3f {
    let gain = cell.params.y;
    let threshold = cell.params.z;
    let metric = cell.choice.y;
    if metric == DELTA_E {
        let e = delta_e_2000(image, reference);
        return vec3f(select(0.0, gain * e / 100.0, e >= threshold));
    }
    if metric == LUMA_DIFFERENCE {
        let d = abs(dot(image - reference, LUMA_WEIGHTS));
        return vec3f(select(0.0, gain * d, d * 255.0 >= threshold - 0.001));
    }
    let d = image - reference;
    let largest = max(abs(d.x), max(abs(d.y), abs(d.z))) * 255.0;
    let shown = largest >= threshold - 0.001;
    if metric == SIGNED {
        return select(vec3f(0.5), vec3f(0.5) + 0.5 * gain * d, shown);
    }
    return select(vec3f(0.0), gain * abs(d), shown);
}

// ---- mask ----

// The texel of the field under an image point; negative where there is none. A pixel's centre falls on
// the texel that the composite takes for it, whatever the sizes are: the fraction that is left of
// `pixel * texels / pixels` is found in whole numbers, which f32 could not hold.
fn field_texel(p: vec2f) -> vec2f {
    let texels = vec2f(textureDimensions(distance_field, 0));
    let pixels = cell.field_place.zw;
    let from_corner = p - cell.field_place.xy;
    let whole = floor(from_corner + NUDGE);
    if any(whole < vec2f(0.0)) || any(whole >= pixels) {
        return vec2f(-1.0);
    }
    let near = floor(whole * (texels / pixels));
    let left = vec2i(whole) * vec2i(texels) - vec2i(near) * vec2i(pixels);
    let inside = max(from_corner - whole, vec2f(0.0));
    let t = near + floor((vec2f(left) + inside * texels + 0.1) / pixels);
    return clamp(t, vec2f(0.0), texels - 1.0);
}

// Distance and raw mask of the texel under an image point; where there is no field nothing is mask.
fn field_at(p: vec2f) -> vec2f {
    let t = field_texel(p);
    if t.x < 0.0 {
        return vec2f(1e9, 0.0);
    }
    return textureLoad(distance_field, vec2i(t), 0).rg;
}

fn is_grown(distance: f32) -> bool {
    return distance <= cell.mask.w;
}

// Approximation of a Gaussian-feathered grown mask: exact 1 on the cleaned mask, 0 outside the grown one.
fn feather_weight(distance: f32) -> f32 {
    if distance <= 0.0 {
        return 1.0;
    }
    if !is_grown(distance) {
        return 0.0;
    }
    let sigma = cell.mask.y;
    if sigma <= 0.0 {
        return 1.0;
    }
    // Logistic stand-in for the normal distribution's integral.
    let x = (cell.mask.x + 0.5 - distance) / sigma;
    return 1.0 / (1.0 + exp(-1.702 * x));
}

struct Edges {
    // 2: on the line, 1: in its dark halo, 0: neither.
    original: u32,
    grown: u32,
}

// Compares the texel here with those one and two units away: an outline is as thick at any zoom.
fn edges(p: vec2f, here: f32) -> Edges {
    var found = Edges(0u, 0u);
    let on_original = here <= 0.0;
    let on_grown = is_grown(here);
    for (var i = 0u; i < 16u; i++) {
        let reach = select(2.2, 1.0, i < 8u);
        let strength = select(1u, 2u, i < 8u);
        let angle = f32(i % 8u) * 0.78539816;
        // Square steps, so that straight edges give straight lines.
        let away = clamp(vec2f(cos(angle), sin(angle)) * 1.5, vec2f(-1.0), vec2f(1.0)) * reach;
        let there = field_at(p + away * cell.screen.z * cell.to_image.xy).x;
        if (there <= 0.0) != on_original {
            found.original = max(found.original, strength);
        }
        if is_grown(there) != on_grown {
            found.grown = max(found.grown, strength);
        }
    }
    return found;
}

const BLACK = vec3f(0.0);
const WHITE = vec3f(1.0);
const GROWN_COLOR = vec3f(255.0, 209.0, 0.0) / 255.0;
const TINT_COLOR = vec3f(255.0, 0.0, 153.0) / 255.0;
const RING_COLOR = vec3f(0.0, 191.0, 255.0) / 255.0;
const GAINED_COLOR = vec3f(26.0, 217.0, 77.0) / 255.0;
const LOST_COLOR = vec3f(255.0, 77.0, 26.0) / 255.0;
const SPECK_COLOR = vec3f(191.0, 102.0, 255.0) / 255.0;

fn stripes(at: vec2f, period: f32) -> bool {
    return fract((at.x + at.y) / (period * cell.screen.z)) < 0.5;
}

fn overlaid(color: vec3f, p: vec2f, at: vec2f) -> vec3f {
    let overlay = cell.choice.z;
    var c = color;
    let here = field_at(p);
    let strength = cell.mask.z;
    if overlay == OVERLAY_TINT {
        if is_grown(here.x) {
            c = mix(c, TINT_COLOR, strength);
        }
        return c;
    }
    if overlay == OVERLAY_CHANGE {
        let after = is_grown(here.x);
        if after && here.y < 0.5 {
            c = mix(c, GAINED_COLOR, strength);
        } else if !after && here.y > 1.5 {
            c = mix(c, SPECK_COLOR, select(1.0, strength, stripes(at, 8.0)));
        } else if !after && here.y > 0.5 {
            c = mix(c, LOST_COLOR, select(strength, min(1.0, strength + 0.3), stripes(at, 8.0)));
        }
        return c;
    }
    if !with_outlines {
        return c;
    }
    let line = edges(p, here.x);
    if overlay == OVERLAY_RING && here.x > 0.0 && is_grown(here.x) {
        // Two tones again: the dark stripes show on white, the coloured ones on black.
        c = mix(c, select(BLACK, RING_COLOR, stripes(at, 8.0)), select(0.35, strength, stripes(at, 8.0)));
    }
    if overlay == OVERLAY_RING && here.y > 0.5 && !is_grown(here.x) {
        // Where the field knows the raw mask: what clean-up dropped, or uncovered and growing did not cover.
        let lost = select(LOST_COLOR, SPECK_COLOR, here.y > 1.5);
        c = mix(c, select(BLACK, lost, stripes(at, 6.0)), 0.8);
    }
    // The grown outline is dashed, the original one solid and on top.
    if line.grown == 2u {
        c = select(BLACK, GROWN_COLOR, stripes(at, 10.0));
    } else if line.grown == 1u {
        c = mix(c, select(GROWN_COLOR, BLACK, stripes(at, 10.0)), 0.5);
    }
    if line.original == 2u {
        c = WHITE;
    } else if line.original == 1u && line.grown != 2u {
        c = BLACK;
    }
    return c;
}

// Lines every 16 texels of the field, one unit thick, dotted in two tones; fainter where they are dense.
fn token_lines(color: vec3f, p: vec2f, at: vec2f) -> vec3f {
    let texel = field_texel(p);
    let apart = 16.0 * cell.levels.z / cell.screen.z;
    if texel.x < 0.0 || apart < 6.0 {
        return color;
    }
    let before = field_texel(p - cell.to_image.xy * cell.screen.z);
    if any(floor(texel / 16.0) != floor(before / 16.0)) {
        let strength = mix(0.3, 0.6, clamp((apart - 6.0) / 16.0, 0.0, 1.0));
        return mix(color, select(BLACK, WHITE, stripes(at, 4.0)), strength);
    }
    return color;
}

// The same as `SURROUND` in cell.rs.
const SURROUND = vec3f(64.0 / 255.0);

fn painted(at: vec2f) -> vec3f {
    let p = at * cell.to_image.xy + cell.to_image.zw;
    if any(p < cell.covers.xy) || any(p >= cell.covers.zw) {
        return SURROUND;
    }
    let mode = cell.choice.x;
    let base = pick(base_image, cell.base_map, cell.levels.x, p);
    var shown = base;
    var raw = false;
    if mode == WIPE {
        if p.x < cell.params.x {
            shown = pick(reference_image, cell.reference_map, cell.levels.y, p);
        }
    } else if with_difference && mode == DIFFERENCE {
        let reference = pick(reference_image, cell.reference_map, cell.levels.y, p);
        shown = vec4f(difference(base.rgb, reference.rgb), 1.0);
        raw = true;
    } else if with_mask && mode == MASK {
        shown = vec4f(select(BLACK, WHITE, is_grown(field_at(p).x)), 1.0);
        raw = true;
    } else if with_mask && mode == MASKED_PICTURE {
        // What is masked is 0 in the model's -1..1, so middle grey.
        if is_grown(field_at(p).x) {
            shown = vec4f(vec3f(0.5), 1.0);
            raw = true;
        }
    } else if with_mask && mode == COMPOSITE {
        let original = pick(reference_image, cell.reference_map, cell.levels.y, p);
        shown = mix(original, base, feather_weight(field_at(p).x));
    }
    var c = shown.rgb;
    if with_adjustment && !raw {
        c = adjusted(c);
    }
    if shown.a < 1.0 {
        let squares = floor(at / (8.0 * cell.screen.z));
        let dark = (i32(squares.x) + i32(squares.y)) % 2 == 0;
        c = mix(vec3f(select(0.6, 0.4, dark)), c, shown.a);
    }
    if with_mask && cell.choice.z != 0u {
        c = overlaid(c, p, at);
    }
    if with_mask && cell.levels.w > 0.0 {
        c = token_lines(c, p, at);
    }
    if mode == WIPE {
        let away = abs((p.x - cell.params.x) / cell.to_image.x) / cell.screen.z;
        if away < 1.0 {
            c = WHITE;
        } else if away < 2.0 {
            c = BLACK;
        }
    }
    return clamp(c, BLACK, WHITE);
}

// For targets that store what is written.
@fragment
fn encoded_target(@builtin(position) position: vec4f) -> @location(0) vec4f {
    return vec4f(painted(position.xy), 1.0);
}

// For targets that encode what is written.
@fragment
fn linear_target(@builtin(position) position: vec4f) -> @location(0) vec4f {
    return vec4f(linear_from_encoded(painted(position.xy)), 1.0);
}
