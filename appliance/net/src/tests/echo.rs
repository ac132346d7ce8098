//! Two stacks at the ends of a cable.
//!
//! The cable is memory and the clock is a number; nothing here knows what is inside a stack.

use crate::{Cidr, Config, Keys, Net, Stream};
use core::cell::Cell;
use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tasks::Tasks;
use world::{Checksum, Full, Help, Instant, Nic, NicFacts, Offload, Received};

/// One end of a cable: what arrives, and what leaves.
struct End {
    mac: u8,
    arriving: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

impl End {
    fn new(mac: u8) -> Self {
        Self { mac, arriving: VecDeque::new(), leaving: VecDeque::new() }
    }
}

impl Nic for End {
    fn facts(&self) -> NicFacts {
        NicFacts { mac: [2, 0, 0, 0, 0, self.mac], mtu: 1500, offload: Offload::default() }
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let arrived = self.arriving.pop_front()?;
        frame[..arrived.len()].copy_from_slice(&arrived);
        Some(Received { len: arrived.len(), checksum: Checksum::Unknown })
    }

    fn send(&mut self, frame: &[u8], _: Help) -> Result<(), Full> {
        self.leaving.push_back(frame.to_vec());
        Ok(())
    }

    fn flush(&mut self) {}
}

/// Two machines, the tasks on both, and the time.
struct Cable {
    ends: [End; 2],
    nets: [Net; 2],
    tasks: Tasks,
    now: Instant,
}

impl Cable {
    fn new() -> Self {
        let ends = [End::new(1), End::new(2)];
        let nets = [1, 2].map(|last| {
            let facts = End::new(last).facts();
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
            let config = Config { addresses: vec![Cidr { address, prefix: 24 }], ..Config::default() };
            Net::new(config, facts, Keys::new([last; 64]), Instant::START).unwrap()
        });
        Self { ends, nets, tasks: Tasks::new(), now: Instant::START }
    }

    /// Runs until `done`, or fails after ten simulated minutes.
    fn run(&mut self, done: impl Fn() -> bool) {
        while !done() {
            assert!(self.now < Instant::START + Duration::from_secs(600), "ten minutes passed");
            self.tasks.turn(self.now, 1000);
            let deadlines = [0, 1].map(|side| self.nets[side].turn(self.now, &mut self.ends[side]));
            let [left, right] = &mut self.ends;
            left.arriving.append(&mut right.leaving);
            right.arriving.append(&mut left.leaving);
            if left.arriving.is_empty() && right.arriving.is_empty() {
                let next = deadlines.into_iter().chain([self.tasks.timers().deadline()]).flatten().min();
                self.now = next.unwrap_or(self.now).max(self.now + Duration::from_micros(10));
            }
        }
    }
}

async fn read(stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| Pin::new(&mut *stream).poll_read(context, into)).await
}

async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

async fn close(stream: &mut Stream) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await
}

async fn echo(mut stream: Stream) {
    let mut buffer = [0; 1000];
    loop {
        let read = read(&mut stream, &mut buffer).await.unwrap();
        if read == 0 {
            return close(&mut stream).await.unwrap();
        }
        write_all(&mut stream, &buffer[..read]).await.unwrap();
    }
}

async fn read_to_end(stream: &mut Stream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 700]);
    loop {
        match read(stream, &mut buffer).await.unwrap() {
            0 => return all,
            some => all.extend_from_slice(&buffer[..some]),
        }
    }
}

#[test]
fn what_is_said_is_echoed_and_both_halves_close() {
    let mut cable = Cable::new();
    let listener = cable.nets[0].handle().listen(7).unwrap();
    let server = cable.tasks.clone();
    cable.tasks.spawn(async move {
        loop {
            server.spawn(echo(listener.accept().await));
        }
    });
    let (handle, done) = (cable.nets[1].handle(), Rc::new(Cell::new(0)));
    for number in 0..8_u8 {
        let (handle, done) = (handle.clone(), done.clone());
        cable.tasks.spawn(async move {
            let remote = SocketAddr::from(([10, 0, 0, 1], 7));
            let mut stream = handle.connect(None, remote).await.unwrap();
            assert_eq!(stream.peer(), remote);
            let said: Vec<u8> = (0..10_000).map(|at: u32| number ^ at.to_le_bytes()[0]).collect();
            write_all(&mut stream, &said).await.unwrap();
            close(&mut stream).await.unwrap();
            assert!(read_to_end(&mut stream).await == said);
            done.set(done.get() + 1);
        });
    }
    cable.run(|| done.get() == 8);
    assert_eq!(cable.nets[0].handle().figures().accepted, 8);
}

#[test]
fn a_port_has_one_listener_until_it_is_dropped() {
    let cable = Cable::new();
    let handle = cable.nets[0].handle();
    let listener = handle.listen(80).unwrap();
    assert_eq!(handle.listen(80).err().map(|taken| taken.0), Some(80));
    drop(listener);
    assert!(handle.listen(80).is_ok());
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    let mut cable = Cable::new();
    let (handle, refused) = (cable.nets[1].handle(), Rc::new(Cell::new(false)));
    let told = refused.clone();
    cable.tasks.spawn(async move {
        let failed = handle.connect(None, SocketAddr::from(([10, 0, 0, 1], 9))).await.err();
        told.set(failed == Some(crate::ConnectError::Refused));
    });
    cable.run(|| refused.get());
}
