//! The PROXY protocol, versions 1 and 2, as it is heard from a balancer in front of us: who is really calling.
//!
//! Only connections from sources that the operator has listed begin with it, and all of those do.

use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use futures_io::AsyncRead;
use std::io;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const LINE: usize = 107;
/// The longest header of version 2 that is listened to.
const LONGEST: usize = 4096;

/// Both ends of a connection, as a balancer tells them: the client's and the one that it called. Nothing when the
/// balancer speaks for itself, to see whether we live. Not a byte behind the header is read.
///
/// # Errors
/// When what comes is no such header: whoever sent it must not be served, for we do not know who it is.
pub async fn announced<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut first = [0; SIGNATURE.len()];
    fill(stream, &mut first).await?;
    if first == SIGNATURE { second(stream).await } else { line(stream, &first).await }
}

async fn second<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut head = [0; 4];
    fill(stream, &mut head).await?;
    let [version, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(bad());
    }
    let mut rest = vec![0; length];
    fill(stream, &mut rest).await?;
    match (version, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => ends::<4>(&rest).map(Some).ok_or_else(bad),
        (0x21, 0x21) => ends::<16>(&rest).map(Some).ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// Two addresses and two ports; more may follow.
fn ends<const N: usize>(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (from, rest) = bytes.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    let end = |address: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes(*port))
    };
    Some((end(from, from_port), end(to, to_port)))
}

/// The rest of a line of version 1, byte by byte: what follows it is not ours.
async fn line<S: AsyncRead + Unpin>(
    stream: &mut S,
    first: &[u8],
) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    if !first.starts_with(b"PROXY ") {
        return Err(bad());
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        fill(stream, &mut byte).await?;
        line.extend_from_slice(&byte);
        if line.len() > LINE {
            return Err(bad());
        }
    }
    let line = core::str::from_utf8(&line).map_err(|_| bad())?;
    spoken(line.trim_end_matches("\r\n")).ok_or_else(bad)
}

fn spoken(line: &str) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let words: Vec<&str> = line.split(' ').collect();
    let (four, from, to, from_port, to_port) = match *words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => return Some(None),
        ["PROXY", "TCP4", from, to, from_port, to_port] => (true, from, to, from_port, to_port),
        ["PROXY", "TCP6", from, to, from_port, to_port] => (false, from, to, from_port, to_port),
        _ => return None,
    };
    let end = |address: &str, port: &str| {
        let plain = port.bytes().all(|byte| byte.is_ascii_digit());
        let address: IpAddr =
            address.parse().ok().filter(|address: &IpAddr| address.is_ipv4() == four && plain)?;
        Some(SocketAddr::new(address, port.parse().ok()?))
    };
    Some(Some((end(from, from_port)?, end(to, to_port)?)))
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, mut room: &mut [u8]) -> io::Result<()> {
    while !room.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, room)).await?;
        room = room.get_mut(count..).filter(|_| count > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::{Context, Poll, Waker};

    /// A stream that is there at once, in pieces of one size, and then ends.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = self.0.len().min(self.1).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Poll::Ready(Ok(count))
        }
    }

    /// What is understood, however the bytes come, and what is left of them.
    #[track_caller]
    fn heard(bytes: &[u8]) -> Option<Option<(String, String)>> {
        let mut all = (1..=bytes.len().max(1)).map(|size| {
            let mut stream = Pieces(bytes, size);
            let heard = {
                let mut future = Box::pin(announced(&mut stream));
                let context = &mut Context::from_waker(Waker::noop());
                let Poll::Ready(heard) = future.as_mut().poll(context) else { panic!("it waits") };
                heard
            };
            let heard = heard.ok().map(|ends| ends.map(|(from, to)| (from.to_string(), to.to_string())));
            assert!(heard.is_none() || stream.0 == b"rest", "{:?} is left", stream.0);
            heard
        });
        let first = all.next().unwrap();
        assert!(all.all(|other| other == first));
        first
    }

    fn two(head: [u8; 2], rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &head, &(rest.len() as u16).to_be_bytes(), rest, b"rest"].concat()
    }

    #[test]
    fn both_versions_tell_both_ends() {
        let ends = |from: &str, to: &str| Some(Some((from.to_owned(), to.to_owned())));
        assert_eq!(
            heard(b"PROXY TCP4 203.0.113.9 192.0.2.7 4000 443\r\nrest"),
            ends("203.0.113.9:4000", "192.0.2.7:443")
        );
        assert_eq!(
            heard(b"PROXY TCP6 2001:db8::9 ::1 4000 443\r\nrest"),
            ends("[2001:db8::9]:4000", "[::1]:443")
        );
        assert_eq!(heard(b"PROXY UNKNOWN\r\nrest"), Some(None));
        assert_eq!(heard(b"PROXY UNKNOWN ff ff 1 2\r\nrest"), Some(None));
        let four = [203, 0, 113, 9, 192, 0, 2, 7, 15, 160, 1, 187];
        assert_eq!(heard(&two([0x21, 0x11], &four)), ends("203.0.113.9:4000", "192.0.2.7:443"));
        assert_eq!(
            heard(&two([0x21, 0x11], &[&four[..], b"\x04\0\x01x"].concat())),
            ends("203.0.113.9:4000", "192.0.2.7:443")
        );
        assert_eq!(heard(&two([0x20, 0], b"")), Some(None));
        let six = [[0x20; 16], [0x30; 16]].concat();
        assert_eq!(
            heard(&two([0x21, 0x21], &[&six[..], &[0, 1, 0, 2]].concat())),
            ends(
                "[2020:2020:2020:2020:2020:2020:2020:2020]:1",
                "[3030:3030:3030:3030:3030:3030:3030:3030]:2"
            )
        );
    }

    #[test]
    fn what_is_no_header_is_nobody() {
        for bad in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.9 192.0.2.7 4000\r\nrest",
            b"PROXY TCP4 203.0.113.9 192.0.2.7 4000 443 5\r\nrest",
            b"PROXY TCP4 2001:db8::9 ::1 4000 443\r\nrest",
            b"PROXY TCP6 203.0.113.9 192.0.2.7 4000 443\r\nrest",
            b"PROXY TCP4 203.0.113.9 192.0.2.7 +400 443\r\nrest",
            b"PROXY TCP4 203.0.113.9 192.0.2.7 4000 70000\r\nrest",
            b"PROXY TCP4  203.0.113.9 192.0.2.7 4000 443\r\nrest",
            b"PROXY TCP4 203.0.113.9 192.0.2.7 4000 443\nrest",
            b"PROXY UDP4 203.0.113.9 192.0.2.7 4000 443\r\nrest",
            b"proxy TCP4 203.0.113.9 192.0.2.7 4000 443\r\nrest",
            b"",
            b"PROXY UNKN",
        ] {
            assert_eq!(heard(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
        assert_eq!(heard(format!("PROXY UNKNOWN {}\r\nrest", "x".repeat(100)).as_bytes()), None);
        for (head, length) in [
            ([0x21, 0x11], 11),
            ([0x21, 0x21], 35),
            ([0x21, 0x12], 12),
            ([0x11, 0x11], 12),
            ([0x22, 0x11], 12),
            ([0x11, 0x21], 36),
            ([0x22, 0x21], 36),
            ([0x21, 0x22], 36),
            ([0x21, 0x31], 36),
            ([0x21, 0x11], 5000),
        ] {
            assert_eq!(heard(&two(head, &vec![0; length])), None, "{head:?}");
        }
        assert_eq!(heard(&SIGNATURE), None);
    }
}
