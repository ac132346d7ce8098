//! Frames: what a network interface takes and gives.

/// The longest frame that crosses the border: a coalesced or segmentable 64 KiB packet and its Ethernet header.
pub const LARGEST_FRAME: usize = 65_536 + 18;

/// A network interface: Ethernet frames in and out, each one copied.
pub trait Nic {
    /// What is true of this interface for as long as it lives.
    fn facts(&self) -> NicFacts;

    /// Copies the next frame into `frame`, which holds [`LARGEST_FRAME`] bytes. A frame that does not fit, or that
    /// breaks the rules of the device, is dropped and counted by the world.
    fn receive(&mut self, frame: &mut [u8]) -> Option<Received>;

    /// Queues one frame. [`Full`] means try again after [`Nic::flush`] and a turn of the loop; it never blocks.
    ///
    /// # Errors
    /// When the queue is full.
    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full>;

    /// Tells the device of everything queued since the last call: one kick for many frames.
    fn flush(&mut self);
}

/// What is true of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicFacts {
    /// Our hardware address.
    pub mac: [u8; 6],
    /// The largest IP packet that fits a frame.
    pub mtu: usize,
    /// What the device will do for us on the way out.
    pub offload: Offload,
}

/// What a device does to outgoing frames on request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// It completes TCP and UDP checksums whose pseudo-header part is filled in.
    pub checksum: bool,
    /// It cuts large TCP segments over IPv4.
    pub tcp4: bool,
    /// It cuts large TCP segments over IPv6.
    pub tcp6: bool,
}

/// A frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length.
    pub len: usize,
    /// What is known of its transport checksum.
    pub checksum: Checksum,
}

/// What the device says of an incoming frame's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing: verify it.
    Unknown,
    /// It was verified on the way.
    Verified,
    /// It was never completed, because the frame comes from the host itself; there is nothing to verify.
    Partial,
}

/// What is asked of the device for one outgoing frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// Complete the checksum: it starts at `.0` bytes into the frame and lies `.1` bytes further.
    pub checksum: Option<(u16, u16)>,
    /// Cut the frame into segments.
    pub segment: Option<Segments>,
}

/// How a large frame is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// What it carries.
    pub kind: Segment,
    /// Bytes of Ethernet, IP and TCP header to repeat before each piece.
    pub header: u16,
    /// Bytes of payload in each piece.
    pub size: u16,
}

/// What a large frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// The device's queue is full: nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;
