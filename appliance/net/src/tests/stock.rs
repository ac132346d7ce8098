//! One of our stacks and a stock smoltcp at the other end of the cable: somebody else's idea of TCP.

use super::cable::{Dice, End, FAIR, Weather, config};
use super::raw::PORT;
use super::talk::{close, noise, read, write_all};
use crate::house::arp::Arp;
use crate::wire::{Ends, Ethernet, Ip};
use crate::{Keys, Net};
use ::smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use ::smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use ::smoltcp::socket::tcp;
use ::smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use core::cell::RefCell;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use tasks::Tasks;
use world::{Instant, Nic};

/// The stock stack's end of the cable.
#[derive(Default)]
struct Stock {
    arriving: VecDeque<Vec<u8>>,
    leaving: Rc<RefCell<VecDeque<Vec<u8>>>>,
}

struct Arriving(Vec<u8>);
struct Leaving(Rc<RefCell<VecDeque<Vec<u8>>>>);

impl RxToken for Arriving {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Leaving {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.borrow_mut().push_back(frame);
        result
    }
}

impl Device for Stock {
    type RxToken<'a> = Arriving;
    type TxToken<'a> = Leaving;

    fn receive(&mut self, _: ::smoltcp::time::Instant) -> Option<(Arriving, Leaving)> {
        let frame = self.arriving.pop_front()?;
        Some((Arriving(frame), Leaving(self.leaving.clone())))
    }

    fn transmit(&mut self, _: ::smoltcp::time::Instant) -> Option<Leaving> {
        Some(Leaving(self.leaving.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

fn time(now: Instant) -> ::smoltcp::time::Instant {
    ::smoltcp::time::Instant::from_micros((now.nanos() / 1000) as i64)
}

/// Our side: it says again what it hears.
fn echo(net: &Net, tasks: &Tasks) {
    let listener = net.handle().listen(PORT).unwrap();
    tasks.spawn(async move {
        let mut stream = listener.accept().await;
        let mut buffer = [0; 3000];
        while let Ok(some @ 1..) = read(&mut stream, &mut buffer).await {
            write_all(&mut stream, &buffer[..some]).await.unwrap();
        }
        close(&mut stream).await.unwrap();
    });
}

/// The stock side, which calls.
fn client(seed: u64) -> (Stock, Interface, SocketSet<'static>, SocketHandle) {
    let mut stock = Stock::default();
    let mac = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 2]));
    let mut config = Config::new(mac);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut stock, time(Instant::START));
    let address = IpAddress::v4(10, 0, 0, 2);
    interface.update_ip_addrs(|ours| ours.push(IpCidr::new(address, 24)).unwrap());
    let buffer = || tcp::SocketBuffer::new(vec![0; 30_000]);
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
    socket.connect(interface.context(), (IpAddress::v4(10, 0, 0, 1), PORT), 50_000).unwrap();
    (stock, interface, sockets, handle)
}

/// The first sequence numbers of so many calls of a stock stack, one after the other.
pub(super) fn first_numbers(seed: u64, count: u16) -> Vec<u32> {
    let (mut stock, mut interface, mut sockets, handle) = client(seed);
    let (ours, theirs) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let known = Arp { is_reply: true, mac: [2, 0, 0, 0, 0, 1], sender: ours, target: theirs };
    stock.arriving.push_back(known.frame([2, 0, 0, 0, 0, 2]));
    let mut call = |port: u16| {
        interface.poll(time(Instant::START), &mut stock, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.abort();
        interface.poll(time(Instant::START), &mut stock, &mut sockets);
        stock.leaving.borrow_mut().clear();
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(interface.context(), (IpAddress::v4(10, 0, 0, 1), PORT), port).unwrap();
        interface.poll(time(Instant::START), &mut stock, &mut sockets);
        let frame = stock.leaving.borrow_mut().pop_front().expect("a SYN");
        let ethernet = Ethernet::read(&frame).unwrap();
        let packet = Ip::read(ethernet.kind, ethernet.payload).unwrap();
        Ends::read(&packet).unwrap().1.seq.0
    };
    (0..count).map(|number| call(60_000 + number)).collect()
}

/// What our echo gives back to a stock client that says `said` in this weather.
fn echoed(weather: Weather, said: &[u8]) -> Vec<u8> {
    let mut end = End::new(1, &weather);
    let mut net = Net::new(config(1), end.facts(), Keys::new([3; 64]), Instant::START).unwrap();
    let tasks = Tasks::new();
    echo(&net, &tasks);
    let (mut stock, mut interface, mut sockets, handle) = client(weather.seed);
    let (mut now, mut dice, mut flying) = (Instant::START, Dice(weather.seed), BTreeMap::new());
    let (mut written, mut heard, mut number, mut buffer) = (0, Vec::new(), 0, vec![0; 4000]);
    while now < Instant::START + Duration::from_secs(3600) {
        let ours = net.turn(now, &mut end);
        let busy = tasks.turn(now, 1000) > 0;
        interface.poll(time(now), &mut stock, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        while let Ok(some @ 1..) = socket.recv_slice(&mut buffer) {
            heard.extend_from_slice(&buffer[..some]);
        }
        if socket.may_send() {
            written += socket.send_slice(&said[written..]).unwrap();
            if written == said.len() {
                socket.close();
            }
        }
        if !socket.is_active() && written > 0 || socket.state() == tcp::State::TimeWait {
            break;
        }
        interface.poll(time(now), &mut stock, &mut sockets);
        let theirs = interface.poll_at(time(now), &sockets);
        let frames = end.leaving.drain(..).map(|frame| (0, frame)).collect::<Vec<_>>();
        let others = stock.leaving.take().into_iter().map(|frame| (1, frame));
        for (side, frame) in frames.into_iter().chain(others) {
            number += 1;
            if dice.roll(1000) >= weather.lost {
                let late = if dice.roll(1000) < weather.late { dice.roll(20_000) } else { 0 };
                let at = now + Duration::from_millis(weather.delay) + Duration::from_micros(late);
                flying.insert((at, number), (side, frame));
            }
        }
        if !busy && !net.is_busy() {
            let theirs = theirs.map(|at| Instant::from_nanos(at.total_micros() as u64 * 1000));
            let frame = flying.keys().next().map(|(at, _): &(Instant, u64)| *at);
            let next = [ours, theirs, frame].into_iter().flatten().min();
            now = next.unwrap_or(now).max(now + Duration::from_micros(10));
        }
        while let Some(first) = flying.first_entry()
            && first.key().0 <= now
        {
            let (side, frame): (i32, Vec<u8>) = first.remove();
            if side == 0 { stock.arriving.push_back(frame) } else { end.arriving.push_back(frame) }
        }
    }
    heard
}

#[test]
fn a_stock_stack_hears_what_it_said_in_all_weathers() {
    for seed in 0..60 {
        let said = noise(seed, 100_000);
        let (lost, late, delay) = (seed % 5 * 5, seed % 7 * 10, seed % 3 * 10 + 1);
        let weather = Weather { seed, lost, late, delay, ..FAIR };
        let heard = echoed(weather, &said);
        assert!(heard == said, "{} bytes in {weather:?}", heard.len());
    }
}
