//! A TAP device as its host sees it: every frame between the appliance and its network, for `--pcap`.
//!
//! The appliance writes no file: as a process it has locked itself in, and QEMU's own recording of a TAP device holds more
//! than frames. So the launcher looks from beside, through a packet socket, which needs a right that nothing else here
//! needs. Nobody waits for it: frames for which it is too slow are missing in the file.

use crate::pcap::Recorder;
use crate::watch::{Watch, Watched};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use futures_io::AsyncRead;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, SockaddrLike, bind, setsockopt, socket,
    sockopt,
};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use world::LARGEST_FRAME;

/// Bytes of frames that wait in the kernel while we are busy.
const QUEUE: usize = 8 << 20;
/// Frames that are written before others have their turn.
const BREATH: usize = 256;

/// Why a TAP device cannot be watched, and what would help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSight {
    #[error(
        "--pcap needs the right to see all of {0}: be root, or give this program CAP_NET_RAW, or leave --pcap out and \
         let somebody who may run `tcpdump -i {0} -w FILE`"
    )]
    NotAllowed(String),
    #[error("there is no {0}: `ip tuntap add dev {0} mode tap vnet_hdr user you` makes it")]
    Missing(String),
    #[error("{0} cannot be watched: {1}")]
    Kernel(String, io::Error),
}

/// A TAP device under observation. What passes from now on is seen.
pub(crate) struct Sight(File);

impl Sight {
    pub(crate) fn of(tap: &str) -> Result<Self, NoSight> {
        let no_sight = |error: Errno| match error {
            Errno::EPERM | Errno::EACCES => NoSight::NotAllowed(tap.to_owned()),
            error => NoSight::Kernel(tap.to_owned(), error.into()),
        };
        let place = place(tap).map_err(no_sight)?.ok_or_else(|| NoSight::Missing(tap.to_owned()))?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).map_err(no_sight)?;
        bind(socket.as_raw_fd(), &place).map_err(no_sight)?;
        // A smaller queue is no reason to see nothing.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &QUEUE);
        Ok(Self(socket.into()))
    }

    /// The task that writes down what it sees.
    pub(crate) fn record(
        self,
        mut recorder: Recorder,
        watch: &Watch,
    ) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut socket = watch.socket(self.0)?;
        Ok(async move {
            let mut frame = vec![0; LARGEST_FRAME];
            while let Ok(()) = write_down(&mut socket, &mut recorder, &mut frame).await {}
        })
    }
}

/// The device's place among the kernel's.
fn place(tap: &str) -> nix::Result<Option<LinkAddr>> {
    let of_it = |one: nix::ifaddrs::InterfaceAddress| {
        let address = one.address.filter(|_| one.interface_name == tap)?;
        address.as_link_addr().copied().filter(|link| link.family() == Some(AddressFamily::Packet))
    };
    Ok(getifaddrs()?.find_map(of_it))
}

/// Some frames; what was written reaches the file whenever there is nothing to see.
async fn write_down(socket: &mut Watched<File>, recorder: &mut Recorder, frame: &mut [u8]) -> io::Result<()> {
    let mut left = BREATH;
    poll_fn(|context| {
        while left > 0 {
            left -= 1;
            match Pin::new(&mut *socket).poll_read(context, frame) {
                Poll::Pending => {
                    recorder.flush();
                    return Poll::Pending;
                }
                // A device that is down for a while comes again.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NetworkDown => {}
                Poll::Ready(seen) => recorder.frame(frame.get(..seen?).unwrap_or_default()),
            }
        }
        left = BREATH;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
