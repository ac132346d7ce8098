//! `gatehouse run --supervise`: starts the launcher again when its appliance falls.
//!
//! The launcher runs as a child on the leash, so that nothing of a fallen life is left: no port, no socket, no file.
//! What falls before it was ever ready is not started again: it would fall again. The pause before each start doubles,
//! up to a minute, and is short again after a minute that went well. The next life packs the folder that was named as
//! it lies there then.

use crate::Outcome;
use crate::child::{Ward, described, leashed};
use crate::signals;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write, stdout};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long the launcher may take to end its appliance.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_LINE: u64 = 8192;
/// As much of the last line as is shown.
const SHOWN: usize = 200;

/// What the supervisor hears.
enum News {
    Ready,
    Line(String),
    Ended,
    Stop,
}

/// How a life went.
struct Life {
    status: ExitStatus,
    was_ready: bool,
    stopped: bool,
    span: Duration,
    last_words: String,
}

/// Runs the launcher again and again.
pub(crate) fn supervise() -> Outcome {
    let (tell, news) = channel();
    hear_signals(tell.clone())?;
    let (mut restarts, mut pause, mut last_words) = (0_u64, FIRST_PAUSE, String::new());
    loop {
        let life = live(&tell, &news, restarts, &last_words)?;
        if life.stopped || life.status.success() {
            return Ok(ExitCode::SUCCESS);
        }
        if !life.was_ready {
            return Ok(ExitCode::FAILURE);
        }
        if life.span > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        (restarts, last_words) = (restarts + 1, life.last_words);
        eprintln!(
            "gatehouse: the launcher {}; its last words were {last_words:?}; starting again in {} s (start {})",
            described(life.status),
            pause.as_secs(),
            restarts + 1
        );
        if is_stopped(&news, pause) {
            return Ok(ExitCode::SUCCESS);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn live(tell: &Sender<News>, news: &Receiver<News>, restarts: u64, last_words: &str) -> io::Result<Life> {
    let mut command = leashed(std::env::current_exe()?)?;
    let words = std::env::args_os().skip(1).filter(|word| word != "--supervise");
    command.args(words).arg("--restarts").arg(restarts.to_string());
    command.arg(OsString::from(format!("--last-words={last_words}")));
    let mut ward = Ward::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    if let Some(console) = ward.console() {
        let tell = tell.clone();
        thread::Builder::new().name("console".to_owned()).spawn(move || {
            // A console that cannot be read has ended.
            let _ = copy(BufReader::new(console), &tell);
            let _ = tell.send(News::Ended);
        })?;
    }
    let (began, mut was_ready, mut stopped, mut last_words) = (Instant::now(), false, false, String::new());
    for word in news {
        match word {
            News::Ready => was_ready = true,
            News::Line(line) => last_words = line,
            News::Stop => {
                stopped = true;
                ward.ask_to_finish();
            }
            News::Ended => break,
        }
    }
    Ok(Life { status: ward.end(PATIENCE)?, was_ready, stopped, span: began.elapsed(), last_words })
}

fn copy(mut console: impl BufRead, tell: &Sender<News>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if console.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // One that cannot be printed is still followed.
        let _ = stdout().write_all(&line).and_then(|()| stdout().flush());
        // Lines that begin with blanks are ours, for whoever wants to look at the page.
        if line.starts_with(b" ") {
            continue;
        }
        let text: String = String::from_utf8_lossy(&line).trim().chars().take(SHOWN).collect();
        let news = if text.starts_with("ready") { News::Ready } else { News::Line(text) };
        tell.send(news).map_err(io::Error::other)?;
    }
}

fn hear_signals(tell: Sender<News>) -> io::Result<()> {
    let mut stops = signals::listen()?;
    stops.set_nonblocking(false)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut one = [0];
        while stops.read_exact(&mut one).is_ok() && tell.send(News::Stop).is_ok() {}
    })?;
    Ok(())
}

/// Waits, unless it is told to stop.
fn is_stopped(news: &Receiver<News>, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    loop {
        match news.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(News::Stop) => return true,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
    }
}
