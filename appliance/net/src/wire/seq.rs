//! Sequence numbers, which wrap.

use core::ops::{Add, Sub};

/// A TCP sequence number. There is no order on a circle: only before and after, within half of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    pub(crate) fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) > u32::MAX / 2
    }

    pub(crate) fn is_after(self, other: Self) -> bool {
        other.is_before(self)
    }

    /// How far past `earlier`; zero when it is not.
    pub(crate) fn past(self, earlier: Self) -> u32 {
        if self.is_before(earlier) { 0 } else { self - earlier }
    }

    pub(crate) fn later(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }
}

impl Add<u32> for Seq {
    type Output = Self;

    fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl Sub<u32> for Seq {
    type Output = Self;

    fn sub(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }
}

impl Sub for Seq {
    type Output = u32;

    fn sub(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_hold_across_the_wrap() {
        let (old, new) = (Seq(u32::MAX - 5), Seq(5));
        assert!(old.is_before(new) && new.is_after(old) && !old.is_after(old));
        assert_eq!((new - old, new.past(old), old.past(new)), (11, 11, 0));
        assert_eq!(old.later(new), new);
    }
}
