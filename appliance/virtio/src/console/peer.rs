//! Who sits at the other end of a port, and whose bytes are whose.
//!
//! Peers come and go, and the bytes of two peers must not be mixed. The host tells of them on another queue than the
//! one the bytes come on, so there is a mark: each time before the control queue is read, the port notes how many
//! buffers have come. When the control queue then says nothing, what came before the mark is the present peer's. When it
//! says that the peer went, that was the one who went: it is still delivered, then the end is told, and what comes later
//! is the next peer's. What has come since the mark is nobody's yet and waits for the next look: another peer may have
//! said it. When one look finds that a peer went and another came, nobody can tell whose bytes came since the look
//! before: they count as the new one's, because a host that restarts its end seldom leaves anything unread, and a lost
//! greeting would hang both sides.

/// Who is there, who was told of it, and whose the buffers are that have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    here: bool,
    /// The stream that was told of is over, whoever is here now.
    over: bool,
    /// The reader knows that the stream is open.
    told: bool,
    /// Buffers that had come when the host's messages were last looked for, and are not taken yet.
    mark: u16,
    /// So many of them the look before had found already.
    sure: u16,
    owed: Owed,
    /// What was owed, and whether a stream was open, before anybody went since then.
    before: Option<(Owed, bool)>,
}

/// Buffers that have come and are not the present peer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owed {
    /// So many are still to be delivered of the stream that is over.
    rest: u16,
    /// So many after them came from peers that nobody heard of: they are dropped.
    skip: u16,
}

/// What the port does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Drop one buffer.
    Drop,
    /// Tell that a stream has begun.
    Open,
    /// Tell that the stream is over.
    Close,
    /// Deliver the next buffer.
    Deliver,
    /// Nothing: nobody is there.
    Nothing,
}

impl Peer {
    /// `waiting` buffers have come so far, and now the host's messages are looked for.
    pub(super) fn mark(&mut self, waiting: u16) {
        (self.sure, self.mark, self.before) = (self.mark, waiting, None);
    }

    /// There was more to look for than was looked for: of what has come nobody knows whose it is.
    pub(super) fn unmark(&mut self) {
        self.mark = 0;
    }

    /// The host says that somebody is there.
    pub(super) fn comes(&mut self) {
        if let Some((owed, was_open)) = self.before.filter(|_| !self.here) {
            self.owed = owed.until(self.sure, was_open);
        }
        self.here = true;
    }

    /// The host says that nobody is there.
    pub(super) fn leaves(&mut self) {
        if !self.here {
            return;
        }
        let is_open = self.told && !self.over;
        self.before = self.before.or(Some((self.owed, is_open)));
        self.owed = self.owed.until(self.mark, is_open);
        self.over |= is_open;
        self.here = false;
    }

    /// What to do, and as if it were done.
    pub(super) fn next(&mut self) -> Next {
        if self.told && self.over && self.owed.rest == 0 {
            (self.told, self.over) = (false, false);
            return Next::Close;
        }
        if self.told {
            return self.take(Next::Deliver);
        }
        if self.owed.skip > 0 {
            return self.take(Next::Drop);
        }
        self.told = self.here;
        if self.told { Next::Open } else { Next::Nothing }
    }

    /// Takes a buffer, if one has come of which we know whose it is.
    fn take(&mut self, next: Next) -> Next {
        let Some(left) = self.mark.checked_sub(1) else { return Next::Nothing };
        (self.mark, self.sure) = (left, self.sure.saturating_sub(1));
        let owed = if next == Next::Drop { &mut self.owed.skip } else { &mut self.owed.rest };
        *owed = owed.saturating_sub(1);
        next
    }

    /// The device is gone, and the peer and its bytes with it.
    pub(super) fn vanishes(&mut self) {
        let told = self.told;
        *self = Self { told, over: told, ..Self::default() };
    }

    /// Whether nobody is there and nothing is left of anybody.
    pub(super) fn is_nobody(&self) -> bool {
        !self.told && !self.here
    }

