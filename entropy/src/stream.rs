//! Many bytes of one key: `ChaCha20` with fast key erasure.
//!
//! Every draw runs the cipher once under the present key: the first 32 bytes become the next key before
//! anything is handed out, the rest is the answer. Whoever reads the memory afterwards learns nothing of what
//! was drawn before. The construction is D. J. Bernstein's of 2017 and the same as Linux's `random.c` uses.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

/// The most that is drawn under one key: 2¹⁰ blocks, far below the cipher's 2³².
const ONE_KEY: usize = 64 * 1024;

/// A stream of bytes, and the one secret behind it.
pub struct Stream {
    key: Zeroizing<[u8; 32]>,
}

impl Stream {
    /// A stream that is as good as `key`, and no better.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: Zeroizing::new(*key) }
    }

    /// Fills `out` with the stream's next bytes.
    pub fn draw(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(ONE_KEY) {
            self.draw_piece(piece);
        }
    }

    /// Mixes 32 fresh bytes into the key: the stream is then as good as the better of the two.
    pub fn refresh(&mut self, fresh: &[u8; 32]) {
        self.rekey(|old| hash(b"gatehouse refresh 1", old, fresh));
    }

    /// Replaces the key by what `next` makes of it.
    pub(crate) fn rekey(&mut self, next: impl FnOnce(&[u8; 32]) -> [u8; 32]) {
        self.key = Zeroizing::new(next(&self.key));
    }

    /// One key is used for one run of the cipher, so the nonce has nothing to tell apart.
    fn draw_piece(&mut self, piece: &mut [u8]) {
        let mut cipher = ChaCha20::new((&*self.key).into(), &[0; 12].into());
        self.key.zeroize();
        cipher.apply_keystream(self.key.as_mut_slice());
        piece.fill(0);
        cipher.apply_keystream(piece);
    }
}

/// The first half of SHA-512 over a label, a key and something else.
pub(crate) fn hash(label: &[u8], key: &[u8; 32], other: &[u8]) -> [u8; 32] {
    let mut digest = Sha512::new().chain_update(label).chain_update(key).chain_update(other).finalize();
    let mut half = [0; 32];
    half.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    digest.as_mut_slice().zeroize();
    half
}

impl core::fmt::Debug for Stream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Stream(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, appendix A.1, vector 1: key and nonce of zeros; the first 64 bytes of the cipher.
    const VECTOR: [u8; 64] = [
        0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28, 0xbd,
        0xd2, 0x19, 0xb8, 0xa0, 0x8d, 0xed, 0x1a, 0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7, 0xda, 0x41,
        0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37, 0x6a, 0x43, 0xb8,
        0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86,
    ];

    #[test]
    fn a_draw_is_the_cipher_behind_the_next_key() {
        let mut stream = Stream::new(&[0; 32]);
        let mut out = [0xff; 32];
        stream.draw(&mut out);
        assert_eq!(out, VECTOR[32..]);
        assert_eq!(*stream.key, VECTOR[..32]);
    }

    #[test]
    fn the_key_that_made_a_draw_is_gone_after_it() {
        let mut stream = Stream::new(&[7; 32]);
        stream.draw(&mut []);
        assert_eq!(*stream.key, [7; 32], "nothing was drawn");
        let mut seen = vec![*stream.key];
        for length in [1, 64, ONE_KEY, ONE_KEY + 1] {
            stream.draw(&mut vec![0; length]);
            assert!(!seen.contains(&*stream.key), "a key came back after {length} bytes");
            seen.push(*stream.key);
        }
    }

    #[test]
    fn a_refresh_mixes_and_does_not_replace() {
        let refreshed = |key: u8, fresh: u8| {
            let (mut stream, mut out) = (Stream::new(&[key; 32]), [0; 32]);
            stream.refresh(&[fresh; 32]);
            stream.draw(&mut out);
            out
        };
        assert_ne!(refreshed(1, 9), refreshed(2, 9));
        assert_ne!(refreshed(1, 9), refreshed(1, 8));
    }

    #[test]
    fn what_was_in_the_buffer_before_does_not_matter() {
        let draw = |filler: u8| {
            let mut out = vec![filler; ONE_KEY + 100];
            Stream::new(&[1; 32]).draw(&mut out);
            out
        };
        assert_eq!(draw(0), draw(0xaa));
    }
}
