//! Host memory as copies and claims.
//!
//! A number that the host wrote is a [`Claim`], not a fact. MMIO and rings live here, and so does the unsafe code that
//! every device driver would otherwise carry.

/// A number that the host wrote. It is worth nothing until it has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Claim(u32);

/// The host broke the rules of its own device: the device is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLied;

impl Claim {
    /// What the host said.
    #[must_use]
    pub const fn new(said: u32) -> Self {
        Self(said)
    }

    /// The number, if it is at most `limit`.
    ///
    /// # Errors
    /// When the host claims more.
    pub const fn at_most(self, limit: usize) -> Result<usize, HostLied> {
        if self.0 as usize <= limit { Ok(self.0 as usize) } else { Err(HostLied) }
    }
}
