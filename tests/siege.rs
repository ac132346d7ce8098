//! Hordes that want to be dear, before what ships with as little memory as it runs in: it lives, serves, and gives back.

use bench::horde::{Horde, KINDS, PROXIED, figure, is_served, rest};
use bench::tap::Tap;
use bench::upstream::{Upstream, proxy, until};
use std::time::Duration;

/// Connections of a horde. Of those who ask for large files over HTTP/2 and read nothing as many ended an appliance of
/// nine megabytes while each was counted as twelve kilobytes.
const MANY: u32 = 240;
/// The same before a machine that is emulated, of each kind.
const FEW: u32 = 96;
/// The kinds that take most.
const DEAREST: [&str; 3] = ["streams", "hello", "heads"];

#[test]
fn no_horde_of_any_kind_uses_up_the_memory_and_all_of_it_comes_back() {
    let tap = Tap::limited(9);
    let before = figure(&tap, "heap in use").unwrap();
    for kind in KINDS {
        let horde = Horde::of(&tap, kind, MANY);
        assert!(is_served(&tap, Duration::from_secs(60)), "{kind}: nobody is served: {}", tap.said(""));
        horde.leaves();
        let after = rest(&tap, before + 512);
        assert!(after <= before + 512, "{kind}: {before} KiB at first, {after} KiB afterwards");
    }
    let most = figure(&tap, "heap at most").unwrap();
    assert!(most < 9 * 1024 * 7 / 8, "{most} KiB at once");
}

#[test]
fn a_machine_of_sixteen_megabytes_outlives_the_dearest_together() {
    let tap = Tap::machine(16);
    let before = figure(&tap, "heap in use").unwrap();
    let hordes = DEAREST.map(|kind| Horde::of(&tap, kind, FEW));
    assert!(is_served(&tap, Duration::from_secs(120)), "nobody is served: {}", tap.said(""));
    hordes.into_iter().for_each(Horde::leaves);
    let after = rest(&tap, before + 1024);
    assert!(after <= before + 1024, "{before} KiB at first, {after} KiB afterwards: {}", tap.said(""));
}

#[test]
fn a_machine_of_sixteen_megabytes_outlives_those_who_are_dear_at_its_upstream() {
    let more = "strip = true\nidle-seconds = 1\ntls = { authorities = \"tls/ca.pem\", name = \"localhost\" }";
    let tap = Tap::machine_with(16, &proxy("/up/", 8443, more).replace("http://", "https://"));
    let paper = |name: &str| tap.folder().join("site/tls").join(name).to_string_lossy().into_owned();
    let upstream = Upstream::odd_with(&tap, 8443, &[&paper("localhost.pem"), &paper("localhost.key")]);
    let before = figure(&tap, "heap in use").unwrap();
    let hordes = PROXIED.map(|kind| Horde::of(&tap, kind, FEW));
    assert!(is_served(&tap, Duration::from_secs(120)), "nobody is served: {}", tap.said(""));
    hordes.into_iter().for_each(Horde::leaves);
    let after = rest(&tap, before + 1024);
    assert!(after <= before + 1024, "{before} KiB at first, {after} KiB afterwards: {}", tap.said(""));
    let open = || upstream.count("opened") - upstream.count("over");
    until(|| open() == 0, || format!("{} connections to the upstream are left", open()));
}
