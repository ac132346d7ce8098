use super::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// A hypervisor and a xenstored, in the hands of a test. Whenever anybody sleeps, the daemon works.
pub(crate) struct Pretend {
    page: Pages,
    requests: RefCell<(Inward, Reader)>,
    answers: RefCell<Outward>,
    unsaid: RefCell<Vec<u8>>,
    pub(crate) tree: RefCell<BTreeMap<String, String>>,
    pub(crate) watches: RefCell<Vec<(String, String)>>,
    pub(crate) mute: Cell<bool>,
    pub(crate) clock: Cell<u64>,
    pub(crate) ports: RefCell<Vec<u32>>,
    pub(crate) told: RefCell<Vec<u32>>,
}

impl Pretend {
    pub(crate) fn new() -> Rc<Self> {
        let page = Pages::in_process(4096);
        Rc::new(Self {
            requests: RefCell::new((Inward::new(page.clone(), REQUESTS), Reader::default())),
            answers: RefCell::new(Outward::new(page.clone(), ANSWERS)),
            page,
            unsaid: RefCell::default(),
            tree: RefCell::default(),
            watches: RefCell::default(),
            mute: Cell::default(),
            clock: Cell::default(),
            ports: RefCell::default(),
            told: RefCell::default(),
        })
    }

    pub(crate) fn store(self: &Rc<Self>) -> Store {
        Store::new(self.clone(), self.page.clone(), Port(1))
    }

    pub(crate) fn set(&self, path: &str, value: &str) {
        self.tree.borrow_mut().insert(path.to_owned(), value.to_owned());
        let watches = self.watches.borrow().clone();
        for (watched, word) in watches {
            if path.starts_with(&watched) {
                self.say(Kind::News, 0, format!("{path}\0{word}\0").as_bytes());
            }
        }
    }

    pub(crate) fn remove(&self, path: &str) {
        self.tree.borrow_mut().retain(|at, _| !at.starts_with(path));
        self.set(path, "");
        self.tree.borrow_mut().remove(path);
    }

    pub(crate) fn at(&self, path: &str) -> Option<String> {
        self.tree.borrow().get(path).cloned()
    }

    pub(crate) fn say(&self, kind: Kind, number: u32, payload: &[u8]) {
        self.unsaid.borrow_mut().extend(wire::request(kind, number, &[payload]).unwrap());
    }

    /// Does everything that was asked.
    pub(crate) fn work(&self) {
        let mut messages = Vec::new();
        {
            let (inward, reader) = &mut *self.requests.borrow_mut();
            let mut piece = [0; 1024];
            let count = inward.read(&mut piece).unwrap();
            reader.take(&piece[..count]);
            while let Some(message) = reader.next().unwrap() {
                messages.push(message);
            }
        }
        messages.into_iter().for_each(|message| self.answer(&message));
        let mut unsaid = self.unsaid.borrow_mut();
        let taken = self.answers.borrow_mut().write(&unsaid).unwrap();
        unsaid.drain(..taken);
    }

    fn answer(&self, message: &Message) {
        let words: Vec<&str> = core::str::from_utf8(&message.payload).unwrap().split('\0').collect();
        let answer = match message.kind {
            Kind::Read => self.at(words[0]),
            Kind::Write => {
                self.set(words[0], words[1]);
                Some("OK".into())
            }
            Kind::Directory => {
                let prefix = format!("{}/", words[0]);
                let tree = self.tree.borrow();
                let below = tree.keys().filter_map(|path| path.strip_prefix(&prefix)?.split('/').next());
                let mut names: Vec<&str> = below.collect();
                names.dedup();
                Some(names.iter().map(|name| format!("{name}\0")).collect())
            }
            Kind::Watch => {
                self.watches.borrow_mut().push((words[0].into(), words[1].into()));
                self.say(Kind::News, 0, format!("{}\0{}\0", words[0], words[1]).as_bytes());
                Some("OK".into())
            }
            Kind::Unwatch => {
                self.watches.borrow_mut().retain(|watch| *watch != (words[0].into(), words[1].into()));
                Some("OK".into())
            }
            _ => None,
        };
        if !self.mute.get() {
            match answer {
                Some(answer) => self.say(message.kind, message.number, answer.as_bytes()),
                None => self.say(Kind::Error, message.number, b"ENOENT\0"),
            }
        }
    }
}

impl Beneath for Pretend {
    fn allocate(&self, _: u16) -> Option<Port> {
        let port = 10 + self.ports.borrow().len() as u32;
        self.ports.borrow_mut().push(port);
        Some(Port(port))
    }

    fn close(&self, port: Port) {
        self.ports.borrow_mut().iter_mut().filter(|open| **open == port.0).for_each(|open| *open = 0);
    }

    fn notify(&self, port: Port) {
        self.told.borrow_mut().push(port.0);
    }

    fn fired(&self, _: Port) -> bool {
        false
    }

