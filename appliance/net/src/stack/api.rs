//! What handles and streams ask of the stack.

use super::{Door, Stack};
use crate::account::Account;
use crate::flow::live::State;
use crate::flow::{Flow, Life, Owner, SEND};
use crate::stream::Presence;
use crate::wire::Ends;
use core::task::{Context, Poll, Waker};
use std::io;
use std::rc::Rc;

/// Bytes of the largest send buffer that a connection gets for its first write.
const FIRST: usize = 64 * 1024;

impl Stack {
    pub(crate) fn open(&mut self, port: u16) -> bool {
        if port == 0 || self.doors.contains_key(&port) {
            return false;
        }
        self.doors.insert(port, Door::default()).is_none()
    }

    /// Closes a port and resets what was not accepted.
    pub(crate) fn shut(&mut self, port: u16) {
        for number in self.doors.remove(&port).into_iter().flat_map(|door| door.ready) {
            self.own(number, Owner::Nobody);
            self.reset(number, io::ErrorKind::ConnectionAborted);
        }
    }

    fn own(&mut self, number: usize, owner: Owner) {
        if let Some(flow) = self.flows.get_mut(number) {
            flow.owner = owner;
        }
    }

    /// What is held above for this connection is booked there.
    pub(crate) fn book(&mut self, number: usize, account: &Rc<Account>) {
        if let Some(flow) = self.flows.get_mut(number) {
            flow.account = Some(account.clone());
        }
    }

    /// The next connection of a port that is still alive.
    pub(crate) fn next(&mut self, port: u16, waker: &Waker) -> Option<(usize, Ends)> {
        while let Some(number) = self.doors.get_mut(&port)?.ready.pop_front() {
            let Some(flow) = self.flows.get_mut(number) else { continue };
            flow.owner = Owner::Stream;
            if !flow.is_over() {
                return Some((number, flow.ends));
            }
            self.release(number);
        }
        self.doors.get_mut(&port)?.waiter = Some(waker.clone());
        None
    }

