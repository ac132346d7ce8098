//! `gatehouse measure`: what an appliance says of its own code, computed from its file.

use crate::Outcome;
use pinata::attest::{Part, measure};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// The appliance's ELF, stripped or not.
    file: PathBuf,
}

const LOAD: u32 = 1;
const WRITE: u32 = 2;

/// The verb.
pub(crate) fn run(order: &Order) -> Outcome {
    let file = std::fs::read(&order.file).map_err(|error| format!("{}: {error}", order.file.display()))?;
    let parts = parts(&file).ok_or_else(|| {
        format!("{}: this is no ELF program of 64 bits, or it is cut off", order.file.display())
    })?;
    println!("{}", measure(parts));
    Ok(ExitCode::SUCCESS)
}

/// The segments that are loaded and never written; a file without any is nothing that could run.
fn parts(file: &[u8]) -> Option<Vec<Part<'_>>> {
    file.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let (table, size, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
    let mut parts = Vec::new();
    for place in 0..count {
        let header = file.get(table.checked_add(place.checked_mul(size)?)?..)?;
        let flags = u32::try_from(number(header, 4, 4)?).ok()?;
        if number(header, 0, 4)? == LOAD as usize && flags & WRITE == 0 {
            let (offset, address) = (number(header, 8, 8)?, number(header, 16, 8)?);
            let bytes = file.get(offset..offset.checked_add(number(header, 32, 8)?)?)?;
            parts.push(Part { address: address as u64, flags, bytes });
        }
    }
    (!parts.is_empty()).then_some(parts)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_is_nothing_and_never_a_panic() {
        let mut file = [&b"\x7fELF\x02\x01"[..], &[0xff; 200]].concat();
        assert!(parts(&file).is_none());
        for at in 6..file.len() {
            file[at] = 0;
            let _ = parts(&file);
            assert!(parts(&file[..at]).is_none());
        }
        assert!(parts(b"").is_none() && parts(b"#!/bin/sh").is_none());
    }
}
