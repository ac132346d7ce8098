//! What is asked of a name server and what it answers (RFC 1035), as bytes. No I/O.

use core::net::IpAddr;

/// Names are followed through so many others at most.
const ALIASES: usize = 8;
/// So many records of an answer are looked at.
const RECORDS: u16 = 64;
/// No answer counts for longer than an hour, or for less than a second.
const LONGEST: u32 = 3600;
/// That there is nothing counts for five minutes at most.
const NOTHING: u32 = 300;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// These addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// There are none, for so many seconds.
    Nothing(u32),
    /// The answer does not fit a datagram: ask over TCP.
    Cut,
    /// It cannot say.
    Failed,
}

/// A question. `dice` are random: two bytes are its number, the others are the case of its letters (a forger has to
/// guess both).
pub(super) fn question(name: &str, v6: bool, dice: &[u8; 34]) -> Option<Vec<u8>> {
    let (number, bits) = dice.split_first_chunk::<2>()?;
    let mut out = number.to_vec();
    // One question, and recursion is wanted.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mut bits = bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        out.push(length);
        let upper = |byte: u8| if bits.next() == Some(true) { byte.to_ascii_uppercase() } else { byte };
        out.extend(label.bytes().map(upper));
    }
    out.extend_from_slice(&[0, 0, if v6 { 28 } else { 1 }, 0, 1]);
    (out.len() < 12 + 255 + 4).then_some(out)
}

/// What `bytes` say to a question; nothing when they are no answer to it.
pub(super) fn reply(bytes: &[u8], question: &[u8]) -> Option<Reply> {
    let (asked, body) = (question.get(12..)?, bytes.get(12..)?);
    let flags = number(bytes, 2)?;
    let answers =
        flags & 0xf800 == 0x8000 && bytes.get(..2) == question.get(..2) && number(bytes, 4) == Some(1);
    if !answers || !body.starts_with(asked) {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Reply::Cut);
    }
    match flags & 0xf {
        0 | 3 => Some(said(bytes, question.len()).unwrap_or(Reply::Failed)),
        _ => Some(Reply::Failed),
    }
}

/// One record: whose it is, and what it says.
struct Record<'a> {
    owner: Vec<u8>,
    kind: u16,
    seconds: u32,
    place: usize,
    data: &'a [u8],
}

fn said(bytes: &[u8], mut at: usize) -> Option<Reply> {
    let (mut owner, _) = name(bytes, 12)?;
    let wanted = number(bytes, at.checked_sub(4)?)?;
    let count = number(bytes, 6)?.saturating_add(number(bytes, 8)?).min(RECORDS);
    let mut records = Vec::new();
    for _ in 0..count {
        let (record, next) = record(bytes, at)?;
        records.push(record);
        at = next;
    }
    let mut seconds = LONGEST;
    for _ in 0..ALIASES {
        let Some(alias) = records.iter().find(|record| record.kind == CNAME && record.owner == owner) else {
            break;
        };
        seconds = seconds.min(alias.seconds);
        owner = name(bytes, alias.place)?.0;
    }
    let ours = records.iter().filter(|record| record.kind == wanted && record.owner == owner);
    let mut addresses = Vec::new();
    for record in ours {
        seconds = seconds.min(record.seconds);
        addresses.push(address(record)?);
    }
    if addresses.is_empty() {
        return Some(Reply::Nothing(nothing(&records).clamp(1, NOTHING)));
    }
    Some(Reply::Addresses(addresses, seconds.max(1)))
}

