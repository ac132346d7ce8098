//! Who goes when there is no room for all.

use super::cable::{FAIR, config};
use super::raw::{Hand, PORT, Wire, ends, now, read};
use crate::wire::Options;
use crate::{Account, Config, Listener, Share, Stream};
use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

const BUDGET: usize = 1 << 20;
const ABOVE: usize = 8 * 1024;

/// One visitor: its hand on the wire, our stream, and what is held for it above.
struct Visitor {
    _hand: Hand,
    stream: Stream,
    account: Rc<Account>,
}

impl Visitor {
    fn is_gone(&mut self) -> bool {
        read(&mut self.stream).is_some_and(|read| read.is_err())
    }
}

fn house() -> (Wire, Listener) {
    let share = Share { connections: usize::MAX, ..Share::default() };
    let wire = Wire::with(FAIR, Config { budget: BUDGET, above: ABOVE, share, ..config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    (wire, listener)
}

fn visit(wire: &mut Wire, listener: &Listener, number: u16) -> Visitor {
    let hand = wire.connect_as(ends(number), Options { mss: Some(1460), ..Options::default() });
    let stream = now(listener.accept()).unwrap();
    let account = wire.handle().account();
    stream.book(&account);
    Visitor { _hand: hand, stream, account }
}

fn crowd(wire: &mut Wire, listener: &Listener, count: u16) -> Vec<Visitor> {
    (1..=count).map(|number| visit(wire, listener, number)).collect()
}

#[test]
fn what_is_held_above_counts_from_the_flat_sum_on_and_no_longer_than_it_is_held() {
    let (mut wire, listener) = house();
    let bytes = |wire: &Wire| wire.handle().figures().bytes as usize;
    let visitor = visit(&mut wire, &listener, 1);
    let before = bytes(&wire);
    visitor.account.hold(ABOVE);
    assert_eq!(bytes(&wire), before, "so much was charged from the beginning");
    visitor.account.hold(ABOVE + 5000);
    assert_eq!(bytes(&wire), before + 5000);
    visitor.account.hold(ABOVE + 100);
    assert_eq!(bytes(&wire), before + 100);
    drop(visitor);
    wire.pass(Duration::from_secs(300));
    assert_eq!(bytes(&wire), 0);
}

#[test]
fn who_comes_takes_the_place_of_whoever_held_most_for_longest() {
    let (mut wire, listener) = house();
    let mut visitors = crowd(&mut wire, &listener, 40);
    wire.pass(Duration::from_secs(1));
    visitors[7].account.hold(250 * 1024);
    visitors[8].account.hold(60 * 1024);
    let late = crowd_from(&mut wire, &listener, 100, 40);
    assert!(
        visitors[7].is_gone() && !visitors[8].is_gone(),
        "the heaviest goes, and nobody more than need be"
    );
    let gone = visitors.iter_mut().filter_map(|visitor| visitor.is_gone().then_some(())).count();
    assert_eq!((gone, late.len()), (1, 40), "{:?}", wire.handle().figures());
}

fn crowd_from(wire: &mut Wire, listener: &Listener, first: u16, count: u16) -> Vec<Visitor> {
    (first..first + count).map(|number| visit(wire, listener, number)).collect()
}

#[test]
fn relief_ends_as_many_as_it_takes_and_counts_on_those_who_are_leaving() {
    let (mut wire, listener) = house();
    let visitors = crowd(&mut wire, &listener, 20);
    visitors.iter().for_each(|visitor| visitor.account.hold(20 * 1024));
    wire.net.relieve(100 * 1024);
    let leaving =
        |visitors: &[Visitor]| visitors.iter().filter(|visitor| visitor.account.is_leaving()).count();
    assert_eq!(leaving(&visitors), 4, "each holds 20 KiB and its own record");
    wire.net.relieve(80 * 1024);
    assert_eq!(leaving(&visitors), 5, "what is about to come is not asked for twice; but one goes each time");
    let figures = wire.handle().figures();
    assert_eq!((figures.evicted, figures.open), (5, 15));
    drop(visitors);
    wire.net.relieve(1);
    assert_eq!(wire.handle().figures().evicted, 6, "nobody is leaving any more");
}

thread_local! {
    static HEAP: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn what_the_stack_takes_for_itself_is_not_theirs_who_asked() {
    let share = Share { connections: usize::MAX, ..Share::default() };
    let meter = || {
        HEAP.set(HEAP.get() + 7);
        HEAP.get()
    };
    let mut wire = Wire::with(FAIR, Config { budget: BUDGET, meter, share, ..config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    let mut visitor = visit(&mut wire, &listener, 1);
    let before = visitor.account.meter();
    assert!(read(&mut visitor.stream).is_none());
    // The read looked at the meter twice, and its 7 are the stack's; the reading before it and this one are not.
    assert_eq!(visitor.account.meter() - before, 14);
}
