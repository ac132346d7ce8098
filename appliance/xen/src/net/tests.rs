use super::*;
use crate::store::tests::Pretend;
use dma::Pages;
use dma::pretend::Domain;
use proptest::prelude::*;
use world::{Checksum, LARGEST_FRAME, Segments};

const ALL: Offer = Offer { spread: true, checksum: true, tcp4: true, tcp6: true };
const MAC: [u8; 6] = [0, 0x16, 0x3e, 0, 0, 0x10];

/// A back end, in the hands of a test.
struct Back {
    domain: Domain,
    inward: Pages,
    outward: Pages,
    /// Requests seen and responses given, of each ring.
    seen: [u32; 2],
    given: [u32; 2],
}

/// A request to send.
#[derive(Clone, Copy, Debug)]
struct Sent {
    grant: u32,
    flags: u16,
    id: u16,
    len: u16,
}

fn start(offer: Offer) -> (Net, Back, Rc<Pretend>) {
    let (host, domain) = (Pretend::new(), Domain::new(3, 1024));
    let beneath: Rc<dyn Beneath> = host.clone();
    let giver = domain.clone();
    let memory: Memory = Rc::new(move |bytes| giver.pages(bytes));
    let mut net = Net::new(beneath, &Rc::new(domain.grants()), &memory, MAC, 1500, offer).unwrap();
    let reach = net.attach(3, offer).unwrap();
    let back = Back::meet(domain, reach);
    (net, back, host)
}

impl Back {
    fn meet(domain: Domain, reach: Reach) -> Self {
        let inward = domain.granted(reach.inward).unwrap().0;
        let outward = domain.granted(reach.outward).unwrap().0;
        Self { domain, inward, outward, seen: [0; 2], given: [0; 2] }
    }

    /// The next page that frames may come in by.
    fn room(&mut self) -> Option<(u16, u32)> {
        if self.inward.load32(0) == self.seen[0] {
            return None;
        }
        let mut bytes = [0; 8];
        self.inward.read(64 + (self.seen[0] % 256) as usize * 8, &mut bytes);
        self.seen[0] += 1;
        let word = u64::from_le_bytes(bytes);
        Some((word as u16, (word >> 32) as u32))
    }

    fn respond(&mut self, bytes: [u8; 8]) {
        self.inward.write(64 + (self.given[0] % 256) as usize * 8, &bytes);
        self.given[0] += 1;
    }

    fn publish(&self) {
        self.inward.store32(8, self.given[0]);
    }

    fn response(id: u16, offset: u16, flags: u16, len: i16) -> [u8; 8] {
        let fields = [id, offset, flags, len.cast_unsigned()].map(u16::to_le_bytes);
        fields.concat().try_into().unwrap()
    }

    /// Sends a frame, spread over as many pages as it takes, with so many notes.
    fn deliver(&mut self, frame: &[u8], flags: u16, notes: u8) {
        let pieces = frame.chunks(4000).count();
        for (index, piece) in frame.chunks(4000).enumerate() {
            let (id, grant) = self.room().unwrap();
            let (page, writable) = self.domain.granted(grant).unwrap();
            assert!(writable);
            page.write(96, piece);
            let first = if index == 0 { flags | if notes > 0 { 8 } else { 0 } } else { 0 };
            let more = if index + 1 < pieces { 4 } else { 0 };
            self.respond(Self::response(id, 96, first | more, piece.len() as i16));
            for note in (0..notes).rev().filter(|_| index == 0) {
                let _ = self.room().unwrap();
                self.respond([1, u8::from(note > 0), 0xa8, 5, 1, 0, 0, 0]);
            }
        }
        self.publish();
    }

    /// The next request to send, or its note.
    fn request(&mut self) -> Option<[u8; 12]> {
        if self.outward.load32(0) == self.seen[1] {
            return None;
        }
        let mut bytes = [0; 12];
        self.outward.read(64 + (self.seen[1] % 256) as usize * 12, &mut bytes);
        self.seen[1] += 1;
        Some(bytes)
    }

    fn sent(&mut self) -> Option<Sent> {
        let bytes = self.request()?;
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let grant = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Some(Sent { grant, flags: word(6), id: word(8), len: word(10) })
    }

