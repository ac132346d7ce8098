//! Memory that a device may write while we look at it.
//!
//! There is no reference to it anywhere: each access is one volatile load or store, so what was read is read once
//! and is ours afterwards. Pages are never given back, so a device that outlives its driver writes into nothing.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A run of memory, contiguous for us and for the device. A copy of it is a second view of the same memory: nobody
/// expects to read back what was written, so a second view breaks no promise.
#[derive(Clone, Debug)]
pub struct Pages {
    at: NonNull<u8>,
    device: u64,
    len: usize,
}

const WORD: usize = size_of::<u64>();
const PAGE: u64 = 4096;

impl Pages {
    /// Takes over a run of memory.
    ///
    /// # Safety
    /// `len` bytes at `at` are mapped, writable and 8-byte aligned for as long as the program runs; the device finds
    /// them at `device`; and nothing else in the program refers to them, now or later.
    #[must_use]
    pub unsafe fn new(at: NonNull<u8>, device: u64, len: usize) -> Self {
        Self { at, device, len }
    }

    /// Zeroed memory for a device that lives in this very process, and therefore finds it where we do.
    #[must_use]
    pub fn in_process(len: usize) -> Self {
        let words = Box::leak(vec![0_u64; len.div_ceil(WORD)].into_boxed_slice());
        let at = NonNull::from(words).cast::<u8>();
        // SAFETY: the words were leaked just now and this is their only name; u64s are aligned; `len` was rounded up.
        unsafe { Self::new(at, at.as_ptr() as u64, len) }
    }

    /// Zeroed memory that the other side, which a test plays, finds at `device`.
    #[cfg(any(test, feature = "pretend"))]
    pub(crate) fn pretended(len: usize, device: u64) -> Self {
        Self { device, ..Self::in_process(len) }
    }

    /// The part of `len` bytes that begins at `at`, if it lies inside.
    #[must_use]
    pub fn cut(&self, at: usize, len: usize) -> Option<Self> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: at + len <= self.len, so the sum stays inside the run that `new` was promised.
        let start = unsafe { self.at.add(at) };
        Some(Self { at: start, device: self.device.checked_add(at as u64)?, len })
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes out, from `at` on, and says how many there were.
    pub fn read(&self, at: usize, into: &mut [u8]) -> usize {
        let count = into.len().min(self.len.saturating_sub(at));
        let Some(from) = self.cut(at, count) else { return 0 };
        let into = into.get_mut(..count).unwrap_or_default();
        let (ragged, whole) = into.split_at_mut(from.ragged());
        from.read_bytes(0, ragged);
        let (words, rest) = whole.as_chunks_mut();
        from.read_words(ragged.len(), words);
        from.read_bytes(count.saturating_sub(rest.len()), rest);
        count
    }

    /// Copies bytes in, from `at` on, and says how many found room.
    pub fn write(&self, at: usize, from: &[u8]) -> usize {
        let count = from.len().min(self.len.saturating_sub(at));
        let Some(to) = self.cut(at, count) else { return 0 };
        let from = from.get(..count).unwrap_or_default();
        let (ragged, whole) = from.split_at(to.ragged());
        to.write_bytes(0, ragged);
        let (words, rest) = whole.as_chunks();
        to.write_words(ragged.len(), words);
        to.write_bytes(count.saturating_sub(rest.len()), rest);
        count
    }

    /// Writes zeros over all of it. The stores are volatile: they happen, whoever looks afterwards.
    pub fn wipe(&self) {
        const ZEROS: [u8; 256] = [0; 256];
        for at in (0..self.len).step_by(ZEROS.len()) {
            self.write(at, &ZEROS);
        }
    }

    /// The number of the page frame that it is, or begins with; `None` when it does not begin at one or is shorter.
    #[must_use]
    pub fn frame(&self) -> Option<u64> {
        (self.device.is_multiple_of(PAGE) && self.len as u64 >= PAGE).then_some(self.device / PAGE)
    }

    /// Where the device finds it.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Bytes before the first aligned word.
    fn ragged(&self) -> usize {
        self.at.align_offset(WORD).min(self.len)
    }

