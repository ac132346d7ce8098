//! Memory and registers as the drivers get them: only here are they promised to be what they are.

use crate::{device, ram};

const PAGE: usize = 4096;

/// Zeroed memory for a device, of at least so many bytes.
#[must_use]
pub fn pages(bytes: usize) -> Option<dma::Pages> {
    let (at, device) = ram::dma_pages(bytes.div_ceil(PAGE))?;
    // SAFETY: whole pages, writable through the window for ever, that were free until now; they are never taken back
    // and nobody else was given them. The window keeps their place within a page, so they are aligned.
    Some(unsafe { dma::Pages::new(at, device, bytes) })
}

/// A page that the hypervisor shares with us at this address, such as one of Xen's rings. `None` where there is RAM.
#[must_use]
pub fn shared_page(at: u64) -> Option<dma::Pages> {
    let page = at.is_multiple_of(PAGE as u64).then(|| device::share(at, PAGE))??;
    // SAFETY: `share` maps no RAM, so nothing of this program lies there, and what it maps it maps for ever.
    Some(unsafe { dma::Pages::new(page, at, PAGE) })
}

/// The registers of a device. `None` where there is RAM or where they would not be aligned.
#[must_use]
pub fn registers(at: u64, len: usize) -> Option<dma::Registers> {
    if !at.is_multiple_of(4) {
        return None;
    }
    let registers = device::map_device(at, len)?;
    // SAFETY: `map_device` maps no RAM, uncached, for ever, and keeps the place within a page: so it is aligned.
    Some(unsafe { dma::Registers::new(registers, len) })
}