    /// Takes a whole frame out, answers it, and gives what was asked of it.
    fn take(&mut self) -> Option<(Vec<u8>, u16, Option<[u8; 12]>)> {
        let first = self.sent()?;
        let note = (first.flags & 8 != 0).then(|| self.request().unwrap());
        let (mut frame, mut request, mut ids) = (Vec::new(), first, vec![first.id]);
        loop {
            let (page, writable) = self.domain.granted(request.grant).unwrap();
            assert!(!writable, "what goes out is not to be written");
            let left = usize::from(first.len) - frame.len();
            let len = if request.id == first.id { left.min(4096) } else { usize::from(request.len) };
            let mut all = [0; 4096];
            page.read(0, &mut all);
            assert!(all[len..].iter().all(|byte| *byte == 0), "the rest of the page tells of another frame");
            frame.extend_from_slice(&all[..len]);
            if request.flags & 4 == 0 {
                break;
            }
            request = self.sent().unwrap();
            ids.push(request.id);
        }
        assert_eq!(frame.len(), usize::from(first.len));
        ids.iter().for_each(|id| self.answer(*id, 0));
        if note.is_some() {
            self.answer(0, 1);
        }
        Some((frame, first.flags, note))
    }

    fn answer(&mut self, id: u16, status: i16) {
        let bytes = [id, status.cast_unsigned()].map(u16::to_le_bytes).concat();
        self.outward.write(64 + (self.given[1] % 256) as usize * 12, &bytes);
        self.given[1] += 1;
        self.outward.store32(8, self.given[1]);
    }
}

fn received(net: &mut Net) -> Option<(Vec<u8>, Checksum)> {
    let mut frame = vec![0; LARGEST_FRAME];
    let received = net.receive(&mut frame)?;
    frame.truncate(received.len);
    Some((frame, received.checksum))
}

fn noise(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at + seed).wrapping_mul(0x9e37_79b9) >> 13) as u8 | 1).collect()
}

#[test]
fn frames_come_in_whole_whatever_they_are_spread_over() {
    let (mut net, mut back, _) = start(ALL);
    for (round, len) in
        [60, 1514, 4000, 4001, 9000, 65_549, 1, 33_333].into_iter().cycle().take(400).enumerate()
    {
        let (flags, wanted) =
            [(0, Checksum::Unknown), (1, Checksum::Verified), (3, Checksum::Partial)][round % 3];
        back.deliver(&noise(len, round), flags, (round % 3) as u8);
        assert_eq!(received(&mut net), Some((noise(len, round), wanted)), "round {round}");
        assert_eq!(received(&mut net), None);
    }
    assert_eq!((net.lost(), net.lie()), (Lost::default(), None));
}

#[test]
fn a_full_ring_of_tiny_frames_is_read_and_lent_again() {
    let (mut net, mut back, _) = start(ALL);
    for round in 0..50 {
        (0..256).for_each(|at| back.deliver(&noise(14, at), 0, 0));
        assert!(back.room().is_none(), "it was full");
        (0..256).for_each(|at| assert_eq!(received(&mut net).unwrap().0, noise(14, at), "round {round}"));
        assert_eq!(received(&mut net), None);
        assert_eq!(back.inward.load32(0) - back.given[0], 256, "everything is lent again");
    }
}

#[test]
fn frames_that_the_back_end_gave_up_or_that_are_too_long_are_lost_and_counted() {
    let (mut net, mut back, _) = start(ALL);
    let (id, _) = back.room().unwrap();
    back.respond(Back::response(id, 0, 0, -1));
    back.deliver(&noise(70_000, 1), 0, 0);
    back.deliver(&noise(60, 2), 0, 0);
    assert_eq!(received(&mut net).unwrap().0, noise(60, 2));
    assert_eq!((net.lost().incoming, net.lie()), (2, None));
}

