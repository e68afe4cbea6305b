//! Which vector instructions this processor has, found out at run time.

/// A set of vector instructions that this processor has: only such can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(pub(crate) Set);

/// From the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// What the compiler was told that every processor of this kind has.
    Portable,
    /// 256-bit vectors: AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors, products of bytes by way of AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 512-bit vectors with products of bytes: AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Instructions {
    /// All sets that this processor has, the least first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Set::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                sets.push(Set::Avx2);
                if has!("avx512f") && has!("avx512bw") && has!("avx512vl") {
                    sets.push(Set::Avx512);
                    if has!("avx512vnni") {
                        sets.push(Set::Vnni);
                    }
                }
            }
        }
        sets.into_iter().map(Self).collect()
    }

    /// The set that is used: the most that there is.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Instructions> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| {
            let sets = Self::available();
            sets.last().copied().unwrap_or(Self(Set::Portable))
        })
    }

    /// Whether AVX2 is among them.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        self.0 >= Set::Avx2
    }

    /// What a report calls the set: `AVX-512 VNNI`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Vnni => "AVX-512 VNNI",
        }
    }
}
