//! What visitors of a piñata that ships may do to it, in both worlds: stand between its doors, come in crowds, ask to be
//! called, look at its page, and check its ledger with a script of their own.

use bench::party::Party;
use bench::running::{World, gatehouse};
use bench::tap::Tap;
use bench::visitor::{PINATA, Visitor, count};
use pinata::{DOORS, Door};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BOTH: [World; 2] = [World::Process, World::Machine];

fn hung(world: World, party: &Party) -> Tap {
    // Somebody who has a gateway's address shares it with all who are behind that.
    let words = ["--gateway", "192.0.2.250", "--syslog", "192.0.2.1:5514", "--pinata", "direct"];
    Tap::holding(world, &bench::appliance(), &party.bundle(), &words)
}

const GATEWAY: Visitor = Visitor::number(122);

/// Carries what one says to the other, until it stops; gives all that was said.
fn carry(mut from: TcpStream, mut to: TcpStream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    while let Ok(said @ 1..) = from.read(&mut some) {
        all.extend(&some[..said]);
        if to.write_all(&some[..said]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    all
}

/// Stands between 10002 and 10000, and sees all that passes.
fn stands_between(secret: &[u8]) {
    let visitor = Visitor::number(1);
    let ends = [Door::Client, Door::Server].map(|door| visitor.dial(door.port()).unwrap());
    let [client, server] = &ends;
    let twin = |stream: &TcpStream| stream.try_clone().unwrap();
    let seen = std::thread::scope(|scope| {
        let there = scope.spawn(|| carry(twin(client), twin(server)));
        [carry(twin(server), twin(client)), there.join().unwrap()]
    });
    for bytes in seen {
        assert_eq!(bytes[..2], [22, 3], "a handshake goes both ways");
        assert!(bytes.len() > 1000 && !bytes.windows(8).any(|some| secret.windows(8).any(|s| s == some)));
    }
    let ledger = visitor.ledger_of(2);
    assert_eq!([Door::Client, Door::Server].map(|door| count(&ledger, door, "itself")), [1, 1], "{ledger}");
    assert!(visitor.page("/").contains("It hangs whole."), "nobody was told");
}

/// Asks to be called from a gateway, from one address twice, and from forty at once, where nobody is at home.
fn ask_to_be_called() {
    let knock = |visitor: Visitor| {
        let mut said = Vec::new();
        visitor.dial(Door::CallBack.port()).unwrap().read_to_end(&mut said).unwrap();
        assert_eq!(said, b"");
    };
    let before = GATEWAY.ledger()["attempts"].as_u64().unwrap();
    knock(GATEWAY);
    let ledger = GATEWAY.ledger_of(before + 1);
    assert_eq!(count(&ledger, Door::CallBack, "forbidden_address"), 1, "{ledger}");
    let start = Instant::now();
    (0..2).for_each(|_| knock(Visitor::number(2)));
    std::thread::scope(|scope| {
        (10..50).for_each(|number| drop(scope.spawn(move || knock(Visitor::number(number)))))
    });
    let ledger = GATEWAY.ledger_of(before + 43);
    let [soon, many, called] =
        ["called_too_soon", "too_many_calls", "unanswered"].map(|word| count(&ledger, Door::CallBack, word));
    // Sixteen at once and one more each second; whoever is slow to knock twice is called twice.
    let most = 16 + start.elapsed().as_secs() + 1;
    assert!(soon == 1 || start.elapsed() > Duration::from_secs(10), "{ledger}");
    assert!((16..=most).contains(&called) && many == 42 - soon - called, "{most}: {ledger}");
}

fn asked(tap: &Tap, verb: &str) -> String {
    let asked = gatehouse(&[verb, "--control"]).arg(tap.control()).output().unwrap();
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

fn heap(tap: &Tap) -> u64 {
    let text = asked(tap, "metrics");
    let line = text.lines().find_map(|line| line.strip_prefix("gatehouse_memory_used_bytes "));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// A thousand come at once and say nothing: the page is there meanwhile. Gives what the heap holds afterwards.
fn a_thousand_come(tap: &Tap) -> u64 {
    let visitor = Visitor::number(3);
    tap.among_clients(|| {
        let before = visitor.ledger();
        let come = |number: u16| {
            let door = DOORS[usize::from(number % 2) * 2];
            Visitor::number((number % 100) as u8).dial(door.port()).unwrap()
        };
        let silent: Vec<TcpStream> = (0..1_000).map(come).collect();
        assert!(visitor.page("/").contains("It hangs whole."));
        drop(silent);
        let after = visitor.ledger_of(before["attempts"].as_u64().unwrap() + 1_000);
        let crowded = |ledger| DOORS.iter().map(|door| count(ledger, *door, "crowded")).sum::<u64>();
        assert!(crowded(&after) >= crowded(&before) + 100, "{after}");
    });
    heap(tap)
}

/// What the first thousand make it take stays: the tables. The next find room in them.
fn crowds_do_not_grow_it(tap: &Tap) {
    let first = a_thousand_come(tap);
    let grown = a_thousand_come(tap).saturating_sub(first);
    assert!(grown < 256 << 10, "{grown} bytes more than {first}");
}

/// The ledger has what its readers count on, and nothing else.
fn is_what_it_says(ledger: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(ledger), ["attempts", "chain", "doors", "hours", "since"]);
    assert_eq!(keys(&ledger["chain"]), ["head", "lines", "start"]);
    let words: Vec<&str> = pinata::Outcome::all().map(pinata::Outcome::word).collect();
    let sum = |doors: &Value| {
        assert_eq!(keys(doors), ["10000", "10001", "10002"]);
        let each = doors.as_object().unwrap().values().flat_map(|door| door.as_object().unwrap());
        each.map(|(word, count)| (words.contains(&word.as_str()), count.as_u64().unwrap()))
            .inspect(|(known, _)| assert!(known, "{doors}"))
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    assert_eq!(sum(&ledger["doors"]), ledger["attempts"].as_u64().unwrap());
    let hours = ledger["hours"].as_array().unwrap();
    assert!(hours.iter().all(|hour| keys(hour) == ["doors", "from"]));
    assert_eq!(
        hours.iter().map(|hour| sum(&hour["doors"])).sum::<u64>(),
        ledger["attempts"].as_u64().unwrap()
    );
    let minute = |text: &Value| text.as_str().is_some_and(|text| text.len() == 17 && text.ends_with('Z'));
    assert!(minute(&ledger["since"]) && hours.iter().all(|hour| minute(&hour["from"])), "{ledger}");
}

/// The lines of the ledger that have come to a collector of logs.
fn collected(collector: &UdpSocket) -> Vec<String> {
    let (mut lines, mut letter) = (Vec::new(), [0; 4096]);
    while let Ok(length) = collector.recv(&mut letter) {
        let letter = std::str::from_utf8(&letter[..length]).unwrap();
        let Some((_, text)) = letter.split_once(" - event - ") else { continue };
        let text = serde_json::from_str::<Value>(text).unwrap()["event"].as_str().unwrap().to_owned();
        lines.extend(Some(text).filter(|text| text.starts_with("piñata: ")));
    }
    lines
}

/// What one counts, the other does.
fn metrics_agree(tap: &Tap, ledger: &Value) {
    let metrics = asked(tap, "metrics");
    for (door, words) in ledger["doors"].as_object().unwrap() {
        for (word, count) in words.as_object().unwrap() {
            let line =
                format!("gatehouse_pinata_attempts_total{{door=\"{door}\",outcome=\"{word}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }
}

/// Somebody else's script follows the console to the head, and misses every line that is taken away.
fn chain(tap: &Tap, collector: &UdpSocket) {
    let mut letters = Vec::new();
    let follow = |lines: &[&str], chain: &Value| {
        let mut script = Command::new(bench::top().join("tests/chain.py"));
        script.args(["start", "head"].map(|name| chain[name].as_str().unwrap()));
        let mut script =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        script.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        script.wait_with_output().unwrap().status.success()
    };
    let start = Instant::now();
    loop {
        let (ledger, console) = (tap.among_clients(|| Visitor::number(3).ledger()), tap.said(""));
        let lines: Vec<&str> = console.lines().filter(|line| line.starts_with("piñata: ")).collect();
        letters.extend(collected(collector));
        if lines.len() as u64 != ledger["chain"]["lines"] || letters.len() < lines.len() {
            assert!(start.elapsed() < Duration::from_secs(60), "{ledger}: {console} {letters:?}");
            continue;
        }
        assert!(lines.len() > 2 && follow(&lines, &ledger["chain"]), "{ledger}: {console}");
        for missing in 0..lines.len() {
            let fewer: Vec<&str> = [&lines[..missing], &lines[missing + 1..]].concat();
            assert!(!follow(&fewer, &ledger["chain"]), "without line {}", missing + 1);
        }
        assert_eq!(letters, lines, "the collector has the same");
        metrics_agree(tap, &ledger);
        return is_what_it_says(&ledger);
    }
}

/// The page, in which there is nothing that could run, as a browser shows it; the picture stays in the target folder, to
/// be looked at.
fn browser(tap: &Tap) {
    let page = tap.among_clients(|| Visitor::number(3).page("/")).to_lowercase();
    let runs = ["<script", "javascript:", "onload", "onclick", "onerror", "src=", "http-equiv", "@import"];
    assert!(runs.iter().all(|word| !page.contains(word)), "{page}");
    let shots = bench::built("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let shot = shots.join("pinata.png");
    let _ = std::fs::remove_file(&shot);
    let profile = tempfile::tempdir().unwrap();
    let line = format!(
        "timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
         --disable-background-networking --disable-component-update --user-data-dir={} \
         --window-size=1000,2600 --screenshot={} http://{PINATA}/",
        profile.path().display(),
        shot.display()
    );
    let seen = tap.shell(&line);
    let picture = std::fs::metadata(&shot).map_or(0, |facts| facts.len());
    assert!(picture > 40_000, "{picture} bytes: {}", String::from_utf8_lossy(&seen.stderr));
}

#[test]
fn nothing_that_visitors_do_opens_it_or_keeps_others_from_its_page() {
    let party = Party::default();
    for world in BOTH {
        let tap = hung(world, &party);
        let collector = tap.among_clients(|| UdpSocket::bind("192.0.2.1:5514").unwrap());
        collector.set_nonblocking(true).unwrap();
        tap.among_clients(|| stands_between(party.secret().as_bytes()));
        tap.among_clients(ask_to_be_called);
        crowds_do_not_grow_it(&tap);
        chain(&tap, &collector);
        if world == World::Process {
            browser(&tap);
        }
    }
}
