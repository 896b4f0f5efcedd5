//! A tunnel through a proxy (`CONNECT`, RFC 9110 §9.3.6): what follows the head of its answer is the third party's.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::model::{Proxy, Reason};
use crate::permit::Tunnel;

/// Most bytes of the head of a proxy's answer.
const LARGEST: usize = 16 << 10;

/// Fields that it may have.
const FIELDS: usize = 64;

/// Asks for it.
pub(super) async fn open(stream: &mut TcpStream, Tunnel { proxy, authority }: &Tunnel) -> Result<(), Reason> {
    let lost = |error: io::Error| {
        tracing::debug!(%proxy, %error, "the proxy ended the connection");
        Reason::ProxyUnreachable
    };
    stream.write_all(&request(proxy, authority)).await.map_err(lost)?;
    let head = head(stream).await.map_err(lost)?;
    let status = status(&head).ok_or_else(|| {
        tracing::debug!(%proxy, "what the proxy answers is no HTTP");
        Reason::ProxyRefused
    })?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    tracing::debug!(%proxy, authority, status, "the proxy makes no tunnel");
    Err(match status {
        // tinyproxy says 401 of a wrong password.
        401 | 407 => Reason::ProxyAuthentication,
        // It would, and cannot.
        500..=599 => Reason::UpstreamUnreachable,
        _ => Reason::ProxyRefused,
    })
}

fn request(proxy: &Proxy, authority: &str) -> Vec<u8> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some((username, password)) = &proxy.credentials {
        let mut pair = format!("{username}:").into_bytes();
        pair.extend(password.constant().unwrap_or_default());
        request.extend(format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair)).into_bytes());
    }
    request.extend(b"\r\n");
    request
}

/// Reads to the end of a head and no further: the third party may speak first, and what it says stays in the socket.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut seen = [0; 1024];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&seen[..count]);
        let end = head.windows(END.len()).position(|window| window == END).map(|at| at + END.len());
        head.truncate(end.unwrap_or(head.len()));
        stream.read_exact(&mut seen[..head.len() - before]).await?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > LARGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(head).ok().filter(httparse::Status::is_complete)?;
    response.code
}
