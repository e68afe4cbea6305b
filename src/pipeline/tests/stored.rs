//! The stored types of the kernels, held against candle's.

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use fill_audit_kernels::StoredType;

const ALL: [(StoredType, GgmlDType); 13] = [
    (StoredType::F32, GgmlDType::F32),
    (StoredType::F16, GgmlDType::F16),
    (StoredType::Bf16, GgmlDType::BF16),
    (StoredType::Q4_0, GgmlDType::Q4_0),
    (StoredType::Q4_1, GgmlDType::Q4_1),
    (StoredType::Q5_0, GgmlDType::Q5_0),
    (StoredType::Q5_1, GgmlDType::Q5_1),
    (StoredType::Q8_0, GgmlDType::Q8_0),
    (StoredType::Q2K, GgmlDType::Q2K),
    (StoredType::Q3K, GgmlDType::Q3K),
    (StoredType::Q4K, GgmlDType::Q4K),
    (StoredType::Q5K, GgmlDType::Q5K),
    (StoredType::Q6K, GgmlDType::Q6K),
];

#[test]
fn every_type_decodes_as_candle_does_to_the_last_bit() {
    let values: Vec<f32> = (0..2048)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013 * (1.0 + i as f32 / 700.0))
        .collect();
    let dense = Tensor::from_vec(values, (4, 512), &Device::Cpu).unwrap();
    for (ours, theirs) in ALL {
        let quantized = QTensor::quantize(&dense, theirs).unwrap();
        let expected = quantized.dequantize(&Device::Cpu).unwrap();
        let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let bytes = quantized.data().unwrap();
        assert_eq!(ours.size_bytes(&[4, 512]), Some(bytes.len() as u64));
        let mut decoded = vec![f32::NAN; 2048];
        ours.decode(&bytes, &mut decoded);
        assert_eq!(decoded, expected, "{}", ours.name());
    }
}

#[test]
fn every_bit_pattern_of_a_block_decodes_as_candle_does() {
    // Blocks of noise reach bits that a quantizer seldom sets; the scales are made finite.
    let mut state = 12_345_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for (ours, theirs) in ALL {
        let (values, size) = ours.block();
        let mut bytes: Vec<u8> = (0..size * 64).map(|_| byte()).collect();
        let scales: &[usize] = match ours {
            StoredType::Q2K => &[80, 82],
            StoredType::Q3K => &[108],
            StoredType::Q6K => &[208],
            StoredType::F32 => &[2],
            StoredType::Q4_1 | StoredType::Q5_1 | StoredType::Q4K | StoredType::Q5K => &[0, 2],
            _ => &[0],
        };
        for block in bytes.chunks_exact_mut(size) {
            for &at in scales {
                block[at + 1] &= 0x3f;
            }
        }
        let storage = QStorage::from_data(bytes.clone().into(), &Device::Cpu, theirs).unwrap();
        let expected = QTensor::new(storage, (64, values)).unwrap();
        let expected = expected.dequantize(&Device::Cpu).unwrap();
        let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut decoded = vec![f32::NAN; 64 * values];
        ours.decode(&bytes, &mut decoded);
        assert_eq!(decoded, expected, "{}", ours.name());
    }
}

#[test]
fn sizes_that_overflow_or_split_a_block_are_refused() {
    assert_eq!(StoredType::Q4_0.size_bytes(&[3, 33]), None);
    assert_eq!(StoredType::F32.size_bytes(&[usize::MAX, usize::MAX]), None);
    assert_eq!(StoredType::F32.size_bytes(&[]), None);
    assert_eq!(StoredType::Q8_0.size_bytes(&[2, 64]), Some(2 * 2 * 34));
}
