//! What the two sides of hyper tell each other past it: the line below, the pages above, and the driver
//! beside.

use crate::crowd::Guest;
use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;
use tasks::{Sleep, Timers};
use world::Instant;

/// The state of the requests that are open on one connection.
pub(crate) struct Exchange {
    timers: Timers,
    /// Whose requests they are, where that is counted.
    guest: Option<Guest>,
    /// The peer grants windows (HTTP/2): an open answer is owed progress even when the line itself is free.
    windows: bool,
    /// Requests that hyper brought us.
    heads: Cell<u32>,
    /// Answers that are not fully written.
    open: Cell<u32>,
    /// Those among them of which there are bytes that the peer could take.
    owed: Cell<u32>,
    /// An answer was cut off before its end.
    broken: Cell<bool>,
    /// The peer did too little for too long.
    given_up: Cell<bool>,
    /// Everything that hyper wrote has gone down.
    flushed: Cell<bool>,
    /// Since when the peer owes us progress.
    owing: Cell<Option<Instant>>,
    /// Bytes taken by the peer since then.
    moved: Cell<usize>,
    /// Bytes read since the last request.
    unasked: Cell<usize>,
    /// Of the last request more may be on the line, which must not be taken for another request.
    midway: Cell<bool>,
    /// The client of the last request may be told interim answers.
    hears_asides: Cell<bool>,
    /// Somebody reads the body of the last request.
    wanted: Cell<bool>,
    /// We have called the peer: what it says counts although it hears no more.
    called: bool,
    /// The peer hears no more.
    deaf: Cell<bool>,
}

/// How many bytes a peer may say beside each piece of a body that we take: what its frame and its windows cost.
const BESIDE: usize = 64;
/// For so many bytes that we write it may say one: it opens windows.
const WRITTEN: usize = 256;

impl Exchange {
    /// A request of ours to somebody else.
    pub(crate) fn call(timers: Timers) -> Rc<Self> {
        Rc::new(Self { called: true, ..Self::fresh(timers, None, false) })
    }

    /// The requests of a `guest`, over HTTP/2 if there are `windows`.
    pub(crate) fn of(timers: Timers, guest: Option<Guest>, windows: bool) -> Rc<Self> {
        Rc::new(Self::fresh(timers, guest, windows))
    }

    fn fresh(timers: Timers, guest: Option<Guest>, windows: bool) -> Self {
        Self {
            timers,
            guest,
            windows,
            heads: Cell::new(0),
            open: Cell::new(0),
            owed: Cell::new(0),
            broken: Cell::new(false),
            given_up: Cell::new(false),
            flushed: Cell::new(true),
            owing: Cell::new(None),
            moved: Cell::new(0),
            unasked: Cell::new(0),
            midway: Cell::new(false),
            hears_asides: Cell::new(false),
            wanted: Cell::new(false),
            called: false,
            deaf: Cell::new(false),
        }
    }

    /// A request came; says how many came before it.
    pub(crate) fn asked(&self) -> u32 {
        let before = self.heads.get();
        self.heads.set(before.saturating_add(1));
        self.unasked.set(0);
        self.hears_asides.set(false);
        self.wanted.set(false);
        before
    }

    /// The peer grants windows, and each of its requests a stream.
    pub(crate) fn has_windows(&self) -> bool {
        self.windows
    }

    pub(crate) fn heads(&self) -> u32 {
        self.heads.get()
    }

    /// True if the guest has as much under way as anybody may.
    pub(crate) fn has_its_share(&self) -> bool {
        self.guest.as_ref().is_some_and(Guest::has_its_share)
    }

    fn opened(&self) {
        self.guest.iter().for_each(Guest::enter);
        self.open.set(self.open.get().saturating_add(1));
    }

    fn ended(&self) {
        self.guest.iter().for_each(Guest::leave);
        self.open.set(self.open.get().saturating_sub(1));
        self.settle();
    }

    fn owes(&self, owes: bool) {
        let owed = self.owed.get();
        self.owed.set(if owes { owed.saturating_add(1) } else { owed.saturating_sub(1) });
        if owes && self.windows {
            self.owe();
        }
        self.settle();
    }

