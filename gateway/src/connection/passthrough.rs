//! Bytes both ways, untouched: half-close, reset and back-pressure pass through.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::model::Reason;
use crate::telemetry::Bytes;

const BUFFER: usize = 64 * 1024;

/// Carries until both sides have ended, or one is broken: then both are reset.
pub(super) async fn carry(
    mut downstream: TcpStream,
    mut upstream: TcpStream,
    prefix: &[u8],
    bytes: &Bytes,
) -> Result<(), Reason> {
    // Loopback to the workload has nothing to gain from Nagle's algorithm.
    let _ = downstream.set_nodelay(true);
    let outcome = {
        let (from_client, to_client) = downstream.split();
        let (from_server, to_server) = upstream.split();
        let sending = async {
            pump(from_client, to_server, prefix, &bytes.sent).await.map_err(|broken| match broken {
                Broken::Source => Reason::ClientReset,
                Broken::Sink => Reason::UpstreamReset,
            })
        };
        let receiving = async {
            pump(from_server, to_client, &[], &bytes.received).await.map_err(|broken| match broken {
                Broken::Source => Reason::UpstreamReset,
                Broken::Sink => Reason::ClientReset,
            })
        };
        tokio::try_join!(sending, receiving).map(|_| ())
    };
    if outcome.is_err() {
        super::reset(&downstream);
        super::reset(&upstream);
    }
    outcome
}

enum Broken {
    Source,
    Sink,
}

/// One direction. The buffer exists only while bytes are in it: idle connections cost none.
async fn pump(source: ReadHalf<'_>, mut sink: WriteHalf<'_>, prefix: &[u8], count: &AtomicU64) -> Result<(), Broken> {
    if !prefix.is_empty() {
        sink.write_all(prefix).await.map_err(|_| Broken::Sink)?;
        count.fetch_add(prefix.len() as u64, Ordering::Relaxed);
    }
    loop {
        source.readable().await.map_err(|_| Broken::Source)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            match source.try_read_buf(&mut buffer) {
                Ok(0) => {
                    // The other side may have gone; then it needs no end.
                    let _ = sink.shutdown().await;
                    return Ok(());
                }
                Ok(read) => {
                    sink.write_all(&buffer).await.map_err(|_| Broken::Sink)?;
                    count.fetch_add(read as u64, Ordering::Relaxed);
                    buffer.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(Broken::Source),
            }
        }
    }
}
