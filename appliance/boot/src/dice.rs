//! Where the layout's randomness comes from: one seed, stretched by ChaCha20.
//!
//! It decides addresses and nothing else. No key is ever made of it.

/// Numbers for the layout of memory.
pub(crate) struct Dice {
    key: [u32; 8],
    drawn: u32,
}

impl Dice {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key, drawn: 0 }
    }

    pub(crate) fn number(&mut self) -> u64 {
        let block = block(&self.key, self.drawn);
        self.drawn = self.drawn.wrapping_add(1);
        let [low, high, ..] = block;
        u64::from(low) | u64::from(high) << 32
    }

    /// A number below `limit`; 0 when there is none.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.number()) * u128::from(limit);
        (wide >> 64) as u64
    }
}

/// One block of ChaCha20 (RFC 8439 §2.3) with a zero nonce.
fn block(key: &[u32; 8], counter: u32) -> [u32; 16] {
    let [a, b, c, d, e, f, g, h] = *key;
    let start =
        [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574, a, b, c, d, e, f, g, h, counter, 0, 0, 0];
    let mut state = start;
    for _ in 0..10 {
        double_round(&mut state);
    }
    for (word, first) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(first);
    }
    state
}

fn double_round(s: &mut [u32; 16]) {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = s;
    quarter(a0, b0, c0, d0);
    quarter(a1, b1, c1, d1);
    quarter(a2, b2, c2, d2);
    quarter(a3, b3, c3, d3);
    quarter(a0, b1, c2, d3);
    quarter(a1, b2, c3, d0);
    quarter(a2, b3, c0, d1);
    quarter(a3, b0, c1, d2);
}

fn quarter(a: &mut u32, b: &mut u32, c: &mut u32, d: &mut u32) {
    for (first, second) in [(16, 12), (8, 7)] {
        *a = a.wrapping_add(*b);
        *d = (*d ^ *a).rotate_left(first);
        *c = c.wrapping_add(*d);
        *b = (*b ^ *c).rotate_left(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_chacha20() {
        // RFC 8439, appendix A.1, test vector 1: the zero key.
        let first = block(&[0; 8], 0);
        assert_eq!(first[..4], [0xade0_b876, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653]);
    }

    #[test]
    fn numbers_stay_below_their_limit_and_differ() {
        let mut dice = Dice::new([7; 32]);
        let drawn: std::collections::HashSet<u64> = (0..1_000).map(|_| dice.below(1 << 40)).collect();
        assert_eq!(drawn.len(), 1_000);
        assert!(drawn.iter().all(|number| *number < 1 << 40));
        assert_eq!(dice.below(0), 0);
    }
}