/// For how long there is nothing: what the zone says of that.
fn nothing(records: &[Record<'_>]) -> u32 {
    let soa = records.iter().find(|record| record.kind == SOA);
    let least = soa.and_then(|soa| Some(u32::from_be_bytes(*soa.data.last_chunk()?).min(soa.seconds)));
    least.unwrap_or(1)
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    match record.kind {
        A => <[u8; 4]>::try_from(record.data).ok().map(IpAddr::from),
        AAAA => <[u8; 16]>::try_from(record.data).ok().map(IpAddr::from),
        _ => None,
    }
}

fn record(bytes: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let (owner, at) = name(bytes, at)?;
    let (kind, class) = (number(bytes, at)?, number(bytes, at.checked_add(2)?)?);
    let seconds = u32::from_be_bytes(*bytes.get(at.checked_add(4)?..)?.first_chunk()?);
    let length = usize::from(number(bytes, at.checked_add(8)?)?);
    let place = at.checked_add(10)?;
    let next = place.checked_add(length)?;
    let kind = if class == 1 { kind } else { 0 };
    Some((Record { owner, kind, seconds, place, data: bytes.get(place..next)? }, next))
}

/// A name in lower case, and what follows it. References lead backwards only, so they end.
fn name(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut next, mut before) = (Vec::new(), None, at);
    loop {
        let length = *bytes.get(at)?;
        let behind = at.checked_add(1)?;
        match length {
            0 => return Some((name, next.unwrap_or(behind))),
            1..64 => {
                let end = behind.checked_add(usize::from(length))?;
                name.push(length);
                name.extend(bytes.get(behind..end)?.iter().map(u8::to_ascii_lowercase));
                at = end;
            }
            192.. => {
                next = next.or(behind.checked_add(1));
                at = usize::from(number(bytes, at)? & 0x3fff);
                if at >= before {
                    return None;
                }
                before = at;
            }
            _ => return None,
        }
        if name.len() > 255 {
            return None;
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE: [u8; 34] = [0xa5; 34];

    fn asked() -> Vec<u8> {
        question("app.example", false, &DICE).unwrap()
    }

    /// An answer with these records: owner, kind, seconds, data. `\x0c` in an owner is the name that was asked for.
    fn answer(flags: u16, counts: [u16; 2], records: &[(&[u8], u16, u32, &[u8])]) -> Vec<u8> {
        let asked = asked();
        let mut out = [&asked[..2], &flags.to_be_bytes(), &[0, 1]].concat();
        counts.iter().for_each(|count| out.extend(count.to_be_bytes()));
        out.extend([0, 0]);
        out.extend(&asked[12..]);
        for (owner, kind, seconds, data) in records {
            out.extend(*owner);
            out.extend(
                [
                    &kind.to_be_bytes()[..],
                    &[0, 1],
                    &seconds.to_be_bytes(),
                    &(data.len() as u16).to_be_bytes(),
                    data,
                ]
                .concat(),
            );
        }
        out
    }

    const OWNER: &[u8] = b"\xc0\x0c";
    const FOUR: &[u8] = &[192, 0, 2, 9];

    #[test]
    fn a_question_has_its_letters_in_random_cases() {
        let asked = asked();
        assert_eq!((&asked[..2], asked[12]), (&[0xa5, 0xa5][..], 3));
        assert_eq!(asked[13..16].to_ascii_lowercase(), b"app");
        assert_ne!(question("app.example", false, &[0; 34]).unwrap()[12..], asked[12..]);
        for bad in ["", "a..b", &"a".repeat(64), &"a.".repeat(140)] {
            assert_eq!(question(bad, true, &DICE), None, "{bad}");
        }
    }

    #[test]
    fn addresses_are_found_behind_aliases() {
        let alias: &[u8] = b"\x01b\xc0\x10";
        let records = [
            (b"\x01B\xc0\x10" as &[u8], A, 50, FOUR),
            (OWNER, CNAME, 40, alias),
            (b"\x01c\0", A, 9, &[6; 4]),
        ];
        let reply_to = |bytes: &[u8]| reply(bytes, &asked());
        assert_eq!(
            reply_to(&answer(0x8180, [3, 0], &records)),
            Some(Reply::Addresses(vec![[192, 0, 2, 9].into()], 40))
        );
        let none = answer(0x8183, [0, 1], &[(b"\0", SOA, 900, &[0, 0, 0, 60])]);
        assert_eq!(reply_to(&none), Some(Reply::Nothing(60)));
        assert_eq!(reply_to(&answer(0x8180, [0, 0], &[])), Some(Reply::Nothing(1)));
        assert_eq!(reply_to(&answer(0x8380, [0, 0], &[])), Some(Reply::Cut));
        assert_eq!(reply_to(&answer(0x8182, [0, 0], &[])), Some(Reply::Failed));
        assert_eq!(
            reply_to(&answer(0x8180, [1, 0], &[(OWNER, A, 0, FOUR)])),
            Some(Reply::Addresses(vec![[192, 0, 2, 9].into()], 1))
        );
    }

    #[test]
    fn what_answers_another_question_is_no_answer() {
        let good = answer(0x8180, [1, 0], &[(OWNER, A, 50, FOUR)]);
        for at in [0, 1, 2, 5, 13] {
            let mut bad = good.clone();
            bad[at] ^= 0x20 | u8::from(at == 2) << 7;
            assert_eq!(reply(&bad, &asked()), None, "byte {at}");
        }
    }

    #[test]
    fn no_bytes_panic_or_hang() {
        let loops = answer(0x8180, [2, 0], &[(OWNER, CNAME, 5, OWNER), (b"\xc0\x2a", A, 5, FOUR)]);
        reply(&loops, &asked());
        let good =
            answer(0x8180, [3, 1], &[(OWNER, CNAME, 5, b"\x01b\xc0\x10"), (b"\x01b\xc0\x10", A, 5, FOUR)]);
        for cut in 0..good.len() {
            reply(&good[..cut], &asked());
            for byte in [0, 0x3f, 0x40, 0xc0, 0xff] {
                let mut bad = good.clone();
                bad[cut] = byte;
                reply(&bad, &asked());
            }
        }
    }
}
