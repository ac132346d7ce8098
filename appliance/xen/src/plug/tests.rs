use super::*;
use crate::beneath::{Beneath, Memory};
use crate::store::tests::Pretend;
use dma::pretend::Domain;
use std::rc::Rc;

const BACK: &str = "/local/domain/0/backend/vif/5/0";

fn device(host: &Pretend, number: u32, back: &str) {
    for (name, value) in
        [("backend", back), ("backend-id", "3"), ("mac", "00:16:3e:00:00:10"), ("state", "1")]
    {
        host.set(&format!("device/vif/{number}/{name}"), value);
    }
    for name in ["feature-sg", "feature-gso-tcpv4", "feature-ipv6-csum-offload", "online"] {
        host.set(&format!("{back}/{name}"), "1");
    }
    host.set(&format!("{back}/state"), "2");
}

fn plugged() -> (Rc<Pretend>, Store, Plug, Net, Domain) {
    let host = Pretend::new();
    device(&host, 0, BACK);
    let (mut store, domain) = (host.store(), Domain::new(3, 1024));
    let First { mut plug, mac, mtu, offer, .. } = Plug::find(&mut store).unwrap();
    assert_eq!((mac, mtu), ([0, 0x16, 0x3e, 0, 0, 0x10], 1500));
    let (beneath, giver): (Rc<dyn Beneath>, _) = (host.clone(), domain.clone());
    let memory: Memory = Rc::new(move |bytes| giver.pages(bytes));
    let mut net = Net::new(beneath, &Rc::new(domain.grants()), &memory, mac, mtu, offer).unwrap();
    assert_eq!(plug.turn(&mut store, &mut net).as_deref(), Some("the network is plugged in"));
    (host, store, plug, net, domain)
}

fn state(host: &Pretend, number: u32) -> Option<String> {
    host.at(&format!("device/vif/{number}/state"))
}

#[test]
fn it_says_how_it_is_reached_and_then_that_it_is_connected() {
    let (host, mut store, mut plug, mut net, domain) = plugged();
    for name in ["tx-ring-ref", "rx-ring-ref"] {
        let grant = host.at(&format!("device/vif/0/{name}")).unwrap().parse().unwrap();
        assert!(domain.granted(grant).is_some());
    }
    let port = host.at("device/vif/0/event-channel").unwrap();
    assert_eq!(net.port().unwrap().0.to_string(), port);
    assert_eq!(host.at("device/vif/0/request-rx-copy").as_deref(), Some("1"));
    assert_eq!(state(&host, 0).as_deref(), Some("4"));
    assert_eq!(plug.turn(&mut store, &mut net), None, "the back end has not looked yet");
    host.set(&format!("{BACK}/state"), "4");
    assert_eq!(plug.turn(&mut store, &mut net), None);
    assert!(net.port().is_some());
}

#[test]
fn a_back_end_that_leaves_and_means_to_come_back_is_met_again() {
    let (host, mut store, mut plug, mut net, _) = plugged();
    host.set(&format!("{BACK}/state"), "4");
    let _ = plug.turn(&mut store, &mut net);
    host.set(&format!("{BACK}/state"), "5");
    assert_eq!(plug.turn(&mut store, &mut net).as_deref(), Some("the network's back end left"));
    assert_eq!((state(&host, 0).as_deref(), net.port()), (Some("6"), None));
    host.set(&format!("{BACK}/state"), "6");
    assert_eq!(plug.turn(&mut store, &mut net), None, "that was said");
    assert_eq!(state(&host, 0).as_deref(), Some("1"));
    host.set(&format!("{BACK}/state"), "2");
    assert_eq!(plug.turn(&mut store, &mut net).as_deref(), Some("the network is plugged in"));
    assert_eq!(state(&host, 0).as_deref(), Some("4"));
}

#[test]
fn a_device_that_is_taken_away_is_not_asked_back() {
    let (host, mut store, mut plug, mut net, _) = plugged();
    host.set(&format!("{BACK}/online"), "0");
    host.set(&format!("{BACK}/state"), "5");
    let _ = plug.turn(&mut store, &mut net);
    host.set(&format!("{BACK}/state"), "6");
    let _ = plug.turn(&mut store, &mut net);
    assert_eq!(state(&host, 0).as_deref(), Some("6"));
    host.remove("device/vif/0");
    host.remove(BACK);
    let _ = plug.turn(&mut store, &mut net);
    assert_eq!(net.port(), None);
    device(&host, 1, "/local/domain/0/backend/vif/5/1");
    assert_eq!(plug.turn(&mut store, &mut net).as_deref(), Some("the network is plugged in"));
    assert_eq!(state(&host, 1).as_deref(), Some("4"));
}

