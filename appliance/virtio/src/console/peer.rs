//! Who sits at the other end of a port, and whose bytes are whose.
//!
//! Peers come and go, and the bytes of two peers must not be mixed. The host tells of them on another queue than the
//! one the bytes come on, so there is a mark: each time before the control queue is read, the port notes how many
//! buffers have come. When the control queue then says that the peer went, what came before the mark was its own: it
//! is still delivered, then the end is told, and what comes later is the next peer's. When one look finds that a
//! peer went and another came, nobody can tell whose bytes came since the look before: they count as the new one's,
//! because a host that restarts its end seldom leaves anything unread, and a lost greeting would hang both sides.

/// Who is there, who was told of it, and whose the buffers are that have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    here: bool,
    /// The stream that was told of is over, whoever is here now.
    over: bool,
    /// The reader knows that the stream is open.
    told: bool,
    /// Buffers that had come when the host's messages were last looked for.
    mark: u16,
    /// Whether a peer went since then.
    went: bool,
    owed: Owed,
    owed_at_mark: Owed,
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
        (self.mark, self.went, self.owed_at_mark) = (waiting, false, self.owed);
    }

    /// The host says that somebody is there.
    pub(super) fn comes(&mut self) {
        if !self.here && self.went {
            self.owed = self.owed_at_mark;
        }
        self.here = true;
    }

    /// The host says that nobody is there.
    pub(super) fn leaves(&mut self) {
        if !self.here {
            return;
        }
        if self.told && !self.over {
            self.over = true;
            self.owed.rest = self.mark;
        } else {
            self.owed.skip = self.mark.saturating_sub(self.owed.rest);
        }
        (self.here, self.went) = (false, true);
    }

    /// What to do, and as if it were done.
    pub(super) fn next(&mut self) -> Next {
        if self.told && self.over && self.owed.rest == 0 {
            (self.told, self.over) = (false, false);
            return Next::Close;
        }
        if self.told {
            self.owed.rest = self.owed.rest.saturating_sub(1);
            return Next::Deliver;
        }
        if self.owed.skip > 0 {
            self.owed.skip -= 1;
            return Next::Drop;
        }
        self.told = self.here;
        if self.told { Next::Open } else { Next::Nothing }
    }

    /// The device is gone, and the peer and its bytes with it.
    pub(super) fn vanishes(&mut self) {
        let told = self.told;
        *self = Self { told, over: told, ..Self::default() };
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
        peer.mark(4);
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
