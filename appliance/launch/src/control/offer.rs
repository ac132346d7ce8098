//! An offer: a bundle on its way to an appliance that runs. Only what the appliance lacks goes over the channel.

use crate::load::Load;
use bundle::Renewal;
use control::{Operator, PIECE};
use std::collections::VecDeque;
use std::io;
use zeroize::Zeroizing;

/// Bytes that wait in the operator's outbox before more are read from the bundle.
const AHEAD: usize = 4 * PIECE;

/// A bundle that is offered.
pub(super) struct Offer {
    pub(super) load: Load,
    renewal: Renewal,
    head: Zeroizing<Vec<u8>>,
    lengths: (u32, u32),
    /// What goes out next: where it lies in the bundle, and how long it is.
    queue: VecDeque<(usize, usize)>,
}

impl Offer {
    pub(super) fn of(load: Load) -> io::Result<Self> {
        let (index, secret) = (load.index()?, load.secret()?);
        let renewal = Renewal::open(index.clone().into(), None).map_err(io::Error::other)?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let lengths = (length(&index)?, length(&secret)?);
        let head = Zeroizing::new([index, secret.to_vec()].concat());
        Ok(Self { load, renewal, head, lengths, queue: VecDeque::new() })
    }

    /// Offers it: the index and the secret part go at once.
    pub(super) fn begin(&self, operator: &mut Operator, line: u16) {
        operator.offer(line, self.lengths.0, self.lengths.1);
        operator.send(line, &self.head);
    }

    /// Nothing waits to be sent.
    pub(super) fn rests(&self) -> bool {
        self.queue.is_empty()
    }

    /// The appliance wants these chunks.
    pub(super) fn wanted(&mut self, spans: impl Iterator<Item = (u32, u32)>) {
        for (first, count) in spans {
            let chunks =
                (first..first.saturating_add(count)).map(|number| self.renewal.place(number as usize));
            // A number that does not exist has no length; an appliance that lies gets nothing.
            self.queue.extend(chunks.take_while(|(_, length)| *length > 0));
        }
    }

    /// Sends more of what is wanted, if the channel takes it.
    pub(super) fn go_on(&mut self, operator: &mut Operator, line: u16) -> io::Result<()> {
        while operator.outbox().len() < AHEAD {
            let Some((at, length)) = self.queue.pop_front() else { return Ok(()) };
            let now = length.min(PIECE);
            let mut piece = vec![0; now];
            self.load.read_at(&mut piece, at)?;
            operator.send(line, &piece);
            if now < length {
                self.queue.push_front((at + now, length - now));
            }
        }
        Ok(())
    }
}