    /// An answer ends before its time: the peer must not take it for whole.
    pub(crate) fn broke(&self) {
        self.broken.set(true);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Nothing more is said to the peer, and it hears that at once.
    pub(crate) fn give_up(&self) {
        self.given_up.set(true);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// The peer that we have called hears no more: what is still said to it is forgotten.
    pub(crate) fn deafen(&self) {
        self.deaf.set(true);
        self.flushed();
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.get()
    }

    /// A write has failed. True if that changes nothing, for the peer may have said all before it left.
    pub(crate) fn forgives(&self) -> bool {
        if self.called {
            self.deafen();
        }
        self.called
    }

    /// No answer is open and nothing waits to be written.
    pub(crate) fn at_rest(&self) -> bool {
        self.open.get() == 0 && self.flushed.get()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.get() > 0
    }

    /// Bytes came up the line.
    pub(crate) fn heard(&self, count: usize) {
        self.unasked.set(self.unasked.get().saturating_add(count));
    }

    /// A piece of a body was taken: that much was wanted.
    pub(crate) fn took(&self, count: usize) {
        self.unasked.set(self.unasked.get().saturating_sub(count.saturating_add(BESIDE)));
    }

    /// Whether of the last request more may be on the line.
    pub(crate) fn midway(&self, midway: bool) {
        self.midway.set(midway);
    }

    pub(crate) fn is_midway(&self) -> bool {
        self.midway.get()
    }

    /// Of the last request nothing more is wanted, and its answer is not all written.
    pub(crate) fn is_awaited(&self) -> bool {
        let reads = self.wanted.get() && self.is_midway();
        !self.windows && self.heads() > 0 && !self.at_rest() && !reads
    }

    /// Somebody begins to read the body of the last request, or stops.
    pub(crate) fn wants(&self, wants: bool) {
        self.wanted.set(wants);
    }

    /// The client of the last request waits for another server, and understands interim answers or does not.
    pub(crate) fn hear_asides(&self, hears: bool) {
        self.hears_asides.set(hears);
    }

    pub(crate) fn hears_asides(&self) -> bool {
        self.hears_asides.get()
    }

    /// An alarm on the clock of the connection.
    pub(crate) fn after(&self, span: Duration) -> Sleep {
        self.timers.after(span)
    }

    pub(crate) fn unasked(&self) -> usize {
        self.unasked.get()
    }

    /// Bytes went down the line.
    pub(crate) fn wrote(&self, count: usize) {
        self.flushed.set(false);
        self.unasked.set(self.unasked.get().saturating_sub(count / WRITTEN));
        self.moved.set(self.moved.get().saturating_add(count));
    }

    /// The line takes no more.
    pub(crate) fn blocked(&self) {
        self.flushed.set(false);
        self.owe();
    }

    /// The line has taken everything.
    pub(crate) fn flushed(&self) {
        self.flushed.set(true);
        self.settle();
    }

    /// Forgives the peer what it no longer owes.
    fn settle(&self) {
        if self.flushed.get() && !(self.windows && self.owed.get() > 0) {
            self.owing.set(None);
        }
    }

    /// From now on the peer owes us progress, if it did not before.
    fn owe(&self) {
        if self.owing.get().is_none() {
            self.owing.set(Some(self.timers.now()));
            self.moved.set(0);
        }
    }

    /// When the peer must have taken `floor` bytes, if it owes any.
    pub(crate) fn due(&self, stall: Duration) -> Option<Instant> {
        self.owing.get().map(|since| since + stall)
    }

    /// True when the peer's time is up and it took less than `floor`. A new span begins.
    pub(crate) fn too_slow(&self, stall: Duration, floor: usize) -> bool {
        let now = self.timers.now();
        if self.due(stall).is_none_or(|due| due > now) {
            return false;
        }
        self.owing.set(Some(now));
        self.moved.replace(0) < floor
    }
}

/// One answer that is on its way. Dropping it ends it.
pub(crate) struct Open {
    exchange: Rc<Exchange>,
    owed: bool,
}

impl Open {
    /// An answer of which there is nothing yet.
    pub(crate) fn new(exchange: &Rc<Exchange>) -> Self {
        exchange.opened();
        Self { exchange: exchange.clone(), owed: false }
    }

    /// Whether there are bytes that the peer could take.
    pub(crate) fn owes(&mut self, owes: bool) {
        if core::mem::replace(&mut self.owed, owes) != owes {
            self.exchange.owes(owes);
        }
    }

    /// The exchange that it belongs to.
    pub(crate) fn exchange(&self) -> Rc<Exchange> {
        self.exchange.clone()
    }

    /// See [`Exchange::broke`].
    pub(crate) fn broke(&self) {
        self.exchange.broke();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.owes(false);
        self.exchange.ended();
    }
}