    fn sleep(&self, _: &[Port], _: Option<u64>) {
        self.clock.set(self.clock.get() + 1_000_000);
        self.work();
    }

    fn now(&self) -> u64 {
        self.clock.get()
    }
}

#[test]
fn it_reads_writes_lists_and_is_told_no() {
    let host = Pretend::new();
    let mut store = host.store();
    host.set("device/vif/0/mac", "00:16:3e:00:00:10");
    host.set("device/vif/0/state", "1");
    host.set("device/vif/3/state", " 4 ");
    assert_eq!(store.read("device/vif/0/mac").as_deref(), Ok("00:16:3e:00:00:10"));
    assert_eq!(store.list("device/vif"), Ok(vec!["0".to_owned(), "3".to_owned()]));
    assert_eq!(store.number::<u32>("device/vif/3/state"), Ok(4));
    assert_eq!(store.number::<u32>("device/vif/0/mac"), Err(Unanswered::No));
    assert_eq!(store.read("device/vbd"), Err(Unanswered::No));
    assert_eq!(store.write("device/vif/0/state", "4"), Ok(()));
    assert_eq!(host.at("device/vif/0/state").as_deref(), Some("4"));
}

#[test]
fn what_is_longer_than_the_ring_goes_in_pieces() {
    let host = Pretend::new();
    let mut store = host.store();
    let long = "x".repeat(4000);
    assert_eq!(store.write("a", &long), Ok(()));
    assert_eq!(store.read("a"), Ok(long));
    assert_eq!(store.write("a", &"x".repeat(4096)), Err(Unanswered::No));
}

#[test]
fn news_of_a_thousand_changes_are_one() {
    let host = Pretend::new();
    let mut store = host.store();
    store.watch("device/vif", Subject::Network).unwrap();
    host.work();
    assert!(store.news().of(Subject::Network), "the first come at once");
    assert!(!store.news().of(Subject::Network));
    (0..1_000).for_each(|at| host.set("device/vif/0/state", &at.to_string()));
    host.set("device/console/1/state", "4");
    let mut times = 0;
    for _ in 0..200 {
        host.work();
        let news = store.news();
        assert!(!news.of(Subject::Consoles));
        times += usize::from(news.of(Subject::Network));
    }
    assert!(times > 0);
    assert_eq!(store.news(), News::default());
    store.unwatch("device/vif", Subject::Network).unwrap();
    host.set("device/vif/0/state", "9");
    host.work();
    assert_eq!(store.news(), News::default());
}

/// The host says that something has changed in the same breath as it answers, before or behind the answer.
#[test]
fn news_that_come_with_an_answer_are_not_slept_on() {
    for behind in [false, true] {
        let host = Pretend::new();
        let mut store = host.store();
        host.set("a", "1");
        let news = |number| host.say(Kind::News, number, b"device/vif/0/state\0b\0");
        if behind {
            // The answer to the first question, and the news behind it.
            host.mute.set(true);
            host.say(Kind::Read, 1, b"1");
        }
        news(0);
        assert_eq!(store.read("a").as_deref(), Ok("1"));
        host.work();
        assert!(store.has_news(), "behind the answer: {behind}");
        assert!(store.news().of(Subject::Network) && !store.has_news());
    }
}

#[test]
fn a_silent_store_is_given_up_and_its_late_answer_dropped() {
    let host = Pretend::new();
    let mut store = host.store();
    host.set("a", "1");
    host.set("b", "2");
    host.mute.set(true);
    assert_eq!(store.read("a"), Err(Unanswered::Silent));
    assert!(host.clock.get() >= PATIENCE);
    host.mute.set(false);
    host.say(Kind::Read, 1, b"1");
    assert_eq!(store.read("b").as_deref(), Ok("2"));
}

#[test]
fn a_lie_ends_it_and_is_told_once() {
    let host = Pretend::new();
    let mut store = host.store();
    host.page.store32(2060, 5_000);
    assert!(matches!(store.read("a"), Err(Unanswered::Lied(_))));
    assert!(store.lie().is_some() && store.lie().is_none());
    host.page.store32(2060, 0);
    assert_eq!(store.read("a"), Err(Unanswered::Silent));
    assert_eq!(store.news(), News::default());
}

#[test]
fn a_store_that_takes_half_a_request_is_asked_no_more() {
    let host = Pretend::new();
    let mut store = host.store();
    // A full ring that nobody empties.
    let stuck = Pages::in_process(4096);
    let beneath: Rc<dyn Beneath> = host.clone();
    let mut other = Store::new(beneath, stuck, Port(1));
    assert_eq!(other.write("a", &"x".repeat(3000)), Err(Unanswered::Silent));
    let before = host.clock.get();
    assert_eq!(other.read("a"), Err(Unanswered::Silent));
    assert_eq!(host.clock.get(), before, "at once");
    assert_eq!(store.read("a"), Err(Unanswered::No), "the other one is well");
}
