//! A console: two rings of bytes in one page (Xen's `io/console.h`). The machine's own console is one, and so is each
//! named channel.

use crate::beneath::{Beneath, Port};
use crate::pipe::{Inward, Outward, Place};
use core::cell::RefCell;
use dma::{HostLied, Pages};
use std::rc::Rc;

const IN: Place = Place { at: 0, size: 1024, consumed: 3072, produced: 3076 };
const OUT: Place = Place { at: 1024, size: 2048, consumed: 3080, produced: 3084 };

/// One console, and who is told when we read or write.
pub(crate) struct Console {
    beneath: Rc<dyn Beneath>,
    port: Port,
    inward: Inward,
    outward: Outward,
}

impl Console {
    /// The console in a page.
    pub(crate) fn new(beneath: Rc<dyn Beneath>, page: Pages, port: Port) -> Self {
        let (inward, outward) = (Inward::new(page.clone(), IN), Outward::new(page, OUT));
        Self { beneath, port, inward, outward }
    }

    /// Its port.
    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// Whether anything waits to be heard.
    pub(crate) fn has_more(&self) -> Result<bool, HostLied> {
        self.inward.waiting().map(|count| count > 0)
    }

    /// Bytes that it would take now.
    pub(crate) fn room(&self) -> Result<usize, HostLied> {
        self.outward.room()
    }

    /// Copies out what came, and says how many bytes that were.
    pub(crate) fn hear(&mut self, into: &mut [u8]) -> Result<usize, HostLied> {
        let count = self.inward.read(into)?;
        self.tell_of(count);
        Ok(count)
    }

    /// Copies in what it takes, and says how many bytes that were.
    pub(crate) fn tell(&mut self, bytes: &[u8]) -> Result<usize, HostLied> {
        let count = self.outward.write(bytes)?;
        self.tell_of(count);
        Ok(count)
    }

    fn tell_of(&self, count: usize) {
        if count > 0 {
            self.beneath.notify(self.port);
        }
    }
}

thread_local! {
    static MOUTH: RefCell<Option<Console>> = const { RefCell::new(None) };
}

/// Takes the machine's own console into use: from now on everything that is said is said there.
pub(crate) fn open(console: Console) {
    MOUTH.set(Some(console));
    boot::speak_through(say);
}

/// Says it all or nothing. What terminals show as a new line takes two characters here.
fn say(bytes: &[u8]) -> bool {
    MOUTH.with(|mouth| {
        let Ok(mut mouth) = mouth.try_borrow_mut() else { return false };
        let Some(console) = mouth.as_mut() else { return false };
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
        if console.room().is_ok_and(|room| room >= bytes.len() + ends) {
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, b"\r\n"));
                let _ = console.outward.write(text).and_then(|_| console.outward.write(end));
            }
            console.tell_of(bytes.len());
            return true;
        }
        false
    })
}
