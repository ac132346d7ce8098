use super::*;
use crate::store::tests::Pretend;
use dma::pretend::Domain;

const NAME: &str = "org.openmirage.entropy.2";

struct Host {
    beneath: Rc<Pretend>,
    store: Store,
    domain: Domain,
    channels: Channels,
}

impl Host {
    fn new() -> Self {
        let (beneath, domain) = (Pretend::new(), Domain::new(0, 64));
        let giver = domain.clone();
        let memory: Memory = Rc::new(move |bytes| giver.pages(bytes));
        let channels = Channels::new(beneath.clone(), Rc::new(domain.grants()), memory);
        Self { store: beneath.store(), beneath, domain, channels }
    }

    fn console(&self, number: u32, name: &str) {
        let back = format!("/local/domain/0/backend/console/5/{number}");
        for (at, value) in [("backend", back.as_str()), ("backend-id", "0"), ("state", "1"), ("name", name)] {
            self.beneath.set(&format!("device/console/{number}/{at}"), value);
        }
        self.beneath.set(&format!("{back}/state"), "2");
    }

    fn look(&mut self) {
        self.channels.look(&mut self.store);
    }

    /// The page of a channel, as its back end maps it.
    fn page(&self, number: u32) -> Pages {
        let grant = self.beneath.at(&format!("device/console/{number}/ring-ref")).unwrap();
        self.domain.granted(grant.parse().unwrap()).unwrap().0
    }
}

fn say(page: &Pages, bytes: &[u8]) {
    let at = page.load32(3076);
    page.write((at % 1024) as usize, bytes);
    page.store32(3076, at + bytes.len() as u32);
}

#[test]
fn a_channel_is_found_by_its_name_whatever_its_number() {
    let mut host = Host::new();
    host.console(0, "");
    host.console(7, NAME);
    host.look();
    assert_eq!(host.channels.find("gatehouse.control"), None);
    let channel = host.channels.find(NAME).unwrap();
    assert_eq!(host.beneath.at("device/console/7/state").as_deref(), Some("4"));
    let (mut bytes, page) = ([0; 16], host.page(7));
    assert!(host.channels.listen(), "there is news");
    assert_eq!(host.channels.hear(channel, &mut bytes), Heard::Opened);
    assert_eq!(host.channels.hear(channel, &mut bytes), Heard::Nothing);
    assert!(!host.channels.listen());
    say(&page, b"seed");
    assert!(host.channels.listen());
    assert_eq!(host.channels.hear(channel, &mut bytes), Heard::Bytes(4));
    assert_eq!(&bytes[..4], b"seed");
    assert_eq!(host.channels.tell(channel, b"more"), 4);
    let mut said = [0; 4];
    page.read(1024, &mut said);
    assert_eq!(&said, b"more");
}

#[test]
fn what_a_full_channel_does_not_take_is_waited_for() {
    let mut host = Host::new();
    host.console(1, NAME);
    host.look();
    let channel = host.channels.find(NAME).unwrap();
    let page = host.page(1);
    assert_eq!(host.channels.hear(channel, &mut [0; 4]), Heard::Opened);
    assert_eq!(host.channels.tell(channel, &[7; 3000]), 2048);
    assert_eq!(host.channels.tell(channel, &[7; 952]), 0);
    assert!(!host.channels.listen());
    page.store32(3080, 100);
    assert!(host.channels.listen());
    assert_eq!(host.channels.tell(channel, &[7; 952]), 100);
}

#[test]
fn the_end_and_the_next_beginning_are_told_once_each() {
    let mut host = Host::new();
    host.console(1, NAME);
    host.look();
    let channel = host.channels.find(NAME).unwrap();
    assert_eq!(host.channels.hear(channel, &mut [0; 4]), Heard::Opened);
    let open = host.domain.open();
    host.beneath.set("/local/domain/0/backend/console/5/1/state", "6");
    host.look();
    assert_eq!(host.domain.open(), open - 1, "its page is ours again");
    assert_eq!(host.beneath.at("device/console/1/state").as_deref(), Some("6"));
    host.beneath.set("/local/domain/0/backend/console/5/1/state", "2");
    host.look();
    let heard: Vec<Heard> = (0..3).map(|_| host.channels.hear(channel, &mut [0; 4])).collect();
    assert_eq!(heard, [Heard::Closed, Heard::Opened, Heard::Nothing]);
    assert_eq!(host.channels.find(NAME), Some(channel), "it is the same one");
}

#[test]
fn a_channel_that_comes_late_and_one_that_goes_for_ever_are_seen() {
    let mut host = Host::new();
    host.look();
    assert_eq!(host.channels.find(NAME), None);
    host.console(3, NAME);
    host.look();
    let channel = host.channels.find(NAME).unwrap();
    assert_eq!(host.channels.hear(channel, &mut [0; 4]), Heard::Opened);
    host.beneath.remove("device/console/3");
    host.look();
    assert_eq!(host.channels.hear(channel, &mut [0; 4]), Heard::Closed);
    assert_eq!(
        (host.channels.hear(channel, &mut [0; 4]), host.channels.tell(channel, b"x")),
        (Heard::Nothing, 0)
    );
    assert_eq!(host.channels.ports().count(), 0);
}

#[test]
fn a_lie_shuts_one_channel_and_no_other() {
    let mut host = Host::new();
    host.console(1, NAME);
    host.console(2, "gatehouse.control");
    host.look();
    let [one, two] = [NAME, "gatehouse.control"].map(|name| host.channels.find(name).unwrap());
    for channel in [one, two] {
        assert_eq!(host.channels.hear(channel, &mut [0; 4]), Heard::Opened);
    }
    host.page(1).store32(3076, 9_999);
    assert!(host.channels.listen());
    assert_eq!(host.channels.hear(one, &mut [0; 4]), Heard::Closed);
    host.look();
    assert_eq!(host.channels.hear(one, &mut [0; 4]), Heard::Nothing, "it stays shut");
    say(&host.page(2), b"ab");
    assert_eq!(host.channels.hear(two, &mut [0; 4]), Heard::Bytes(2));
}

#[test]
fn there_are_only_so_many() {
    let mut host = Host::new();
    (0..40).for_each(|number| host.console(number, &format!("name {number}")));
    host.look();
    assert_eq!(host.channels.ports().count(), MOST);
}
