//! The appliance's console, line by line, on a thread of its own: a terminal that is held with Ctrl-S holds nothing else.

use std::io::{self, BufRead, BufReader, Read, Write, stdout};
use std::os::unix::net::UnixStream;
use std::thread;

/// How a line begins that says that the appliance serves.
const READY: &[u8] = b"ready";
/// A line longer than this is printed in pieces.
const LONGEST_LINE: u64 = 8192;

/// Prints everything that comes from `console`. The answer carries one byte when the appliance says that it is ready,
/// and ends when the console does.
pub(crate) fn follow(console: impl Read + Send + 'static) -> io::Result<UnixStream> {
    let (news, mut teller) = UnixStream::pair()?;
    news.set_nonblocking(true)?;
    thread::Builder::new().name("console".to_owned()).spawn(move || {
        // A console that cannot be read has ended; one that cannot be printed is still followed.
        let _ = copy(BufReader::new(console), &mut teller);
    })?;
    Ok(news)
}

fn copy(mut console: impl BufRead, teller: &mut UnixStream) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if console.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let _ = stdout().write_all(&line).and_then(|()| stdout().flush());
        if line.starts_with(READY) {
            teller.write_all(&[1])?;
        }
    }
}
