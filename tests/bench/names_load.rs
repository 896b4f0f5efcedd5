//! Applications that ask a DNS server, and the server that they ask.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The queries of an application. Each of its clients has a connected socket, and one query on its way.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesLoad {
    /// The server.
    to: SocketAddr,
    /// The name, or with `--numbered` what follows the number.
    name: String,
    /// Clients at once.
    clients: u64,
    /// Queries in all.
    count: u64,
    /// Each query asks for another name, which has an address of its own.
    #[arg(long)]
    numbered: bool,
    /// Each query asks for another name, of the same address.
    #[arg(long)]
    same_address: bool,
}

/// A client that waits longer asks again, as resolvers do.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;

/// The bytes before the question (RFC 1035 §4.1.1), and those of its type and class after the name.
const HEADER: usize = 12;
const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];

impl NamesLoad {
    /// Returns how long each query took.
    pub(crate) fn run(self) -> Vec<Duration> {
        let (next, latencies) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..self.clients {
                scope.spawn(|| {
                    let own = self.client(&next);
                    latencies.lock().expect("no client panics").extend(own);
                });
            }
        });
        latencies.into_inner().expect("no client panics")
    }

    fn client(&self, next: &AtomicU64) -> Vec<Duration> {
        let any = if self.to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).expect("a socket");
        socket.connect(self.to).expect("a datagram socket connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (mut latencies, mut buffer) = (Vec::new(), [0; 512]);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return latencies;
            }
            let query = self.query(number);
            let start = Instant::now();
            let is_answered = (0..ATTEMPTS).any(|_| {
                socket.send(&query).expect("a query leaves");
                // A late response to an earlier query is not this one's.
                socket.recv(&mut buffer).is_ok() && buffer[..2] == query[..2]
            });
            assert!(is_answered, "query {number} got no response");
            latencies.push(start.elapsed());
        }
    }

    fn query(&self, number: u64) -> Vec<u8> {
        let [.., high, low] = number.to_be_bytes();
        // One question, with recursion.
        let mut query = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let numbered = self.numbered.then(|| format!("n{number}"));
        let label = numbered.or_else(|| self.same_address.then(|| format!("same{number}")));
        for label in label.iter().map(String::as_str).chain(self.name.split('.')) {
            query.push(u8::try_from(label.len()).expect("a label of at most 63 bytes"));
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(TYPE_AND_CLASS);
        query
    }
}

/// Answers each query with one address for five minutes: another one for each number after the name's first letter. Serves until the process ends.
pub(crate) fn serve(socket: UdpSocket) {
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut message) {
            let Some(response) = respond(&message[..length]) else { continue };
            // A client that has gone is not the server's affair.
            let _ = socket.send_to(&response, client);
        }
    });
}

fn respond(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    let end = end + 1 + TYPE_AND_CLASS.len();
    let question = query.get(HEADER..end)?;
    let is_address = question.ends_with(&TYPE_AND_CLASS);
    let mut response = query[..end].to_vec();
    // A response, recursion desired and available; one question, and an address if one was asked for.
    response[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    if is_address {
        let [_, _, high, low] = number_in(question).to_be_bytes();
        // The name of the question, type A, class IN, 300 seconds, four bytes.
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 18, high, low]);
    }
    Some(response)
}

/// The number at the beginning of the name, or zero.
fn number_in(question: &[u8]) -> u32 {
    let digits = question.iter().skip(2).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
}
