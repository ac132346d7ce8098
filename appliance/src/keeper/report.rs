//! The report: how the appliance is, in words for an operator and in numbers for Prometheus.

mod rows;

pub(super) use rows::ledger;

use super::doors::Rooms;
use super::figures::Tally;
use super::party::Party;
use super::well;
use core::fmt::{Display, Write as _};
use entropy::pool::Diet;
use entropy::protocol::Version;
use net::Figures;

/// What the appliance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Its doors are open.
    Serving,
    /// They are shut, and those who are inside finish.
    Draining,
    /// The same, and then it ends.
    Stopping,
}

impl Mood {
    const fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// Everything that a report is made of.
pub(super) struct Report<'a> {
    pub(super) mood: Mood,
    pub(super) tally: &'a Tally,
    pub(super) net: Figures,
    pub(super) rooms: &'a Rooms,
    pub(super) party: Option<&'a Party>,
    pub(super) memory: usize,
}

impl Report<'_> {
    /// For people.
    pub(super) fn words(&self) -> String {
        let (net, up) = (&self.net, self.tally.up().as_secs());
        let time = format!("{}:{:02}:{:02}", up / 3600, up / 60 % 60, up % 60);
        let kib = runtime::heap::in_use() / 1024;
        let refused = net.refused + net.evicted + self.tally.turned_away();
        format!(
            "gatehouse {}: {}, up {time}\n\
             connections  {} open, {} so far, {} half open, {refused} refused or replaced\n\
             handshakes   {} done, {} failed\n\
             memory       {kib} KiB of {} MiB in use\n\
             entropy      {}, fed {} times\n",
            env!("CARGO_PKG_VERSION"),
            self.mood.word(),
            net.open,
            net.accepted,
            net.half_open,
            self.tally.handshakes(),
            self.tally.failed(),
            self.memory >> 20,
            diet(),
            well::provenance().reseeds,
        )
    }

    /// For Prometheus.
    pub(super) fn numbers(&self) -> String {
        let (net, mut page) = (&self.net, Page(String::with_capacity(8192)));
        let entropy = well::provenance();
        page.gauge("up_seconds", "Time since the appliance began.", self.tally.up().as_secs());
        page.gauge("serving", "1 while the doors are open.", u8::from(self.mood == Mood::Serving));
        page.gauge("memory_used_bytes", "Bytes of the heap in use.", runtime::heap::in_use());
        page.gauge("memory_limit_bytes", "Bytes that the heap may come to.", self.memory);
        page.gauge("connections_open", "Connections alive, asleep or awake.", net.open);
        page.gauge("connections_awake", "Connections that are awake.", net.awake);
        page.gauge("connections_half_open", "Handshakes of TCP under way.", net.half_open);
        page.gauge("connections_bytes", "Bytes that connections use.", net.bytes);
        for (name, about, value) in [
            ("connections_accepted", "Connections that were accepted.", net.accepted),
            ("connections_made", "Connections that were made outward.", net.connected),
            ("connections_evicted", "Connections ended because there was no room for all.", net.evicted),
            ("connections_refused", "Connections refused because there was no room.", net.refused),
            ("connections_vanished", "Connections whose peer took nothing for too long.", net.vanished),
            (
                "connections_turned_away",
                "Connections ended because memory was short.",
                self.tally.turned_away(),
            ),
            ("frames_received", "Frames that came in.", net.frames_in),
            ("frames_sent", "Frames that went out.", net.frames_out),
            ("frames_lost", "Frames lost because the interface was busy.", net.frames_lost),
            ("frames_malformed", "Frames and packets that break the rules.", net.malformed),
            ("cookies", "Cookies given to half-done handshakes.", net.cookies),
            ("challenges", "Segments answered with where we are.", net.challenges),
            ("resets", "Resets sent where nobody listens.", net.resets),
            ("addresses_taken", "Addresses that somebody else had already.", net.taken),
            ("handshakes_done", "Handshakes of TLS that became a session.", self.tally.handshakes()),
            ("handshakes_failed", "Handshakes of TLS that did not.", self.tally.failed()),
            ("reloads", "Bundles that took another one's place.", self.tally.reloads().0),
            ("reloads_refused", "Bundles that were offered and could not.", self.tally.reloads().1),
            ("entropy_reseeds", "How often the host has fed the pool.", entropy.reseeds),
            (
                "entropy_credited_bytes",
                "Entropy of the host that passed the health tests and was counted, 8 bits to a byte.",
                entropy.credited / 8,
            ),
            (
                "entropy_complaints",
                "What there was to complain of the host.",
                entropy.complaints.iter().sum(),
            ),
            ("entropy_refused", "Draws refused between a copy and the next seed.", entropy.refused),
            ("copies", "Times that this machine was copied or put back in time.", entropy.forks),
        ] {
            page.counter(name, about, value);
        }
        page.gauge("entropy_fed", "1 while the host feeds the pool.", u8::from(entropy.diet == Diet::Fed));
        page.gauge("entropy_age_seconds", "Time since the pool took a seed up.", entropy.age.as_secs());
        let version = entropy.host.map_or(0, |version| if version == Version::One { 1 } else { 2 });
        page.gauge("entropy_version", "Version of the protocol that the host speaks; 0 for none.", version);
        self.tally.journal.numbers(|place| self.rooms.site_name(place), &mut page.0);
        rows::upstreams(&self.rooms.house().sites, &mut page);
        if let Some(party) = self.party {
            party.numbers(&mut page);
        }
        page.0
    }
}

fn diet() -> &'static str {
    match well::diet() {
        Diet::Starving => "not yet fed by the host",
        Diet::Fed => "fed by the host",
        Diet::Stale => "not fed for a while",
    }
}

/// A page in the format that Prometheus reads.
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn gauge(&mut self, name: &str, about: &str, value: impl Display) {
        self.head(name, about, "gauge");
        let _ = writeln!(self.0, "gatehouse_{name} {value}");
    }

    pub(super) fn counter(&mut self, name: &str, about: &str, value: impl Display) {
        self.head(&format!("{name}_total"), about, "counter");
        let _ = writeln!(self.0, "gatehouse_{name}_total {value}");
    }

    /// A sample of the family whose head was written last.
    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let one = |(label, value): &(&str, &str)| format!("{label}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(one).collect();
        let _ = writeln!(self.0, "gatehouse_{name}{{{}}} {value}", labels.join(","));
    }

    fn head(&mut self, name: &str, about: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP gatehouse_{name} {about}\n# TYPE gatehouse_{name} {kind}");
    }
}

/// What is said within quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
