//! What arrives: frames, packets, and to whom they belong.

use super::Stack;
use crate::house::arp::Arp;
use crate::house::echo;
use crate::house::ndp::{ICMPV6, Ndp};
use crate::house::report::Report;
use crate::out::Parcel;
use crate::wire::{Ends, Ethernet, Ip, Kind, Malformed, ip, udp};
use std::net::IpAddr;
use world::{Checksum, Help};

impl Stack {
    /// Takes one frame. Nothing that is malformed, or not for us alone, is ever answered.
    pub(super) fn arrive(&mut self, frame: &[u8], checksum: Checksum) {
        let Some(ethernet) = Ethernet::read(frame) else { return self.figures.malformed += 1 };
        if ethernet.from[0] & 1 != 0 || ethernet.from == self.neighbours.mac() {
            return self.figures.malformed += 1;
        }
        let for_all = ethernet.to[0] & 1 != 0;
        if !for_all && ethernet.to != self.neighbours.mac() {
            return;
        }
        match ethernet.kind {
            Kind::Arp => self.arrive_arp(&ethernet),
            Kind::V4 | Kind::V6 => self.arrive_ip(&ethernet, for_all, checksum),
            Kind::Other => {}
        }
    }

    fn arrive_arp(&mut self, frame: &Ethernet<'_>) {
        let Some(arp) = Arp::read(frame) else { return self.figures.malformed += 1 };
        self.arrive_claim(&arp);
        let sender = IpAddr::V4(arp.sender);
        self.neighbours.hear(self.now, sender, arp.mac, arp.is_reply, &mut self.out);
        let addresses = &self.neighbours.addresses;
        let target = IpAddr::V4(arp.target);
        // Whoever asks from nowhere wants to know if an address is free: all are, but those that are ours by name.
        let claimed = addresses.is_own(target) || !arp.sender.is_unspecified();
        let ours = addresses.has(target) && claimed && arp.sender != arp.target;
        // A way out that cannot find us is nobody's way in: it does not wait behind a storm.
        let router = addresses.gateways.contains(&sender);
        if !arp.is_reply && ours && (router || self.answers.allows(self.now)) {
            self.neighbours.note_caller(sender);
            let mac = self.neighbours.mac();
            let reply = Arp { is_reply: true, mac, sender: arp.target, target: arp.sender };
            self.out.push(Parcel { frame: reply.frame(arp.mac), help: Help::default() });
        }
    }

    fn arrive_ip(&mut self, frame: &Ethernet<'_>, for_all: bool, checksum: Checksum) {
        let packet = match Ip::read(frame.kind, frame.payload) {
            Ok(packet) => packet,
            Err(Malformed::Fragment) => return self.figures.fragments += 1,
            Err(Malformed::Broken) => return self.figures.malformed += 1,
        };
        if packet.protocol == ICMPV6 {
            return self.arrive_icmp6(frame, for_all, &packet);
        }
        if packet.protocol == ip::HOP_BY_HOP && packet.to.is_ipv6() {
            return self.arrive_query(&packet);
        }
        if packet.protocol == udp::UDP && self.arrive_dhcp(&packet, checksum) {
            return;
        }
        let addresses = &self.neighbours.addresses;
        if for_all || addresses.is_broadcast(packet.to) || !addresses.has(packet.to) {
            return;
        }
        if !ip::is_host(packet.from) || addresses.is_own(packet.from) || addresses.is_broadcast(packet.from) {
            return self.figures.malformed += 1;
        }
        match packet.protocol {
            ip::TCP => self.arrive_tcp(&packet, checksum),
            udp::UDP => self.arrive_udp(&packet, checksum),
            echo::ICMP => self.arrive_icmp(&packet),
            _ => {}
        }
    }

    fn arrive_tcp(&mut self, packet: &Ip<'_>, checksum: Checksum) {
        if checksum == Checksum::Unknown && !Ends::sum_is_right(packet) {
            return self.figures.malformed += 1;
        }
        let Some((ends, segment)) = Ends::read(packet) else { return self.figures.malformed += 1 };
        if segment.is_absurd() || ends.is_land() || !ends.has_a_peer() {
            return self.figures.malformed += 1;
        }
        self.arrive_segment(ends, &segment);
    }

    fn arrive_icmp6(&mut self, frame: &Ethernet<'_>, for_all: bool, packet: &Ip<'_>) {
        if echo::start(packet, packet.from, packet.to).add(packet.payload).checksum() != 0 {
            return self.figures.malformed += 1;
        }
        self.arrive_advertisement(packet);
        match Ndp::read(packet) {
            Some(ndp) => self.arrive_ndp(frame, packet, &ndp),
            None if !for_all && self.is_for_us_alone(packet) => self.arrive_icmp(packet),
            None => {}
        }
    }

    fn is_for_us_alone(&self, packet: &Ip<'_>) -> bool {
        let addresses = &self.neighbours.addresses;
        let to_us = addresses.has(packet.to) && !packet.to.is_multicast();
        to_us && ip::is_host(packet.from) && !addresses.is_own(packet.from)
    }

    fn arrive_ndp(&mut self, frame: &Ethernet<'_>, packet: &Ip<'_>, ndp: &Ndp) {
        let IpAddr::V6(from) = packet.from else { return };
        let mac = ndp.mac.unwrap_or(frame.from);
        if self.arrive_doubt(frame.from, from, ndp) {
            return;
        }
        if ndp.is_answer {
            return self.neighbours.hear(self.now, IpAddr::V6(ndp.target), mac, true, &mut self.out);
        }
        self.neighbours.hear(self.now, packet.from, mac, false, &mut self.out);
        let target = IpAddr::V6(ndp.target);
        let ours = self.neighbours.addresses.has(target) && target != packet.from;
        if ours && !from.is_unspecified() && !from.is_multicast() && self.answers.allows(self.now) {
            self.neighbours.note_caller(packet.from);
            let answer = Ndp { is_answer: true, ..*ndp };
            let frame = answer.frame(self.neighbours.mac(), mac, ndp.target, from);
            self.out.push(Parcel { frame, help: Help::default() });
        }
    }

    fn arrive_icmp(&mut self, packet: &Ip<'_>) {
        if echo::start(packet, packet.from, packet.to).add(packet.payload).checksum() != 0 {
            return self.figures.malformed += 1;
        }
        match Report::read(packet) {
            Some(report) => self.arrive_report(&report),
            None => self.arrive_echo(packet),
        }
    }

    fn arrive_echo(&mut self, packet: &Ip<'_>) {
        if packet.payload.len() + 40 > self.mtu(packet.from) || !self.echoes.allows(self.now) {
            return;
        }
        let mut frame = self.out.start(packet.from);
        if echo::answer(packet, &mut frame) {
            let parcel = Parcel { frame, help: Help::default() };
            self.out.route(self.now, &mut self.neighbours, packet.from, parcel);
        }
    }
}
