//! The Mersenne Twister as C++ and `PyTorch` seed it; draws 32 bits at a time.
//!
//! M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998).

const N: usize = 624;
const M: usize = 397;

/// 19937 bits of state.
#[derive(Debug, Clone)]
pub struct Mt19937 {
    state: [u32; N],
    next: usize,
}

impl Mt19937 {
    /// The state that `init_genrand(seed)` leaves.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        let mut last = seed;
        for (i, word) in state.iter_mut().enumerate().skip(1) {
            last = (last ^ (last >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
            *word = last;
        }
        Self { state, next: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let mut word = self.state[(i + M) % N] ^ (y >> 1);
            if y & 1 == 1 {
                word ^= 0x9908_b0df;
            }
            self.state[i] = word;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_thousandth_number_is_the_one_the_cpp_standard_names() {
        // [rand.predef]: the 10000th invocation of a default-constructed mt19937 gives 4123659995.
        let mut engine = Mt19937::new(5489);
        let last = (0..10_000).map(|_| engine.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
