//! Questions who hears which group, and reports of it: MLD, version 2 (RFC 9777) and, for an old querier, 1 (RFC 2710).

use super::ndp::{self, ICMPV6};
use crate::wire::ip::{self, HOP_BY_HOP, Ip};
use crate::wire::{Kind, bytes, short, sum::Sum};
use core::time::Duration;
use std::net::{IpAddr, Ipv6Addr};

const QUERY: u8 = 130;
const OLD_REPORT: u8 = 131;
const OLD_DONE: u8 = 132;
const REPORT: u8 = 143;
/// Every router that speaks MLD, and every router.
const LISTENERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Records of one message: it fits the narrowest interface that we take.
const RECORDS: usize = 24;
/// What tells routers to look into a packet that is not theirs, in the smallest header that can.
const ALERT: [u8; 4] = [5, 2, 0, 0];

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// Which group it is about, if not about all.
    pub(crate) group: Option<Ipv6Addr>,
    /// How long an answer may take.
    pub(crate) within: Duration,
    /// Who asks knows only the first version.
    pub(crate) is_old: bool,
}

impl Query {
    /// Reads a packet that begins with options for all on its way. Who is not on this wire asks nothing.
    pub(crate) fn read(ip: &Ip<'_>) -> Option<Self> {
        let IpAddr::V6(from) = ip.from else { return None };
        let message = alerted(ip.payload)?;
        let whole = Sum::pseudo(ip.from, ip.to, ICMPV6, message.len()).add(message).checksum() == 0;
        if !whole || ip.hops != 1 || !from.is_unicast_link_local() || *message.first()? != QUERY {
            return None;
        }
        let is_old = message.len() == 24;
        if !is_old && message.len() < 28 + 16 * usize::from(short(message, 26)?) {
            return None;
        }
        let group = Ipv6Addr::from(bytes::<16>(message, 8)?);
        let group = (!group.is_unspecified()).then_some(group);
        Some(Self { group, within: within(short(message, 4)?, is_old), is_old })
    }
}

/// The message behind a header of eight bytes that holds an alert for MLD.
fn alerted(payload: &[u8]) -> Option<&[u8]> {
    let (header, message) = payload.split_first_chunk::<8>()?;
    let mut options = header.strip_prefix(&[ICMPV6, 0])?;
    while let Some((kind, rest)) = options.split_first() {
        if options.starts_with(&ALERT) {
            return Some(message);
        }
        options = if *kind == 0 { rest } else { rest.get(1 + usize::from(*rest.first()?)..)? };
    }
    None
}

/// Milliseconds; those of the second version float beyond half a minute.
fn within(code: u16, is_old: bool) -> Duration {
    let code = u64::from(code);
    let floats = code >= 0x8000 && !is_old;
    let millis = if floats { (code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3) } else { code };
    Duration::from_millis(millis)
}

/// What is said of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// We hear it.
    Here,
    /// We hear it from now on.
    Joined,
    /// We do not hear it any more.
    Left,
}

/// The frames that say so.
pub(crate) fn frames(ours: [u8; 6], from: Ipv6Addr, old: bool, said: &[(Ipv6Addr, Word)]) -> Vec<Vec<u8>> {
    if old {
        return said.iter().map(|(group, word)| old_frame(ours, from, *group, *word)).collect();
    }
    said.chunks(RECORDS).map(|records| frame(ours, from, LISTENERS, report(records))).collect()
}

fn report(records: &[(Ipv6Addr, Word)]) -> Vec<u8> {
    let count = u8::try_from(records.len()).unwrap_or(0);
    let mut body = vec![REPORT, 0, 0, 0, 0, 0, 0, count];
    for (group, word) in records {
        // Whom we hear in a group, all but nobody, or nobody at all.
        let kind = match word {
            Word::Here => 2,
            Word::Left => 3,
            Word::Joined => 4,
        };
        body.extend_from_slice(&[kind, 0, 0, 0]);
        body.extend_from_slice(&group.octets());
    }
    body
}

