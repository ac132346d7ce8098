//! What an interface does with what it is asked to help with: cuts segments and completes checksums.

use crate::wire::sum::Sum;
use world::{Help, Segment};

/// The frames that leave when `frame` is sent with `help`.
pub(super) fn cut(frame: &[u8], help: &Help) -> Vec<Vec<u8>> {
    let Some(how) = help.segment else { return vec![frame.to_vec()] };
    let (header, size) = (usize::from(how.header), usize::from(how.size));
    let (start, _) = help.checksum.expect("an interface that cuts completes checksums");
    let start = usize::from(start);
    let payload = &frame[header..];
    let pieces = payload.len().div_ceil(size);
    let piece = |(number, payload): (usize, &[u8])| {
        let mut piece = frame[..header].to_vec();
        piece.extend_from_slice(payload);
        let seq = u32::from_be_bytes(piece[start + 4..start + 8].try_into().unwrap());
        let seq = seq.wrapping_add((number * size) as u32);
        piece[start + 4..start + 8].copy_from_slice(&seq.to_be_bytes());
        if number + 1 < pieces {
            piece[start + 13] &= !9;
        }
        let (old, new) = (frame.len() - start, piece.len() - start);
        lengths(&mut piece, how.kind, start, old, new);
        piece
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

/// Puts a piece's own length into its IP header and its pseudo-header.
fn lengths(piece: &mut [u8], kind: Segment, start: usize, old: usize, new: usize) {
    let len = piece.len();
    match kind {
        Segment::Tcp4 => {
            piece[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
            piece[24..26].fill(0);
            let sum = Sum::default().add(&piece[14..start]).checksum();
            piece[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        Segment::Tcp6 => piece[18..20].copy_from_slice(&((len - 54) as u16).to_be_bytes()),
    }
    let field = [piece[start + 16], piece[start + 17]];
    let sum = Sum::default().add(&field).add(&(!(old as u16)).to_be_bytes()).add(&(new as u16).to_be_bytes());
    piece[start + 16..start + 18].copy_from_slice(&sum.folded().to_be_bytes());
}

/// Completes a checksum whose field holds the sum of the pseudo-header.
pub(super) fn complete(frame: &mut [u8], start: usize, offset: usize) {
    let sum = Sum::default().add(&frame[start..]).checksum();
    frame[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
}
