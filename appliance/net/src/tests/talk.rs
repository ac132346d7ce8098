//! Tasks at the ends of a cable.

use super::cable::{Cable, Dice};
use crate::Stream;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

pub(super) async fn read(stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| Pin::new(&mut *stream).poll_read(context, into)).await
}

pub(super) async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await
}

pub(super) async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = write(stream, bytes).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

pub(super) async fn close(stream: &mut Stream) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await
}

pub(super) async fn echo(mut stream: Stream) {
    let mut buffer = [0; 1000];
    loop {
        let read = read(&mut stream, &mut buffer).await.unwrap();
        if read == 0 {
            return close(&mut stream).await.unwrap();
        }
        write_all(&mut stream, &buffer[..read]).await.unwrap();
    }
}

pub(super) async fn read_to_end(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 700]);
    loop {
        match read(stream, &mut buffer).await? {
            0 => return Ok(all),
            some => all.extend_from_slice(&buffer[..some]),
        }
    }
}

/// A server on the first machine that starts `task` for each connection.
pub(super) fn serve<F: Future<Output = ()> + 'static>(
    cable: &Cable,
    port: u16,
    task: impl Fn(Stream) -> F + 'static,
) {
    let listener = cable.nets[0].handle().listen(port).unwrap();
    let tasks = cable.tasks.clone();
    cable.tasks.spawn(async move {
        loop {
            tasks.spawn(task(listener.accept().await));
        }
    });
}

/// Bytes that follow from a seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| dice.roll(u64::MAX).to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// What one side has heard, once it is done.
type Side = Option<io::Result<Vec<u8>>>;

/// What both sides of one connection have heard.
#[derive(Clone, Default)]
pub(super) struct Heard(pub(super) Rc<RefCell<[Side; 2]>>);

impl Heard {
    pub(super) fn all(&self) -> bool {
        self.0.borrow().iter().all(Option::is_some)
    }

    /// True once both are done, or once one has failed: the other may wait for somebody who never comes.
    pub(super) fn any_and_quiet(&self) -> bool {
        self.all() || self.0.borrow().iter().flatten().any(Result::is_err)
    }
}

/// Says `said` in pieces of odd sizes with pauses, closes, and hears the other side, all in one task.
pub(super) async fn converse(
    mut stream: Stream,
    said: Vec<u8>,
    seed: u64,
    timers: tasks::Timers,
    side: usize,
    heard: Heard,
) {
    let result = exchange(&mut stream, &said, seed, &timers).await;
    heard.0.borrow_mut()[side] = Some(result);
}

async fn exchange(
    stream: &mut Stream,
    said: &[u8],
    seed: u64,
    timers: &tasks::Timers,
) -> io::Result<Vec<u8>> {
    let (mut dice, mut at, mut all, mut closed) = (Dice(seed), 0, Vec::new(), false);
    let mut buffer = vec![0; 5000];
    loop {
        if at == said.len() && !closed {
            closed = true;
            close(stream).await?;
        }
        let pause = dice.roll(50) == 0;
        if pause {
            let long = core::time::Duration::from_millis(dice.roll(1000));
            timers.after(long).await;
        }
        let piece = (dice.roll(9000) + 1) as usize;
        let end = (at + piece).min(said.len());
        let room = (dice.roll(5000) + 1) as usize;
        let event = poll_fn(|context| {
            if at < said.len()
                && let core::task::Poll::Ready(written) =
                    Pin::new(&mut *stream).poll_write(context, &said[at..end])
            {
                return core::task::Poll::Ready(written.map(|written| (written, None)));
            }
            let read = Pin::new(&mut *stream).poll_read(context, &mut buffer[..room]);
            read.map(|read| read.map(|read| (0, Some(read))))
        });
        let (written, got) = event.await?;
        at += written;
        match got {
            Some(0) => break,
            Some(read) => all.extend_from_slice(&buffer[..read]),
            None => {}
        }
    }
    write_all(stream, &said[at..]).await?;
    close(stream).await?;
    Ok(all)
}

/// One connection on which both sides say something.
pub(super) fn conversation(cable: &mut Cable, remote: SocketAddr, said: [Vec<u8>; 2], seed: u64) -> Heard {
    let heard = Heard::default();
    let handles = [cable.nets[0].handle(), cable.nets[1].handle()];
    let [ours, theirs] = said;
    let (tasks, listener) = (cable.tasks.clone(), handles[0].listen(remote.port()).unwrap());
    let (timers, told, started) = (tasks.timers().clone(), heard.clone(), Cell::new(Some(ours)));
    cable.tasks.spawn(async move {
        let stream = listener.accept().await;
        let ours = started.take().unwrap();
        converse(stream, ours, seed, timers, 0, told).await;
    });
    let (timers, told) = (tasks.timers().clone(), heard.clone());
    let handle = handles[1].clone();
    cable.tasks.spawn(async move {
        match handle.connect(None, remote).await {
            Ok(stream) => converse(stream, theirs, seed ^ 1, timers, 1, told).await,
            Err(why) => {
                told.0.borrow_mut()[1] = Some(Err(io::Error::other(why)));
                told.0.borrow_mut()[0] = Some(Ok(Vec::new()));
            }
        }
    });
    heard
}
