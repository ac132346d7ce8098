//! Streams as the layers above use them.

use super::cable::{Cable, FAIR};
use super::talk::{close, echo, read, read_to_end, serve, write_all};
use core::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

#[test]
fn what_is_said_is_echoed_and_both_halves_close() {
    let mut cable = Cable::new(FAIR);
    serve(&cable, 7, echo);
    let (handle, done) = (cable.nets[1].handle(), Rc::new(Cell::new(0)));
    for number in 0..40_u8 {
        let (handle, done) = (handle.clone(), done.clone());
        cable.tasks.spawn(async move {
            let remote = SocketAddr::from(([10, 0, 0, 1], 7));
            let mut stream = handle.connect(None, remote).await.unwrap();
            assert_eq!(stream.peer(), remote);
            let said: Vec<u8> = (0..10_000).map(|at: u32| number ^ at.to_le_bytes()[0]).collect();
            write_all(&mut stream, &said).await.unwrap();
            close(&mut stream).await.unwrap();
            assert!(read_to_end(&mut stream).await.unwrap() == said);
            done.set(done.get() + 1);
        });
    }
    cable.run(|| done.get() == 40);
    assert_eq!(cable.nets[0].handle().figures().accepted, 40);
}

/// A server that does not want all of a question answers and resets.
#[test]
fn what_was_said_before_a_reset_is_read_by_who_has_called_and_by_nobody_else() {
    for calls in [true, false] {
        let mut cable = Cable::new(FAIR);
        let (timers, over) = (cable.tasks.timers().clone(), Rc::new(Cell::new(false)));
        let (far, told) = (timers.clone(), over.clone());
        let says = move |mut stream: crate::Stream| {
            let timers = far.clone();
            async move {
                write_all(&mut stream, b"no").await.unwrap();
                timers.after(core::time::Duration::from_millis(300)).await;
                stream.abort();
            }
        };
        let hears = move |mut stream: crate::Stream| {
            let (timers, told) = (timers.clone(), told.clone());
            async move {
                timers.after(core::time::Duration::from_secs(2)).await;
                let mut bytes = [0; 1];
                let mut heard = Vec::new();
                let end = loop {
                    match read(&mut stream, &mut bytes).await {
                        Ok(1) => heard.push(bytes[0]),
                        end => break end,
                    }
                };
                assert_eq!(heard, if calls { &b"no"[..] } else { b"" });
                assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
                told.set(true);
            }
        };
        let (handle, tasks) = (cable.nets[1].handle(), cable.tasks.clone());
        let called = async move { handle.connect(None, SocketAddr::from(([10, 0, 0, 1], 7))).await.unwrap() };
        if calls {
            serve(&cable, 7, says);
            tasks.spawn(async move { hears(called.await).await });
        } else {
            serve(&cable, 7, hears);
            tasks.spawn(async move { says(called.await).await });
        }
        cable.run(|| over.get());
    }
}

#[test]
fn a_port_has_one_listener_until_it_is_dropped() {
    let cable = Cable::new(FAIR);
    let handle = cable.nets[0].handle();
    let listener = handle.listen(80).unwrap();
    assert_eq!(handle.listen(80).err().map(|taken| taken.0), Some(80));
    drop(listener);
    assert!(handle.listen(80).is_ok());
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    let mut cable = Cable::new(FAIR);
    let (handle, refused) = (cable.nets[1].handle(), Rc::new(Cell::new(false)));
    let told = refused.clone();
    cable.tasks.spawn(async move {
        let failed = handle.connect(None, SocketAddr::from(([10, 0, 0, 1], 9))).await.err();
        told.set(failed == Some(crate::ConnectError::Refused));
    });
    cable.run(|| refused.get());
}