    /// True once a call was answered.
    pub(crate) fn called(&mut self, number: usize, waker: &Waker) -> Poll<Result<(), io::ErrorKind>> {
        let Some(flow) = self.flows.get_mut(number) else { return Poll::Ready(Err(io::ErrorKind::NotFound)) };
        match &flow.life {
            Life::Calling { .. } => {
                flow.writer = Some(waker.clone());
                Poll::Pending
            }
            Life::Over(why) => Poll::Ready(Err(*why)),
            Life::Rest | Life::Live(_) | Life::Done => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn read(
        &mut self,
        number: usize,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (largest, _) = self.largest();
        let Some(flow) = self.flows.get_mut(number) else { return Poll::Ready(Ok(0)) };
        if let Some(read) = flow.read_last_words(into) {
            return Poll::Ready(Ok(read));
        }
        match &mut flow.life {
            Life::Over(why) => return Poll::Ready(Err((*why).into())),
            Life::Done => return Poll::Ready(Ok(0)),
            Life::Rest if flow.heard_fin => return Poll::Ready(Ok(0)),
            Life::Live(live) => {
                let (unread, room) = (live.unread(), live.capacity());
                let read = live.read(into);
                if unread > room / 2 && room < largest {
                    flow.receive = u32::try_from((room * 4).min(largest)).unwrap_or(flow.receive);
                }
                if read > 0 || into.is_empty() {
                    self.tell_news(number);
                    return Poll::Ready(Ok(read));
                }
                if live.heard_all() || live.state() == State::Closed {
                    return Poll::Ready(Ok(0));
                }
            }
            Life::Rest | Life::Calling { .. } => {}
        }
        flow.reader = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn presence(&mut self, number: usize, waker: &Waker) -> Presence {
        let Some(flow) = self.flows.get_mut(number) else { return Presence::Gone };
        flow.reader = Some(waker.clone());
        match &flow.life {
            Life::Over(_) | Life::Done => Presence::Gone,
            Life::Rest if flow.heard_fin => Presence::Silent,
            Life::Live(live) if live.unread() == 0 && live.heard_all() => Presence::Silent,
            Life::Rest | Life::Live(_) | Life::Calling { .. } => Presence::There,
        }
    }

    pub(crate) fn write(
        &mut self,
        number: usize,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(flow) = self.flows.get_mut(number) else { return broken() };
        match &flow.life {
            Life::Over(why) => return Poll::Ready(Err((*why).into())),
            Life::Done => return broken(),
            _ if flow.closing => return broken(),
            _ if from.is_empty() => return Poll::Ready(Ok(0)),
            Life::Calling { .. } => return wait(flow, context),
            Life::Live(_) | Life::Rest => flow.expect_to_send(from.len()),
        }
        if self.awake(number).is_none() {
            return self.no_room(number);
        }
        self.widen(number, from.len());
        let Some(flow) = self.flows.get_mut(number) else { return broken() };
        let owed = flow.is_owed();
        let Life::Live(live) = &mut flow.life else { return broken() };
        if !matches!(live.state(), State::Established | State::CloseWait) {
            return broken();
        }
        let written = live.sender.write(from);
        flow.stirred |= !owed;
        if written == 0 {
            return wait(flow, context);
        }
        self.tell_news(number);
        Poll::Ready(Ok(written))
    }

    /// Gives a connection more room for what it says, if `bytes` do not fit and more may be on its way.
    fn widen(&mut self, number: usize, bytes: usize) {
        let ((_, longest), left) = (self.largest(), self.budget.saturating_sub(self.committed()));
        let Some(flow) = self.flows.get_mut(number) else { return };
        let Life::Live(live) = &mut flow.life else { return };
        let (has, wanted) = (live.sender.capacity(), live.sender.wanted().min(longest));
        if live.sender.room() < bytes && wanted > has && wanted - has <= left {
            live.sender.widen(wanted);
            self.used += wanted - has;
        }
    }

    /// A connection that cannot be woken because there is no memory ends: its task cannot wait for others to finish.
    fn no_room(&mut self, number: usize) -> Poll<io::Result<usize>> {
        self.figures.refused += 1;
        self.reset(number, io::ErrorKind::OutOfMemory);
        Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
    }

    /// Closes our half: the peer reads its end after the last byte.
    pub(crate) fn close(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        if flow.is_over() || flow.closing {
            return;
        }
        if matches!(flow.life, Life::Calling { .. }) {
            return self.end(number, io::ErrorKind::ConnectionAborted);
        }
        flow.closing = true;
        let owed = flow.is_owed();
        let Some(live) = self.awake(number) else {
            return self.reset(number, io::ErrorKind::OutOfMemory);
        };
        live.close();
        if let Some(flow) = self.flows.get_mut(number) {
            flow.stirred |= !owed;
        }
        self.tell_news(number);
    }

    pub(crate) fn abort(&mut self, number: usize) {
        self.reset(number, io::ErrorKind::ConnectionAborted);
    }

    /// Nobody holds the stream any more.
    pub(crate) fn release(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        (flow.owner, flow.left) = (Owner::Nobody, self.now);
        flow.account = None;
        (flow.reader, flow.writer) = (None, None);
        if flow.is_over() {
            self.flows.try_remove(number);
            return;
        }
        self.close(number);
        self.tell_news(number);
    }
}

fn broken() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

fn wait(flow: &mut Flow, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    flow.writer = Some(context.waker().clone());
    Poll::Pending
}

impl Flow {
    /// The first write after a rest says how much room it needs.
    fn expect_to_send(&mut self, bytes: usize) {
        if matches!(self.life, Life::Rest) {
            let wanted = bytes.next_power_of_two().clamp(SEND, FIRST);
            self.send = self.send.max(u32::try_from(wanted).unwrap_or(0));
        }
    }
}
