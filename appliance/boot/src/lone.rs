//! Values of the one thread.

/// A static that only the one thread of a machine without an operating system touches.
pub(crate) struct Lone<T>(T);

// SAFETY: with nothing beneath there is one thread, and no interrupt stub touches a `Lone`. Elsewhere every `Lone`
// stays as it was made, because only the door and what it started write to one.
unsafe impl<T> Sync for Lone<T> {}

impl<T> Lone<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> core::ops::Deref for Lone<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