#[test]
fn frames_go_out_whole_and_help_is_asked_for() {
    let (mut net, mut back, _) = start(ALL);
    let cut = |kind| Segments { kind, header: 54, size: 1448 };
    for round in 0..600 {
        let len = [60, 1514, 4096, 4097, 30_000, 65_535][round % 6];
        let segment = [None, Some(cut(Segment::Tcp4)), Some(cut(Segment::Tcp6))][round % 3];
        let help = Help { checksum: segment.map(|_| (34, 16)), segment };
        assert_eq!(net.send(&noise(len, round), help), Ok(()));
        net.flush();
        let (frame, flags, note) = back.take().unwrap();
        assert_eq!(frame, noise(len, round), "round {round}");
        assert_eq!(flags & 3, if help.checksum.is_some() { 3 } else { 0 });
        let wanted = segment
            .map(|s| [1, 0, 0xa8, 5, if s.kind == Segment::Tcp4 { 1 } else { 2 }, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(note, wanted);
        assert!(back.take().is_none());
    }
    assert_eq!((net.lost(), net.lie()), (Lost::default(), None));
}

#[test]
fn a_full_ring_says_so_and_goes_on_when_there_is_room() {
    let (mut net, mut back, _) = start(ALL);
    let mut sent = 0;
    for round in 0..40 {
        while net.send(&noise(60 + 4096 * (sent % 3), sent), Help::default()).is_ok() {
            sent += 1;
        }
        net.flush();
        assert!(!net.listen(), "nothing has come back");
        assert!(back.outward.load32(12) == back.given[1] + 1, "it asked to be told of room");
        let taken = (0..=round).map_while(|_| back.take()).count();
        assert!(taken > 0 && net.listen(), "there is room");
    }
}

#[test]
fn what_came_back_cannot_be_reached_any_more() {
    let (mut net, mut back, _) = start(ALL);
    let before = back.domain.open();
    net.send(&noise(9000, 1), Help::default()).unwrap();
    net.flush();
    assert_eq!(back.domain.open(), before + 3);
    let _ = back.take().unwrap();
    let _ = net.listen();
    assert_eq!(back.domain.open(), before);
    back.deliver(&noise(60, 1), 0, 0);
    let mut frame = vec![0; LARGEST_FRAME];
    let _ = net.receive(&mut frame).unwrap();
    assert_eq!(back.domain.open(), before - 1, "until it is lent again");
}

#[test]
fn frames_that_nobody_reads_do_not_end_every_sleep() {
    let (mut net, mut back, _) = start(ALL);
    back.deliver(&noise(60, 1), 0, 0);
    assert!(net.listen() && !net.listen());
    assert!(received(&mut net).is_some());
    assert!(!net.listen());
    back.deliver(&noise(60, 2), 0, 0);
    assert!(net.listen(), "somebody reads again");
}

#[test]
fn help_that_is_not_given_or_does_not_fit_is_not_asked_for() {
    let less = Offer { spread: false, checksum: false, ..ALL };
    let (mut net, mut back, _) = start(less);
    assert_eq!(net.facts().offload, Offload::default(), "no cutting without checksums and several pages");
    let checksum = Some((34, 16));
    for (len, help) in [(60, Help { checksum, segment: None }), (4097, Help::default()), (0, Help::default())]
    {
        assert_eq!(net.send(&noise(len, 0), help), Ok(()));
    }
    net.flush();
    assert!(back.take().is_none());
    assert_eq!(net.lost().outgoing, 3);
    let (mut net, mut back, _) = start(ALL);
    let odd = [(60, Some((50, 16))), (65_536, None), (100, Some((34, 2)))];
    odd.iter().for_each(|(len, checksum)| {
        let _ = net.send(&noise(*len, 0), Help { checksum: *checksum, segment: None });
    });
    net.flush();
    assert!(back.take().is_none());
    assert_eq!(net.lost().outgoing, 3);
}

#[test]
fn each_lie_ends_the_connection_and_is_told_once() {
    type Lie = fn(&mut Back);
    let lies: [(&str, Lie); 11] = [
        ("number of responses", |back| back.inward.store32(8, 257)),
        ("number of responses", |back| back.inward.store32(8, u32::MAX)),
        ("number of a frame", |back| back.reply(1, 0, 0, 60)),
        ("place of a frame", |back| back.reply(0, 4097, 0, 0)),
        ("length of a frame", |back| back.reply(0, 96, 0, 4001)),
        ("frame without its end", |back| back.reply(0, 0, 4, 60)),
        ("frame without its notes", |back| back.reply(0, 0, 8, 60)),
        ("end of a grant, which it still holds", |back| {
            let (_, grant) = back.room().unwrap();
            back.domain.hold(grant, true);
            back.reply(0, 0, 0, 60);
        }),
        ("number of a page, which it was not lent", |back| back.answer(9, 0)),
        ("number of a page, which it was not lent", |back| back.answer(u16::MAX, -1)),
        ("answer to a note that we did not write", |back| back.answer(0, 1)),
    ];
    for (what, lie) in lies {
        let (mut net, mut back, host) = start(ALL);
        net.send(&noise(60, 1), Help::default()).unwrap();
        net.flush();
        lie(&mut back);
        assert_eq!(received(&mut net), None);
        let _ = net.listen();
        assert_eq!(net.lie().map(|lie| lie.what), Some(what));
        assert_eq!((net.lie(), net.port()), (None, None));
        assert!(host.ports.borrow().iter().all(|port| *port == 0), "its port is closed");
        assert_eq!(net.send(&noise(60, 1), Help::default()), Ok(()), "an unplugged cable takes everything");
        assert_eq!((received(&mut net), net.listen()), (None, false));
    }
}

impl Back {
    fn reply(&mut self, id: u16, offset: u16, flags: u16, len: i16) {
        self.respond(Self::response(id, offset, flags, len));
        self.publish();
    }
}

#[test]
fn another_back_end_gets_nothing_that_the_last_one_was_given() {
    let (mut net, mut back, _) = start(ALL);
    (0..5).for_each(|at| net.send(&noise(4096, at), Help::default()).unwrap());
    net.flush();
    back.deliver(&noise(4000, 3), 0, 0);
    net.detach();
    let reach = net.attach(3, ALL).unwrap();
    let mut next = Back::meet(back.domain.clone(), reach);
    assert!(next.take().is_none(), "the ring is empty");
    for _ in 0..256 {
        let (_, grant) = next.room().unwrap();
        let mut page = [1; 4096];
        next.domain.granted(grant).unwrap().0.read(0, &mut page);
        assert!(page.iter().all(|byte| *byte == 0));
    }
    next.deliver(&[], 0, 0);
    net.send(&noise(60, 1), Help::default()).unwrap();
    net.flush();
    assert_eq!(next.take().unwrap().0, noise(60, 1));
}

#[test]
fn nobody_is_lent_what_the_last_back_end_still_holds() {
    let (mut net, back, _) = start(ALL);
    back.domain.hold(8, true);
    net.detach();
    assert!(matches!(net.attach(4, ALL), Err(Refused::Held(_))));
    assert_eq!(net.port(), None);
    back.domain.hold(8, false);
    assert!(net.attach(4, ALL).is_ok());
}

#[test]
fn a_back_end_that_offers_less_is_refused() {
    let (mut net, _, _) = start(Offer { tcp6: false, ..ALL });
    for less in
        [Offer { spread: false, ..ALL }, Offer { checksum: false, ..ALL }, Offer { tcp4: false, ..ALL }]
    {
        assert_eq!(net.attach(3, less), Err(Refused::Less));
    }
    assert!(net.attach(3, ALL).is_ok());
}

proptest! {
    #[test]
    fn whatever_a_back_end_scribbles_ends_in_a_frame_or_a_verdict(
        scribbles in proptest::collection::vec((any::<bool>(), 0_usize..200, any::<u8>()), 1..120),
    ) {
        let (mut net, mut back, _) = start(ALL);
        let mut frame = vec![0; LARGEST_FRAME];
        for (round, (inward, at, byte)) in scribbles.into_iter().enumerate() {
            let _ = net.send(&noise(60 + round * 90, round), Help::default());
            net.flush();
            let page = if inward { &back.inward } else { &back.outward };
            page.write(at, &[byte]);
            if round % 5 == 0 && back.room().is_some() {
                back.given[0] += 1;
                back.publish();
            }
            if let Some(received) = net.receive(&mut frame) {
                prop_assert!(received.len <= LARGEST_FRAME);
            }
            let _ = net.listen();
            prop_assert_eq!(net.port().is_none(), net.lie().is_some() || net.port().is_none());
        }
    }
}
