//! How words are written and read: numbers in little-endian, lists and texts behind their length.
//!
//! Reading believes no length: a list grows by what was really read, and what is left over is an error.

use crate::Broken;
use crate::estate::{Authority, Clients, Estate, HeaderRule, Hsts, Limits, Profile, Redirect, Site};
use crate::estate::{Health, Network, Proxy, Target, Verified, Waits};
use core::net::IpAddr;

const WHERE: Broken = Broken::Nonsense("configuration");

/// What is left to read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WHERE)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| WHERE)
    }

    pub(crate) fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let count = u32::read(self)?;
        self.take(usize::try_from(count).map_err(|_| WHERE)?)
    }

    /// Nothing is left over.
    pub(crate) fn end(&self) -> Result<(), Broken> {
        if self.0.is_empty() { Ok(()) } else { Err(WHERE) }
    }
}

/// What can be written and read back.
pub(crate) trait Coded: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &mut Reader<'_>) -> Result<Self, Broken>;
}

/// Writes a value.
pub(crate) fn written(value: &impl Coded) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

/// Reads a value that fills all of `bytes`.
pub(crate) fn read_all<T: Coded>(bytes: &[u8]) -> Result<T, Broken> {
    let mut reader = Reader(bytes);
    let value = T::read(&mut reader)?;
    reader.end().map(|()| value)
}

/// Lengths beyond 4 GiB do not fit a configuration; what is cut off there fails to read back, and packing
/// reads back.
fn count(out: &mut Vec<u8>, length: usize) {
    u32::try_from(length).unwrap_or(u32::MAX).write(out);
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Coded for $number {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
                from.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

macro_rules! records {
    ($($record:ident { $($field:ident),* $(,)? })*) => {$(
        impl Coded for $record {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$field.write(out);)*
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
                $(let $field = Coded::read(from)?;)*
                Ok(Self { $($field),* })
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 }

records! {
    Estate { profile, default_site, https_port, limits, trusted, announcers, resolvers, sites }
    Limits { idle, head, stall, floor, head_bytes, head_lines, target, requests, streams }
    Site { names, chain, ocsp, clients, hsts, errors, redirects, figures, headers, proxies }
    Authority { certificates, revoked }
    Hsts { seconds, subdomains, preload }
    Redirect { from, to, status }
    HeaderRule { pattern, name, value }
    Network { address, prefix }
    Proxy {
        path, targets, least, strip, host, verified, announce, upgrades, identity, health, waits, most, body
    }
    Target { host, port }
    Verified { authorities, name }
    Health { path, every }
    Waits { connect, head, stall, idle, tunnel }
}

impl Coded for IpAddr {
    fn write(&self, out: &mut Vec<u8>) {
        self.to_string().write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        String::read(from)?.parse().map_err(|_| WHERE)
    }
}

impl Coded for bool {
    fn write(&self, out: &mut Vec<u8>) {
        u8::from(*self).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WHERE),
        }
    }
}

impl Coded for String {
    fn write(&self, out: &mut Vec<u8>) {
        count(out, self.len());
        out.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        core::str::from_utf8(from.counted()?).map(str::to_owned).map_err(|_| WHERE)
    }
}

impl<T: Coded> Coded for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        count(out, self.len());
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        // Every item is at least a byte, so the list ends with the input at the latest.
        (0..u32::read(from)?).map(|_| T::read(from)).collect()
    }
}

impl<T: Coded> Coded for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        Ok(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
}

impl<A: Coded, B: Coded> Coded for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

impl Coded for Profile {
    fn write(&self, out: &mut Vec<u8>) {
        (*self == Self::Modern).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        Ok(if bool::read(from)? { Self::Modern } else { Self::Intermediate })
    }
}

impl Coded for Clients {
    fn write(&self, out: &mut Vec<u8>) {
        let (number, authority) = match self {
            Self::Unasked => (0u8, None),
            Self::Optional(authority) => (1, Some(authority)),
            Self::Required(authority) => (2, Some(authority)),
        };
        number.write(out);
        authority.into_iter().for_each(|authority| authority.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::read(from)? {
            0 => Ok(Self::Unasked),
            1 => Authority::read(from).map(Self::Optional),
            2 => Authority::read(from).map(Self::Required),
            _ => Err(WHERE),
        }
    }
}
