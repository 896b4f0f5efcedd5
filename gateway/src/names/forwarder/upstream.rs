//! Asks the server that the caller asked. Each query on its way has a socket of its own. A socket serves some queries, one after the
//! other, within a second: its port is as random as the caller's, and is not there long enough to be found (RFC 5452 §9.2).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::datagram::receive;
use super::{Counts, Exit, Query, add, message};
use crate::model::Exempt;

/// How many queries a socket serves at most, and for how long.
const QUERIES: u32 = 16;
const LIFE: Duration = Duration::from_secs(1);

/// Sockets at rest, at most, for one server and for all together.
const IDLE_EACH: usize = 32;
const IDLE: usize = 256;

/// A server, as the callers of a network namespace reach it: the cookie of the namespace, which the node's lacks, and the address.
type Server = (Option<u64>, SocketAddr);

/// The sockets at rest, by the server that they are connected to.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<HashMap<Server, Vec<Upstream>>>);

/// A socket that is connected to a server.
#[derive(Debug)]
struct Upstream {
    socket: UdpSocket,
    opened: Instant,
    queries: u32,
}

impl Upstreams {
    /// Sends a query and returns the first response to it. What does not respond to it is counted and dropped.
    pub(super) async fn ask(&self, query: &Query<'_>, exempt: &Exempt, counts: &Counts) -> io::Result<Vec<u8>> {
        let server = (query.exit.netns(), query.server);
        let mut upstream = match self.take(server) {
            Some(upstream) => upstream,
            None => Upstream::open(query.server, query.exit, exempt).await?,
        };
        upstream.socket.send(query.bytes).await?;
        upstream.queries += 1;
        loop {
            // A port where no server is makes an error and nothing to read (ICMP, udp(7)).
            let readable = Interest::READABLE | Interest::ERROR;
            let response = upstream.socket.async_io(readable, || receive(&upstream.socket)).await?;
            if message::responds(query.bytes, &response) {
                self.put(server, upstream);
                return Ok(response);
            }
            add(&counts.mismatched);
            // Somebody may be guessing: this port serves nobody else.
            upstream.queries = QUERIES;
        }
    }

    fn take(&self, server: Server) -> Option<Upstream> {
        let mut all = self.all();
        let idle = all.get_mut(&server)?;
        let now = Instant::now();
        std::iter::from_fn(|| idle.pop()).find(|upstream| upstream.may_serve(now))
    }

    fn put(&self, server: Server, upstream: Upstream) {
        let now = Instant::now();
        if !upstream.may_serve(now) {
            return;
        }
        let mut all = self.all();
        if all.values().map(Vec::len).sum::<usize>() < IDLE {
            let idle = all.entry(server).or_default();
            if idle.len() < IDLE_EACH {
                idle.push(upstream);
            }
        }
    }

    /// Closes sockets whose time is over.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.all().retain(|_, idle| {
            idle.retain(|upstream| upstream.may_serve(now));
            !idle.is_empty()
        });
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Server, Vec<Upstream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    async fn open(server: SocketAddr, exit: &Exit, exempt: &Exempt) -> io::Result<Self> {
        Ok(Self { socket: exit.udp(server, exempt).await?, opened: Instant::now(), queries: 0 })
    }

    fn may_serve(&self, now: Instant) -> bool {
        self.queries < QUERIES && now.duration_since(self.opened) < LIFE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn query(id: u8) -> Vec<u8> {
        [&[0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x04host\x07example\0\0\x01\0\x01"].concat()
    }

    /// Answers with the query's own bytes, as a response; before that with another id, if there is one. Tells the client's ports.
    async fn server(other: Option<u8>) -> (SocketAddr, Arc<Mutex<Vec<u16>>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, ports) = (socket.local_addr().unwrap(), Arc::<Mutex<Vec<u16>>>::default());
        let seen = Arc::clone(&ports);
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                seen.lock().unwrap().push(client.port());
                buffer[2] |= 0x80;
                if let Some(other) = other {
                    let id = std::mem::replace(&mut buffer[1], other);
                    socket.send_to(&buffer[..length], client).await.unwrap();
                    buffer[1] = id;
                }
                socket.send_to(&buffer[..length], client).await.unwrap();
            }
        });
        (address, ports)
    }

    async fn asked(upstreams: &Upstreams, server: SocketAddr, times: u8) {
        let (exempt, counts): (Exempt, _) = (Arc::new(|_| Ok(())), Counts::default());
        for id in 0..times {
            let bytes = query(id);
            let query = Query { bytes: &bytes, server, caller: 0, exit: &Exit::node() };
            let response = upstreams.ask(&query, &exempt, &counts).await.unwrap();
            assert_eq!(response[..2], bytes[..2]);
        }
    }

    #[tokio::test]
    async fn a_socket_serves_some_queries_one_after_the_other() {
        let upstreams = Upstreams::default();
        let (address, ports) = server(None).await;
        asked(&upstreams, address, 40).await;
        let mut ports = ports.lock().unwrap().clone();
        ports.dedup();
        assert!((3..40).contains(&ports.len()), "{ports:?}");
        assert!(upstreams.all()[&(None, address)].len() <= 1);
    }

    #[tokio::test]
    async fn a_socket_that_got_a_wrong_response_serves_no_other_query() {
        let upstreams = Upstreams::default();
        let (address, ports) = server(Some(200)).await;
        asked(&upstreams, address, 5).await;
        let mut ports = ports.lock().unwrap().clone();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 5);
    }
}