fn old_frame(ours: [u8; 6], from: Ipv6Addr, group: Ipv6Addr, word: Word) -> Vec<u8> {
    let (kind, to) = if word == Word::Left { (OLD_DONE, ROUTERS) } else { (OLD_REPORT, group) };
    let mut body = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&group.octets());
    frame(ours, from, to, body)
}

fn frame(ours: [u8; 6], from: Ipv6Addr, to: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let mut frame = Kind::V6.header(ndp::group_mac(to), ours).to_vec();
    let (from, to) = (IpAddr::V6(from), IpAddr::V6(to));
    let sum = Sum::pseudo(from, to, ICMPV6, body.len()).add(&body).checksum();
    if let Some(field) = body.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    ip::write(&mut frame, from, to, HOP_BY_HOP, 8 + body.len(), 1);
    let [a, b, c, d] = ALERT;
    frame.extend_from_slice(&[ICMPV6, 0, a, b, c, d, 1, 0]);
    frame.extend_from_slice(&body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ethernet;

    const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const FROM: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

    fn body(code: u16, group: Ipv6Addr, more: &[u8]) -> Vec<u8> {
        let [a, b] = code.to_be_bytes();
        [&[QUERY, 0, 0, 0, a, b, 0, 0], &group.octets()[..], more].concat()
    }

    fn read(frame: &[u8]) -> Option<Query> {
        let ethernet = Ethernet::read(frame).unwrap();
        Query::read(&Ip::read(Kind::V6, ethernet.payload).unwrap())
    }

    fn asked(code: u16, more: &[u8]) -> Option<Query> {
        read(&frame([2; 6], FROM, ALL, body(code, Ipv6Addr::UNSPECIFIED, more)))
    }

    #[test]
    fn both_versions_are_told_apart_by_their_length() {
        let old = asked(0xffff, &[]).unwrap();
        assert_eq!((old.is_old, old.within, old.group), (true, Duration::from_millis(65_535), None));
        let new = asked(0xffff, &[2, 125, 0, 0]).unwrap();
        assert_eq!((new.is_old, new.within), (false, Duration::from_millis(8_387_584)));
        assert_eq!(asked(1000, &[2, 125, 0, 0]).unwrap().within, Duration::from_secs(1));
        for odd in [&[0; 1][..], &[0; 3], &[2, 125, 0, 1], &[2, 125, 0xff, 0xff]] {
            assert_eq!(asked(1000, odd), None, "{odd:?}");
        }
        assert!(asked(1000, &[&[2, 125, 0, 1], &[7; 16][..]].concat()).is_some());
    }

    #[test]
    fn a_question_from_elsewhere_or_in_another_wrapping_is_none() {
        let good = frame([2; 6], FROM, ALL, body(0, ALL, &[]));
        assert_eq!(read(&good).unwrap().group, Some(ALL));
        // Hops, source, checksum, the alert's kind, length and value, the header's length, the next header, the kind.
        for (at, value) in
            [(21, 2), (22, 0x20), (64, 7), (56, 6), (57, 3), (59, 1), (55, 1), (54, 59), (62, 131)]
        {
            let mut odd = good.clone();
            odd[at] = value;
            assert_eq!(read(&odd), None, "{at}");
        }
        let padded = |options: [u8; 6]| {
            let mut odd = good.clone();
            odd[56..62].copy_from_slice(&options);
            read(&odd).is_some()
        };
        assert!(padded([5, 2, 0, 0, 0, 0]) && padded([1, 0, 5, 2, 0, 0]) && padded([0, 5, 2, 0, 0, 0]));
        assert!(!padded([1, 4, 5, 2, 0, 0]) && !padded([1, 200, 5, 2, 0, 0]) && !padded([0; 6]));
    }

    #[test]
    fn however_many_groups_there_are_each_message_fits_and_says_where_it_goes() {
        let many = vec![(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1), Word::Joined); 100];
        let said = frames([2; 6], Ipv6Addr::UNSPECIFIED, false, &many);
        assert_eq!(said.len(), 5);
        assert!(
            said.iter().all(|frame| frame.len() <= 14 + 576 && frame[..6] == [0x33, 0x33, 0, 0, 0, 0x16])
        );
        assert_eq!(frames([2; 6], FROM, true, &many).len(), 100);
    }
}
