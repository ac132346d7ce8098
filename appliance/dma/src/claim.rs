//! What the host says, and what becomes of it.

use core::fmt;

/// A number that the host wrote, and what it is meant to be. It is worth nothing until it has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    what: &'static str,
    said: u32,
}

/// The host broke the rules of its own device: the device is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLied {
    /// What it lied about.
    pub what: &'static str,
    /// What it said.
    pub said: u32,
}

impl Claim {
    /// What the host said of `what`.
    #[must_use]
    pub const fn new(what: &'static str, said: u32) -> Self {
        Self { what, said }
    }

    /// The number, if it is at most `limit`.
    ///
    /// # Errors
    /// When the host claims more.
    pub const fn at_most(self, limit: usize) -> Result<usize, HostLied> {
        if self.said as usize <= limit { Ok(self.said as usize) } else { Err(self.lie()) }
    }

    /// The number, if it lies in `least..=most`.
    ///
    /// # Errors
    /// When the host claims anything else.
    pub const fn within(self, least: usize, most: usize) -> Result<usize, HostLied> {
        if (self.said as usize) < least { Err(self.lie()) } else { self.at_most(most) }
    }

    /// The verdict, for whoever found out by other means.
    #[must_use]
    pub const fn lie(self) -> HostLied {
        HostLied { what: self.what, said: self.said }
    }
}

impl fmt::Display for HostLied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the host lied about its {} ({})", self.what, self.said)
    }
}

impl core::error::Error for HostLied {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_worth_its_limits() {
        let claim = Claim::new("length", 9);
        assert_eq!(claim.at_most(9), Ok(9));
        assert_eq!(claim.within(9, 9), Ok(9));
        assert_eq!(claim.at_most(8), Err(HostLied { what: "length", said: 9 }));
        assert_eq!(claim.within(10, 20), Err(HostLied { what: "length", said: 9 }));
        assert_eq!(claim.lie().to_string(), "the host lied about its length (9)");
    }
}
