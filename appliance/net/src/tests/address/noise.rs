//! Messages of servers and routers that are damaged.

use super::*;

#[test]
fn nothing_that_servers_and_routers_say_makes_the_stack_panic() {
    let mut wire = nowhere(true, true);
    let (mut dice, mut xid, mut had) = (crate::tests::cable::Dice(5), 0, 0);
    for round in 0..40_000_u64 {
        xid = asked(&mut wire).last().map_or(xid, |(last, ..)| *last);
        let kinds = [Message::Offer, Message::Offer, Message::Ack, Message::Ack, Message::Nak];
        let kind = kinds[dice.roll(5) as usize];
        let lease = [11, 100, 4000, u32::MAX][dice.roll(4) as usize];
        let mut odd = match round % 2 {
            0 => advert(ROUTER, 1800, &[good_prefix(&format!("2001:db8:{:x}::", dice.roll(9)))]),
            _ => told(&Heard { lease: Some(lease), ..offer(kind, xid) }),
        };
        for _ in 0..dice.roll(4) {
            let at = dice.roll(odd.len() as u64) as usize;
            odd[at] = dice.roll(256) as u8;
        }
        odd.truncate(odd.len() - (dice.roll(12) / 9) as usize);
        repair(&mut odd);
        wire.frame(odd);
        had += usize::from(ours(&wire).iter().any(IpAddr::is_ipv4));
        if round % 16 == 0 {
            wire.pass(Duration::from_millis(1 << dice.roll(20)));
        }
    }
    assert!(had > 100, "there was an address now and then: {had}");
}

/// Messages of servers and routers that lie, and of those who know nothing.
pub(in crate::tests) fn lies() -> Vec<Vec<u8>> {
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    vec![
        told(&offer(Message::Offer, 1)),
        told(&Heard { renew: Some(u32::MAX), rebind: Some(0), lease: Some(0), ..offer(Message::Ack, 2) }),
        told(&offer(Message::Nak, 3)),
        advert(ROUTER, 65_535, &[vec![1, 0, 0, 0, 0, 0, 0, 0]]),
        advert(ROUTER, 65_535, &[vec![3, 200]]),
        advert(far, 65_535, &[good_prefix("2001:db8::")]),
        advert(ROUTER, 65_535, &[prefix("::", 129, 0xff, u32::MAX, u32::MAX)]),
    ]
}

pub(in crate::tests) fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    repair(&mut frame);
    frame
}

/// Sums that are right again, so that more than the sums is tried.
fn repair(frame: &mut [u8]) {
    use crate::wire::sum::Sum;
    if frame.len() < 60 {
        return;
    }
    if frame[12] == 8 {
        frame[24..26].fill(0);
        let sum = Sum::default().add(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame[40..42].fill(0);
    } else {
        frame[56..58].fill(0);
        let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()).into();
        let sum = Sum::pseudo(address(22), address(38), 58, frame.len() - 54).add(&frame[54..]).checksum();
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
    }
}