#[test]
fn a_back_end_that_begins_anew_without_a_word_is_asked_to_meet_again() {
    let (host, mut store, mut plug, mut net, _) = plugged();
    host.set(&format!("{BACK}/state"), "4");
    let _ = plug.turn(&mut store, &mut net);
    host.set(&format!("{BACK}/state"), "2");
    let said = plug.turn(&mut store, &mut net);
    assert_eq!(said.as_deref(), Some("the network's back end began anew"));
    for (theirs, ours) in [("2", "6"), ("4", "6"), ("5", "6"), ("6", "1"), ("6", "1")] {
        host.set(&format!("{BACK}/state"), theirs);
        assert_eq!(plug.turn(&mut store, &mut net), None, "{theirs}");
        assert_eq!((state(&host, 0).as_deref(), net.port()), (Some(ours), None), "{theirs}");
    }
    host.set(&format!("{BACK}/state"), "2");
    assert!(plug.turn(&mut store, &mut net).is_some() && net.port().is_some());
}

#[test]
fn a_back_end_that_is_on_its_way_to_us_has_not_begun_anew() {
    let (host, mut store, mut plug, mut net, _) = plugged();
    for theirs in ["2", "3", "2", "4"] {
        host.set(&format!("{BACK}/state"), theirs);
        assert_eq!(plug.turn(&mut store, &mut net), None, "{theirs}");
        assert_eq!((state(&host, 0).as_deref(), net.port().is_some()), (Some("4"), true), "{theirs}");
    }
}

/// The grant of a ring, as we wrote it down.
fn ring(host: &Pretend, name: &str) -> u32 {
    host.at(&format!("device/vif/0/{name}-ring-ref")).unwrap().parse().unwrap()
}

#[test]
fn memory_that_is_held_is_waited_for_and_nothing_is_shown_before() {
    let (host, mut store, mut plug, mut net, domain) = plugged();
    domain.hold(ring(&host, "rx"), true);
    for (theirs, ours) in [("5", "6"), ("6", "6"), ("6", "6")] {
        host.set(&format!("{BACK}/state"), theirs);
        let _ = plug.turn(&mut store, &mut net);
        assert_eq!((state(&host, 0).as_deref(), net.port()), (Some(ours), None));
        assert_eq!(plug.is_held(), theirs == "6");
    }
    domain.hold(ring(&host, "rx"), false);
    assert_eq!(plug.turn(&mut store, &mut net), None);
    assert_eq!((state(&host, 0).as_deref(), plug.is_held()), (Some("1"), false));
    host.set(&format!("{BACK}/state"), "2");
    assert_eq!(plug.turn(&mut store, &mut net).as_deref(), Some("the network is plugged in"));
}

/// A driver that was bound anew found the rings of before written down, and has taken them up already.
#[test]
fn a_back_end_that_waits_with_our_memory_in_its_hands_is_told_to_close_first() {
    let (host, mut store, mut plug, mut net, domain) = plugged();
    net.detach();
    plug.stage = Stage::Free;
    domain.hold(ring(&host, "tx"), true);
    assert_eq!(plug.turn(&mut store, &mut net).as_deref(), Some(HELD));
    assert_eq!((state(&host, 0).as_deref(), net.port()), (Some("6"), None));
    domain.hold(ring(&host, "tx"), false);
    for (theirs, ours) in [("4", "6"), ("5", "6"), ("6", "1"), ("2", "4")] {
        host.set(&format!("{BACK}/state"), theirs);
        let _ = plug.turn(&mut store, &mut net);
        assert_eq!((state(&host, 0).as_deref(), net.port().is_some()), (Some(ours), ours == "4"), "{theirs}");
    }
}

#[test]
fn a_back_end_that_lied_is_not_met_again_before_it_is_replaced() {
    let (host, mut store, mut plug, mut net, _) = plugged();
    net.detach();
    plug.shut(&mut store);
    for now in ["5", "6", "2", "2"] {
        host.set(&format!("{BACK}/state"), now);
        let _ = plug.turn(&mut store, &mut net);
        assert_eq!((state(&host, 0).as_deref(), net.port()), (Some("6"), None), "{now}");
    }
    device(&host, 0, "/local/domain/9/backend/vif/5/0");
    let _ = plug.turn(&mut store, &mut net);
    assert!(net.port().is_some());
}

#[test]
fn papers_that_make_no_sense_are_no_device() {
    for (path, odd) in [
        ("device/vif/0/mac", "00:16:3e:00:00"),
        ("device/vif/0/mac", "01:16:3e:00:00:10"),
        ("device/vif/0/mac", "00:00:00:00:00:00"),
        ("device/vif/0/backend-id", "32752"),
        ("device/vif/0/backend-id", "-1"),
        ("/local/domain/0/backend/vif/5/0/state", "9"),
    ] {
        let host = Pretend::new();
        device(&host, 0, BACK);
        host.set(path, odd);
        assert!(Plug::find(&mut host.store()).is_none(), "{path} {odd}");
    }
}

#[test]
fn an_address_that_the_host_writes_down_is_found() {
    let host = Pretend::new();
    device(&host, 0, BACK);
    assert_eq!(Plug::find(&mut host.store()).unwrap().address, None);
    host.set(&format!("{BACK}/ip"), "192.0.2.7/24");
    assert_eq!(Plug::find(&mut host.store()).unwrap().address.as_deref(), Some("192.0.2.7/24"));
}
