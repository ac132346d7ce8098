//! What Xen does for its guests, as the rest of this world asks for it; a test puts another in its place.

use crate::call;
use crate::shared::Shared;
use dma::Pages;
use std::rc::Rc;

/// Where zeroed pages come from: so many bytes, or none.
pub type Memory = Rc<dyn Fn(usize) -> Option<Pages>>;

/// One end of an event channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u32);

/// The hypervisor.
pub trait Beneath {
    /// A new port for that domain to bind to.
    fn allocate(&self, domain: u16) -> Option<Port>;

    /// Closes a port.
    fn close(&self, port: Port);

    /// Tells whoever is at the other end of a port to look.
    fn notify(&self, port: Port);

    /// True once for each time that the port was marked; many marks before the question count as one.
    fn fired(&self, port: Port) -> bool;

    /// Sleeps until one of the ports is marked, or until that moment, in nanoseconds.
    fn sleep(&self, ports: &[Port], until: Option<u64>);

    /// The time in nanoseconds; it never goes back.
    fn now(&self) -> u64;
}

/// The real one.
pub(crate) struct Xen(pub(crate) Rc<Shared>);

/// So many ports fit one call (and Xen's own limit is 128).
const MOST: usize = 64;

impl Beneath for Xen {
    fn allocate(&self, domain: u16) -> Option<Port> {
        call::allocate(domain).map(Port)
    }

    fn close(&self, port: Port) {
        call::close(port.0);
        self.0.take(port.0);
    }

    fn notify(&self, port: Port) {
        call::send(port.0);
    }

    fn fired(&self, port: Port) -> bool {
        self.0.take(port.0)
    }

    fn sleep(&self, ports: &[Port], until: Option<u64>) {
        let mut numbers = [0; MOST];
        let count = ports.len().min(MOST);
        numbers.iter_mut().zip(ports).for_each(|(number, port)| *number = port.0);
        // Zero would be for ever.
        let until = until.map_or(0, |until| until.max(1));
        call::poll(numbers.get(..count).unwrap_or_default(), until);
    }

    fn now(&self) -> u64 {
        self.0.now(call::counter())
    }
}
