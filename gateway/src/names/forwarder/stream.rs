//! DNS over TCP (RFC 7766): messages with their lengths, in any order, both ways until one side is silent for too long.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Asked, Exit, Forwarder, PATIENCE, add};

/// Longest silence of both sides.
const IDLE: Duration = Duration::from_secs(60);

impl Forwarder {
    /// Carries a caller's connection to the DNS server that it connected to, from its network namespace. Returns the bytes carried
    /// either way.
    ///
    /// # Errors
    /// The server cannot be reached, or a connection broke.
    pub async fn carry(
        self: Arc<Self>,
        downstream: &mut TcpStream,
        server: SocketAddr,
        caller: u64,
        exit: Exit,
        on_bytes: impl Fn(usize, usize) + Send + Sync,
    ) -> io::Result<()> {
        let asked = Asked { server, caller, is_from_node: exit.is_nodes() };
        let connected = timeout(PATIENCE, exit.tcp(server, &self.rooms.exempt)).await;
        drop(exit);
        let mut upstream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).inspect_err(|_| {
            add(&self.counts.unreachable);
        })?;
        let (mut from_caller, mut to_caller) = downstream.split();
        let (mut from_server, mut to_server) = upstream.split();
        let queries = async {
            while let Some(query) = message(&mut from_caller).await? {
                add(&self.counts.queries);
                send(&mut to_server, &query).await?;
                on_bytes(query.len() + 2, 0);
            }
            to_server.shutdown().await
        };
        let responses = async {
            while let Some(response) = message(&mut from_server).await? {
                let Some(response) = self.prepare(response, asked).await else { continue };
                send(&mut to_caller, &response).await?;
                on_bytes(0, response.len() + 2);
            }
            to_caller.shutdown().await
        };
        tokio::pin!(queries);
        let mut asks = true;
        tokio::pin!(responses);
        loop {
            tokio::select! {
                ended = &mut queries, if asks => {
                    ended?;
                    asks = false;
                }
                ended = &mut responses => return ended,
            }
        }
    }
}

/// Reads the next message; none at the end.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let silent = |_| io::Error::from(io::ErrorKind::TimedOut);
    let mut length = [0; 2];
    if timeout(IDLE, from.read(&mut length[..1])).await.map_err(silent)?? == 0 {
        return Ok(None);
    }
    let rest = async {
        from.read_exact(&mut length[1..]).await?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        from.read_exact(&mut message).await?;
        Ok(Some(message))
    };
    timeout(IDLE, rest).await.map_err(silent)?
}

async fn send(to: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let framed = [&length.to_be_bytes()[..], message].concat();
    timeout(IDLE, to.write_all(&framed)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
