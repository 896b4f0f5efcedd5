//! The end of a connection whose caller may still be sending: a reset would overtake the last response (RFC 9112 §9.6).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// For how long a caller may go on sending in all, and for how long it may pause.
const LONGEST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(5);

/// How many bytes it may send.
const MOST: usize = 1 << 30;

/// Room for what is read and discarded.
const ROOM: usize = 16 << 10;

/// Ends the sending side. While the caller may still be sending, reads and discards what comes until it has read the end
/// or used up what it may send.
pub(super) async fn farewell(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), is_sending: bool) {
    if stream.shutdown().await.is_err() || !is_sending {
        return;
    }
    let (mut room, mut left, end) = (vec![0; ROOM], MOST, Instant::now() + LONGEST);
    while left > 0 {
        let limit = end.min(Instant::now() + PAUSE);
        match timeout_at(limit, stream.read(&mut room)).await {
            Ok(Ok(read @ 1..)) => left = left.saturating_sub(read),
            _ => return,
        }
    }
}
