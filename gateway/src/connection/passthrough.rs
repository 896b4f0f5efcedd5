//! Carries bytes both ways, untouched. Half-close, reset and back-pressure pass through.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::task::coop::consume_budget;

use super::pipe::Pipe;
use crate::model::Reason;
use crate::telemetry::Bytes;

/// Most bytes of one read. A read that fills it is bulk.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// Holds bytes between a read and the write that follows at once. A connection that waits holds none.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Carries bytes until both sides have ended, or one has reset its connection: then both are reset. What a side sent before
/// it reset the connection still reaches the other one.
///
/// # Errors
/// Which side broke.
pub(super) async fn carry(
    mut downstream: TcpStream,
    mut upstream: TcpStream,
    prefix: Vec<u8>,
    bytes: &Bytes,
) -> Result<(), Reason> {
    let outcome = {
        let (from_client, to_client) = downstream.split();
        let (from_server, to_server) = upstream.split();
        let (to_client, to_server) = (to_client.as_ref(), to_server.as_ref());
        let over = AtomicBool::new(false);
        // The first end is passed on; after the second one both connections are closed anyway.
        let end = |sink: &TcpStream| {
            if !over.swap(true, Ordering::Relaxed) {
                // The other side may have gone; then it needs no end.
                let _ = SockRef::from(sink).shutdown(Shutdown::Write);
            }
        };
        let sending = async {
            let sent = pump(from_client, to_server, prefix, &bytes.sent).await;
            sent.map(|()| end(to_server)).map_err(|broken| broken.seen(Reason::ClientReset, Reason::UpstreamReset))
        };
        let receiving = async {
            let received = pump(from_server, to_client, Vec::new(), &bytes.received).await;
            received.map(|()| end(to_client)).map_err(|broken| broken.seen(Reason::UpstreamReset, Reason::ClientReset))
        };
        both(sending, receiving).await
    };
    if outcome.is_err() {
        super::reset(&downstream);
        super::reset(&upstream);
    }
    outcome
}

/// Which end of a direction is broken.
enum Broken {
    Source,
    Sink,
}

/// Why a direction ended early.
struct Cut {
    reason: Reason,
    /// Whether its sink was reset, and may have said something before that is still to be read.
    at_sink: bool,
}

impl Broken {
    fn seen(self, source: Reason, sink: Reason) -> Cut {
        match self {
            Self::Source => Cut { reason: source, at_sink: false },
            Self::Sink => Cut { reason: sink, at_sink: true },
        }
    }
}

/// Waits for both directions. A reset that reading met ends both at once: all that came before it has been read. One that
/// writing met ends the other direction when that has read all, which it does at once.
async fn both(
    sending: impl Future<Output = Result<(), Cut>>,
    receiving: impl Future<Output = Result<(), Cut>>,
) -> Result<(), Reason> {
    let (mut sending, mut receiving) = (pin!(sending), pin!(receiving));
    let (first, sent) = tokio::select! {
        sent = &mut sending => (sent, true),
        received = &mut receiving => (received, false),
    };
    if let Err(Cut { reason, at_sink: false }) = first {
        return Err(reason);
    }
    let second = if sent { receiving.await } else { sending.await };
    first.and(second).map_err(|cut| cut.reason)
}

/// How much a source had.
enum Moved {
    /// A message, which is cheaper to copy.
    Little,
    /// Bulk, which is cheaper to move inside the kernel.
    Much,
    /// It has ended.
    Ended,
}

/// Carries one direction to the end of its source.
async fn pump(mut source: ReadHalf<'_>, sink: &TcpStream, prefix: Vec<u8>, count: &AtomicU64) -> Result<(), Broken> {
    write(sink, &prefix).await?;
    count.fetch_add(prefix.len() as u64, Ordering::Relaxed);
    drop(prefix);
    let mut bulk = false;
    loop {
        let moved =
            if bulk { splice(source.as_ref(), sink, count).await? } else { copy(&mut source, sink, count).await? };
        match moved {
            Moved::Little => bulk = false,
            Moved::Much => bulk = true,
            Moved::Ended => return Ok(()),
        }
    }
}

/// Copies through this thread's buffer: one read, one write.
async fn copy(source: &mut ReadHalf<'_>, sink: &TcpStream, count: &AtomicU64) -> Result<Moved, Broken> {
    let carried = poll_fn(|cx| {
        BUFFER.with_borrow_mut(|bytes| {
            let mut buffer = ReadBuf::new(bytes);
            ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer)).map_err(|_| Broken::Source)?;
            let read = buffer.filled();
            count.fetch_add(read.len() as u64, Ordering::Relaxed);
            let moved = match read.len() {
                0 => return Poll::Ready(Ok((Moved::Ended, Vec::new()))),
                SCRATCH => Moved::Much,
                _ => Moved::Little,
            };
            let written = match sink.try_write(read) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return Poll::Ready(Err(Broken::Sink)),
            };
            Poll::Ready(Ok((moved, read[written..].to_vec())))
        })
    });
    let (moved, left) = carried.await?;
    write(sink, &left).await?;
    Ok(moved)
}

async fn write(sink: &TcpStream, mut bytes: &[u8]) -> Result<(), Broken> {
    while !bytes.is_empty() {
        match sink.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => sink.writable().await.map_err(|_| Broken::Sink)?,
            Err(_) => return Err(Broken::Sink),
        }
    }
    Ok(())
}

/// Moves bytes through a pipe, by reference to the kernel's pages, until the source has no more for now.
async fn splice(source: &TcpStream, sink: &TcpStream, count: &AtomicU64) -> Result<Moved, Broken> {
    source.readable().await.map_err(|_| Broken::Source)?;
    let Ok(mut pipe) = Pipe::take() else {
        // No descriptor is left for a pipe.
        return Ok(Moved::Little);
    };
    let mut total = 0;
    let moved = loop {
        match source.try_io(Interest::READABLE, || pipe.fill(source)) {
            Ok(0) => break Moved::Ended,
            Ok(filled) => total += filled,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                break if total < SCRATCH / 4 { Moved::Little } else { Moved::Much };
            }
            Err(_) => return Err(Broken::Source),
        }
        while pipe.holds() > 0 {
            match sink.try_io(Interest::WRITABLE, || pipe.drain(sink)) {
                Ok(drained) => count.fetch_add(drained as u64, Ordering::Relaxed),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    sink.writable().await.map_err(|_| Broken::Sink)?;
                    continue;
                }
                Err(_) => return Err(Broken::Sink),
            };
        }
        // A fast source must not keep the other flows waiting.
        consume_budget().await;
    };
    pipe.keep();
    Ok(moved)
}