    fn read_bytes(&self, at: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            let Some(place) = self.place(at + index, 1) else { return };
            // SAFETY: `place` lies inside the run, which stays mapped for ever.
            *byte = unsafe { place.read_volatile() };
        }
    }

    fn write_bytes(&self, at: usize, from: &[u8]) {
        for (index, byte) in from.iter().enumerate() {
            let Some(place) = self.place(at + index, 1) else { return };
            // SAFETY: `place` lies inside the run, which nobody else in the program refers to.
            unsafe { place.write_volatile(*byte) };
        }
    }

    /// Reads words from an aligned place on: one look whether they are there for all of them.
    fn read_words(&self, at: usize, into: &mut [[u8; WORD]]) {
        let Some(start) = self.place(at, into.as_flattened().len()) else { return };
        for (index, word) in into.iter_mut().enumerate() {
            // SAFETY: `place` has found all of them inside the run.
            let place = unsafe { start.cast::<u64>().add(index) };
            // SAFETY: eight mapped bytes; the callers start at an aligned place, and x86 would forgive them if they did not.
            *word = unsafe { place.read_volatile() }.to_ne_bytes();
        }
    }

    /// See [`Pages::read_words`].
    fn write_words(&self, at: usize, from: &[[u8; WORD]]) {
        let Some(start) = self.place(at, from.as_flattened().len()) else { return };
        for (index, word) in from.iter().enumerate() {
            // SAFETY: `place` has found all of them inside the run.
            let place = unsafe { start.cast::<u64>().add(index) };
            // SAFETY: as in `read_words`, and nobody else in the program refers to these bytes.
            unsafe { place.write_volatile(u64::from_ne_bytes(*word)) };
        }
    }

    /// A 16-bit word that both sides use at once; what we wrote before it is seen before it, and likewise theirs.
    pub(crate) fn load16(&self, at: usize) -> u16 {
        self.shared16(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// See [`Pages::load16`].
    pub(crate) fn store16(&self, at: usize, value: u16) {
        if let Some(word) = self.shared16(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Writes a 16-bit word if it still holds `old`, and says what it held.
    pub(crate) fn exchange16(&self, at: usize, old: u16, new: u16) -> Result<u16, u16> {
        let word = self.shared16(at).ok_or(0_u16)?;
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    /// A 32-bit word that both sides use at once, 0 outside or where it would not be aligned; what they wrote before
    /// it is seen after it.
    #[must_use]
    pub fn load32(&self, at: usize) -> u32 {
        self.shared32(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// See [`Pages::load32`]; what we wrote before it is seen before it.
    pub fn store32(&self, at: usize, value: u32) {
        if let Some(word) = self.shared32(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Takes these bits out of a 64-bit word that both sides use at once, and says which of them were set.
    pub fn take64(&self, at: usize, bits: u64) -> u64 {
        self.shared64(at).map_or(0, |word| word.fetch_and(!bits, Ordering::SeqCst) & bits)
    }

    fn shared16(&self, at: usize) -> Option<&AtomicU16> {
        let place = self.shared(at, 2)?.cast::<u16>();
        if !place.is_aligned() {
            return None;
        }
        // SAFETY: two mapped, aligned bytes that live for ever; an atomic may be shared with any other writer.
        Some(unsafe { AtomicU16::from_ptr(place.as_ptr()) })
    }

    fn shared32(&self, at: usize) -> Option<&AtomicU32> {
        let place = self.shared(at, 4)?.cast::<u32>();
        if !place.is_aligned() {
            return None;
        }
        // SAFETY: as in `shared16`, with four bytes.
        Some(unsafe { AtomicU32::from_ptr(place.as_ptr()) })
    }

    fn shared64(&self, at: usize) -> Option<&AtomicU64> {
        let place = self.shared(at, WORD)?.cast::<u64>();
        if !place.is_aligned() {
            return None;
        }
        // SAFETY: as in `shared16`, with eight bytes.
        Some(unsafe { AtomicU64::from_ptr(place.as_ptr()) })
    }

    /// A place that both sides use at once; the other side of a test may act before we do.
    fn shared(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        #[cfg(any(test, feature = "pretend"))]
        crate::pretend::moment();
        self.place(at, len)
    }

    fn place(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: at + len <= self.len, so this stays inside the run that `new` was promised.
        Some(unsafe { self.at.add(at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_at_any_place_comes_out_and_touches_nothing_else(
            at in 0_usize..100, bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let pages = Pages::in_process(128);
            let written = pages.write(at, &bytes);
            prop_assert_eq!(written, bytes.len().min(128 - at));
            let mut all = [0xaa; 130];
            prop_assert_eq!(pages.read(0, &mut all), 128);
            prop_assert_eq!(&all[at..at + written], &bytes[..written]);
            prop_assert!(all[..at].iter().chain(&all[at + written..128]).all(|byte| *byte == 0));
            let mut part = vec![0; written];
            prop_assert_eq!(pages.read(at, &mut part), written);
            prop_assert_eq!(&part[..], &bytes[..written]);
        }
    }

    #[test]
    fn no_cut_reaches_outside() {
        let pages = Pages::in_process(64);
        assert!(pages.cut(60, 4).is_some());
        assert!(pages.cut(61, 4).is_none());
        assert!(pages.cut(usize::MAX, 2).is_none());
        assert!(pages.cut(8, 8).is_some_and(|part| part.cut(0, 9).is_none()));
        assert_eq!(pages.read(65, &mut [0; 4]), 0);
    }

    #[test]
    fn wiped_memory_is_zero_to_its_last_byte() {
        let pages = Pages::in_process(777);
        pages.write(0, &[7; 777]);
        pages.wipe();
        let mut all = [1; 777];
        pages.read(0, &mut all);
        assert!(all.iter().all(|byte| *byte == 0));
    }
}
