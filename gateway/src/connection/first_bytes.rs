use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::farewell::farewell;
use crate::detect::{self, Detection, MAX_PREFIX};
use crate::model::{Limits, Protocol, Reason};

/// A caller that sends nothing for this long waits for the server to speak first.
const SILENCE: Duration = Duration::from_millis(200);

/// Longest wait for more bytes once the first ones have come.
const HESITATION: Duration = Duration::from_secs(3);

/// Bytes to read at once: a ClientHello with a post-quantum key share has about 1.8 KB.
const AT_ONCE: usize = 4096;

/// Who speaks first on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Unknown, and Egret does not look.
    Opaque,
    /// The caller. Egret waits for what it says, which decides what happens to the connection.
    Caller,
    /// Either side may speak first.
    Either,
}

/// Reads until the protocol is known. Returns it with the bytes that were read, which the third party must get. A caller that is
/// sure to speak first must do so within [`Limits::first_byte`], and say what it speaks within [`Limits::request_head`], however
/// slowly.
///
/// # Errors
/// Why nothing was read.
pub(super) async fn read(
    downstream: &mut TcpStream,
    first: First,
    limits: &Limits,
) -> Result<(Protocol, Vec<u8>), Reason> {
    let mut prefix = Vec::new();
    if first == First::Opaque {
        return Ok((Protocol::Opaque, prefix));
    }
    let mut limit = Instant::now() + if first == First::Caller { limits.first_byte } else { SILENCE };
    let mut end = None;
    loop {
        prefix.reserve(AT_ONCE);
        match timeout_at(limit, downstream.read_buf(&mut prefix)).await {
            Err(_) if first == First::Caller && prefix.is_empty() => return Err(Reason::NoFirstByte),
            Err(_) => return Ok((Protocol::Opaque, prefix)),
            Ok(Err(_)) => return Err(Reason::ClientReset),
            // An orderly end: the bytes before it, and the end, are carried.
            Ok(Ok(0)) => return Ok((Protocol::Opaque, prefix)),
            Ok(Ok(_)) => {}
        }
        let looked = &prefix[..prefix.len().min(MAX_PREFIX)];
        match detect::protocol(looked) {
            Detection::Done(protocol) => {
                // Where the requests are Egret's to read, so is the ClientHello.
                let reads = first == First::Caller && matches!(protocol, Protocol::Tls { sni: None, .. });
                return match reads.then(|| detect::alert(looked)).flatten() {
                    Some(alert) => Err(refuse(downstream, &alert).await),
                    None => Ok((protocol, prefix)),
                };
            }
            Detection::Incomplete => {}
        }
        let now = Instant::now();
        limit = (now + HESITATION).min(*end.get_or_insert(now + limits.request_head));
    }
}

/// Tells a caller why its ClientHello is refused.
async fn refuse(downstream: &mut TcpStream, alert: &[u8]) -> Reason {
    if downstream.write_all(alert).await.is_ok() {
        farewell(downstream, true).await;
    }
    Reason::DownstreamTls
}
