//! Squeezing: every page is measured and compressed on all cores; what comes out is in the order of what went
//! in.

use super::kinds::Kind;
use crate::plan::tree::Page;
use bundle::{Coding, Measure, Measured};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex};
use std::thread;

/// A page that is to be packed.
pub(crate) struct Job<'a> {
    pub(crate) site: usize,
    pub(crate) page: &'a Page,
    pub(crate) modified: u64,
    pub(crate) kind: Kind,
}

/// A page, measured, and its smaller encodings.
pub(crate) struct Squeezed {
    pub(crate) whole: Measured,
    pub(crate) smaller: Vec<(Coding, Measured, Vec<u8>)>,
}

/// Larger pages are not compressed: they would have to be in memory, and such pages are rarely text.
const LARGEST: u64 = 8 << 20;
/// Up to this size the slowest setting is fast enough.
const THOROUGH: usize = 512 << 10;
/// An encoding must save so much; its own header line costs some of it.
const WORTH: usize = 64;

type Outcome = (usize, io::Result<Squeezed>);

/// Squeezes every job and hands them over in order.
pub(crate) fn all(
    jobs: &[Job<'_>],
    mut take: impl FnMut(&Job<'_>, Squeezed) -> io::Result<()>,
) -> io::Result<()> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let queue =
        Queue { next: AtomicUsize::new(0), taken: Mutex::new(0), moved: Condvar::new(), ahead: cores * 2 };
    let (sender, receiver) = channel::<Outcome>();
    thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || queue.work(jobs, &sender));
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut outcome = Ok(());
        for (number, job) in jobs.iter().enumerate() {
            while !waiting.contains_key(&number) {
                let Ok((done, squeezed)) = receiver.recv() else { break };
                waiting.insert(done, squeezed);
            }
            let lost = || Err(io::Error::other("a thread was lost"));
            outcome = waiting.remove(&number).unwrap_or_else(lost).and_then(|squeezed| take(job, squeezed));
            queue.took(if outcome.is_ok() { number.saturating_add(1) } else { usize::MAX });
            if outcome.is_err() {
                break;
            }
        }
        outcome
    })
}

/// Which job is next, and how far the workers may run ahead of the writer.
struct Queue {
    next: AtomicUsize,
    taken: Mutex<usize>,
    moved: Condvar,
    ahead: usize,
}

impl Queue {
    fn work(&self, jobs: &[Job<'_>], done: &Sender<Outcome>) {
        while let Some((number, job)) = self.next(jobs) {
            let squeezed = squeeze(job)
                .map_err(|error| io::Error::other(format!("{}: {error}", job.page.file.display())));
            if done.send((number, squeezed)).is_err() {
                return;
            }
        }
    }

    fn next<'a, 'j>(&self, jobs: &'a [Job<'j>]) -> Option<(usize, &'a Job<'j>)> {
        let number = self.next.fetch_add(1, SeqCst);
        let job = jobs.get(number)?;
        let taken = self.taken.lock().ok()?;
        let far = |taken: &mut usize| number >= taken.saturating_add(self.ahead);
        let taken = self.moved.wait_while(taken, far).ok()?;
        (*taken != usize::MAX).then_some((number, job))
    }

    fn took(&self, count: usize) {
        if let Ok(mut taken) = self.taken.lock() {
            *taken = count;
        }
        self.moved.notify_all();
    }
}

fn squeeze(job: &Job<'_>) -> io::Result<Squeezed> {
    if !job.kind.squeezable || job.page.length > LARGEST {
        return Ok(Squeezed { whole: measure(job)?, smaller: Vec::new() });
    }
    let bytes = fs::read(&job.page.file)?;
    let mut smaller = Vec::new();
    for (coding, squeeze) in CODINGS {
        let squeezed = squeeze(&bytes)?;
        if squeezed.len().saturating_add(WORTH) < bytes.len() {
            smaller.push((coding, Measure::of(&squeezed), squeezed));
        }
    }
    Ok(Squeezed { whole: Measure::of(&bytes), smaller })
}

fn measure(job: &Job<'_>) -> io::Result<Measured> {
    let mut file = File::open(&job.page.file)?;
    let (mut measure, mut piece) = (Measure::default(), vec![0; bundle::CHUNK]);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(measure.done());
        }
        measure.see(piece.get(..count).unwrap_or_default());
    }
}

type Squeezer = fn(&[u8]) -> io::Result<Vec<u8>>;

/// In the order of [`Coding::ALL`].
const CODINGS: [(Coding, Squeezer); 3] =
    [(Coding::Gzip, gzip), (Coding::Brotli, brotli), (Coding::Zstd, zstandard)];

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let quality = if bytes.len() > THOROUGH { 9 } else { 11 };
    let words = brotli::enc::BrotliEncoderParams { quality, size_hint: bytes.len(), ..Default::default() };
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut &*bytes, &mut out, &words)?;
    Ok(out)
}

fn zstandard(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // RFC 8878 §3.1.1.1.2 and browsers: no window above 8 MiB, which is also the largest page that comes
    // here.
    zstd::bulk::compress(bytes, if bytes.len() > THOROUGH { 15 } else { 19 })
}
