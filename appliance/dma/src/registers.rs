//! A window on the registers of a device.
//!
//! Writing a register can aim a device at memory, so the writes are private to this crate. Reading past the window
//! gives ones, as an empty bus does.

use core::ptr::NonNull;

/// The registers of one device.
#[derive(Debug)]
pub struct Registers {
    at: NonNull<u8>,
    len: usize,
}

/// A number that a register can hold.
pub(crate) trait Register: Copy {
    /// What an empty bus answers.
    const NOBODY: Self;
}

impl Register for u8 {
    const NOBODY: Self = Self::MAX;
}

impl Register for u16 {
    const NOBODY: Self = Self::MAX;
}

impl Register for u32 {
    const NOBODY: Self = Self::MAX;
}

impl Registers {
    /// Takes over a window.
    ///
    /// # Safety
    /// `len` bytes at `at` are device registers (not memory that the program uses), mapped uncached and 4-byte
    /// aligned for as long as the program runs.
    #[must_use]
    pub unsafe fn new(at: NonNull<u8>, len: usize) -> Self {
        Self { at, len }
    }

    /// The part of `len` bytes that begins at `at`, if it lies inside and is aligned.
    #[must_use]
    pub fn cut(&self, at: usize, len: usize) -> Option<Self> {
        if at.checked_add(len)? > self.len || !at.is_multiple_of(4) {
            return None;
        }
        // SAFETY: at + len <= self.len: the part is registers because the whole is.
        Some(Self { at: unsafe { self.at.add(at) }, len })
    }

    /// Copies from the beginning of the window, four bytes at a time.
    pub fn look(&self, into: &mut [u8]) {
        for (word, into) in into.chunks_mut(4).enumerate() {
            let bytes = self.read::<u32>(word * 4).to_le_bytes();
            into.iter_mut().zip(bytes).for_each(|(into, byte)| *into = byte);
        }
    }

    /// How many bytes of registers there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn read<T: Register>(&self, at: usize) -> T {
        let Some(place) = self.place::<T>(at) else { return T::NOBODY };
        // SAFETY: the place is mapped and aligned; what a register holds is a number, whatever it is.
        unsafe { place.read_volatile() }
    }

    pub(crate) fn write<T: Register>(&self, at: usize, value: T) {
        let Some(place) = self.place::<T>(at) else { return };
        // SAFETY: the place is mapped and aligned, and it is a register, not memory of this program. What it makes
        // the device do is the caller's concern: only the transports of this crate call.
        unsafe { place.write_volatile(value) };
    }

    fn place<T>(&self, at: usize) -> Option<NonNull<T>> {
        if at.checked_add(size_of::<T>())? > self.len || !at.is_multiple_of(size_of::<T>()) {
            return None;
        }
        // SAFETY: at + size <= self.len, inside the window that `new` was promised.
        Some(unsafe { self.at.add(at) }.cast())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Plain memory that answers as registers without a mind of their own.
    pub(crate) fn dumb(words: &[u32]) -> Registers {
        let memory = Box::leak(words.to_vec().into_boxed_slice());
        let len = size_of_val(memory);
        // SAFETY: leaked, aligned, and only named here.
        unsafe { Registers::new(NonNull::from(memory).cast(), len) }
    }

    #[test]
    fn outside_the_window_is_an_empty_bus() {
        let registers = dumb(&[1, 2]);
        registers.write(8, 7_u32);
        registers.write(2, 7_u32);
        assert_eq!(registers.read::<u32>(0), 1);
        assert_eq!(registers.read::<u32>(8), u32::MAX);
        assert_eq!(registers.read::<u16>(7), u16::MAX);
        assert_eq!(registers.read::<u8>(usize::MAX), u8::MAX);
        assert!(registers.cut(4, 5).is_none());
    }
}
