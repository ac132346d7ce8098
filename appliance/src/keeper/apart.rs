//! What a connection to an upstream holds of the memory, measured at each of its steps.
//!
//! It is opened in the step of a visitor, rests when that one has its answer, and serves others afterwards. So what it
//! takes and gives back in the middle of their steps is its own: it stands in an account of its own connection, by which
//! the stack judges who goes when memory is short.

use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use http::{Presence, Wire};
use net::Account;
use std::io;
use std::rc::Rc;

/// Something of which each step, its end among them, is booked in an account.
pub(super) struct Apart<T> {
    /// There until the end.
    inner: Option<T>,
    account: Rc<Account>,
}

impl<T> Apart<T> {
    pub(super) fn new(inner: T, account: Rc<Account>) -> Self {
        Self { inner: Some(inner), account }
    }

    fn step<O>(&mut self, step: impl FnOnce(&mut T) -> Poll<io::Result<O>>) -> Poll<io::Result<O>> {
        let Self { inner, account } = self;
        let Some(inner) = inner else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        account.apart(|| step(inner))
    }
}

impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        let inner = self.inner.take();
        self.account.apart(|| drop(inner));
    }
}

impl<F: Future> Future for Apart<Pin<Box<F>>> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { inner, account } = &mut *self;
        let Some(inner) = inner else { return Poll::Pending };
        account.apart(|| inner.as_mut().poll(context))
    }
}

impl<W: Wire> Wire for Apart<W> {
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step(|inner| inner.poll_finish(context))
    }

    fn presence(&mut self, context: &mut Context<'_>) -> Presence {
        let Self { inner, account } = self;
        inner.as_mut().map_or(Presence::Gone, |inner| account.apart(|| inner.presence(context)))
    }
}

impl<W: Wire> AsyncRead for Apart<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.step(|inner| Pin::new(inner).poll_read(context, into))
    }
}

impl<W: Wire> AsyncWrite for Apart<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.step(|inner| Pin::new(inner).poll_write(context, from))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step(|inner| Pin::new(inner).poll_flush(context))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step(|inner| Pin::new(inner).poll_close(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use net::{Config, Keys, Net};
    use world::{Instant, NicFacts, Offload};

    thread_local! {
        static HEAP: Cell<usize> = const { Cell::new(0) };
    }

    fn take(bytes: isize) {
        HEAP.set(HEAP.get().wrapping_add_signed(bytes));
    }

    /// A stream of which each read takes a hundred bytes and each write gives thirty back; the rest goes with it.
    struct Dear(isize);

    impl Dear {
        fn takes(&mut self, bytes: isize) -> Poll<io::Result<usize>> {
            self.0 += bytes;
            take(bytes);
            Poll::Ready(Ok(1))
        }
    }

    impl Drop for Dear {
        fn drop(&mut self) {
            take(-self.0);
        }
    }

    impl Wire for Dear {
        fn presence(&mut self, _: &mut Context<'_>) -> Presence {
            Presence::There
        }
    }

    impl AsyncRead for Dear {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            self.takes(100)
        }
    }

    impl AsyncWrite for Dear {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.takes(-30)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_a_line_takes_in_somebodys_step_is_the_lines_and_goes_with_it() {
        let config = Config { meter: || HEAP.get(), ..Config::default() };
        let facts = NicFacts { mac: [2; 6], mtu: 1500, offload: Offload::default() };
        let net = Net::new(config, facts, Keys::new([1; 64]), Instant::START).unwrap();
        let (visitor, account) = (net.handle().account(), net.handle().account());
        let before = visitor.meter();
        let context = &mut Context::from_waker(core::task::Waker::noop());
        let mut line = Apart::new(Dear(0), account.clone());
        let mut step = |line: &mut Apart<Dear>, reads| {
            let mut line = Pin::new(line);
            let read = if reads {
                line.as_mut().poll_read(context, &mut [0])
            } else {
                line.as_mut().poll_write(context, &[0])
            };
            assert!(matches!(read, Poll::Ready(Ok(1))));
        };
        step(&mut line, true);
        step(&mut line, true);
        take(7);
        step(&mut line, false);
        assert_eq!((account.held(), visitor.meter() - before), (170, 7));
        drop(line);
        assert_eq!((account.held(), visitor.meter() - before), (0, 7), "its end is a step");
        let call = Apart::new(Box::pin(async { Dear(0).takes(50) }), account.clone());
        drop(call);
        assert_eq!((account.held(), visitor.meter() - before), (0, 7));
    }
}
