//! Answers that are there before the body of their request is: real clients see them, whoever gives them.

use bench::tap::Tap;
use bench::upstream::{BOTH, Upstream, proxy, text};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Uploads of each kind; GATEHOUSE_MUCH says another number.
const COUNT: usize = 12;

/// Keeps the machine busy meanwhile: a client that is late is what these answers are lost to.
fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    std::hint::spin_loop();
                }
            });
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, SeqCst);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn an_answer_that_does_not_wait_for_the_body_reaches_a_real_client() {
    let count = std::env::var("GATEHOUSE_MUCH").map_or(COUNT, |much| much.parse().unwrap());
    let sheet = [
        proxy("/up/", 8000, "strip = true"),
        proxy("/dead/", 8001, ""),
        proxy("/small/", 8000, "body-mib = 1\nstrip = true"),
    ];
    let tap = Tap::with(&sheet.concat());
    let _upstream = Upstream::odd(&tap, 8000);
    let folder = tap.folder().display();
    for (name, size) in [("page", 100_000), ("film", 8 << 20)] {
        std::fs::write(tap.folder().join(name), vec![b'x'; size]).unwrap();
    }
    let mut lost = Vec::new();
    beside_others(|| {
        for version in BOTH {
            for (path, body, status) in [
                ("/", "film", &["405"][..]),
                ("/up/no", "page", &["413"]),
                ("/up/no", "film", &["413"]),
                ("/up/no-more", "page", &["413"]),
                ("/dead/", "film", &["502", "503"]),
                ("/small/echo", "film", &["413"]),
            ] {
                let line = format!(
                    "seq {count} | xargs -P4 -I{{}} curl -s -m 20 {version} --cacert {folder}/site/tls/ca.pem \
                     --connect-to localhost:443:192.0.2.7:443 -H Expect: -o {folder}/said-{{}} -w '%{{http_code}} %{{exitcode}}\\n' \
                     --data-binary @{folder}/{body} https://localhost{path} | sort | uniq -c"
                );
                let said = text(&tap.shell(&line));
                println!("{version} {path} {body}, {status:?} wanted:\n{said}");
                // curl 7.88 now and then has an answer over HTTP/2 and sleeps on (28).
                let good = |line: &&str| status.contains(&line.split_whitespace().nth(1).unwrap_or("none"));
                let good =
                    said.lines().filter(good).filter(|line| line.ends_with(" 0") || line.ends_with(" 28"));
                let good: usize =
                    good.filter_map(|line| line.split_whitespace().next()?.parse::<usize>().ok()).sum();
                if good < count {
                    lost.push(format!("{version} {path} {body}: {} of {count}\n{said}", count - good));
                }
            }
        }
    });
    assert!(lost.is_empty(), "lost:\n{}", lost.concat());
}