    /// Whether bytes may be sent.
    pub(super) fn listens(&self) -> bool {
        self.told && self.here && !self.over
    }

    /// Whether there is something to be told.
    pub(super) fn has_news(&self) -> bool {
        self.over || self.told != self.here
    }
}

impl Owed {
    /// When somebody goes and the first `count` buffers are not the next one's: the rest of an open stream is delivered.
    fn until(self, count: u16, is_open: bool) -> Self {
        let rest = if is_open { count } else { self.rest };
        Self { rest, skip: count.saturating_sub(rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(peer: &mut Peer, most: usize) -> Vec<Next> {
        (0..most).map(|_| peer.next()).collect()
    }

    /// A peer that is here and told of.
    fn open() -> Peer {
        let mut peer = Peer::default();
        peer.comes();
        assert_eq!(peer.next(), Next::Open);
        peer
    }

    #[test]
    fn what_came_before_the_mark_is_delivered_before_the_end() {
        let mut peer = open();
        peer.mark(2);
        peer.leaves();
        assert!(peer.has_news() && !peer.listens());
        peer.mark(5);
        peer.comes();
        let expected = [Next::Deliver, Next::Deliver, Next::Close, Next::Open, Next::Deliver];
        assert_eq!(all(&mut peer, 5), expected);
        assert!(peer.listens());
    }

    #[test]
    fn when_one_look_finds_both_the_bytes_are_the_new_peers() {
        let mut peer = open();
        peer.mark(2);
        peer.leaves();
        peer.comes();
        assert_eq!(all(&mut peer, 3), [Next::Close, Next::Open, Next::Deliver]);
    }

    #[test]
    fn what_a_look_before_has_found_is_the_old_peers_even_so() {
        let mut peer = open();
        peer.mark(2);
        peer.mark(3);
        peer.leaves();
        peer.comes();
        let expected = [Next::Deliver, Next::Deliver, Next::Close, Next::Open, Next::Deliver, Next::Nothing];
        assert_eq!(all(&mut peer, 6), expected);
        peer.mark(2);
        peer.mark(3);
        peer.leaves();
        peer.comes();
        peer.leaves();
        let expected = [Next::Deliver, Next::Deliver, Next::Close, Next::Drop, Next::Nothing];
        assert_eq!(all(&mut peer, 5), expected);
    }

    #[test]
    fn what_has_come_since_the_last_look_is_nobodys_yet() {
        let mut peer = open();
        peer.mark(1);
        assert_eq!(all(&mut peer, 2), [Next::Deliver, Next::Nothing]);
        peer.mark(4);
        peer.unmark();
        assert_eq!(peer.next(), Next::Nothing);
        peer.mark(4);
        assert_eq!(peer.next(), Next::Deliver);
    }

    #[test]
    fn bytes_of_a_peer_that_nobody_heard_of_are_dropped() {
        let mut peer = Peer::default();
        peer.comes();
        peer.mark(2);
        peer.leaves();
        peer.mark(3);
        peer.comes();
        assert_eq!(all(&mut peer, 4), [Next::Drop, Next::Drop, Next::Open, Next::Deliver]);
    }

    #[test]
    fn three_peers_are_kept_apart() {
        let mut peer = open();
        peer.mark(1);
        peer.leaves();
        peer.mark(1);
        peer.comes();
        peer.mark(4);
        peer.leaves();
        peer.mark(5);
        peer.comes();
        let expected =
            [Next::Deliver, Next::Close, Next::Drop, Next::Drop, Next::Drop, Next::Open, Next::Deliver];
        assert_eq!(all(&mut peer, 7), expected);
    }

    #[test]
    fn a_second_leaving_changes_nothing() {
        let mut peer = open();
        peer.mark(1);
        peer.leaves();
        peer.mark(3);
        peer.leaves();
        assert_eq!(all(&mut peer, 3), [Next::Deliver, Next::Close, Next::Nothing]);
        assert!(!peer.has_news());
    }
}
