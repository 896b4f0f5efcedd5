//! The applications: a process of its own in the captured cgroup; prints what it measured as JSON.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::json;

use crate::http_load::HttpLoad;
use crate::names_load::NamesLoad;
use crate::third_party::{CLIENT_HELLO, Order, send, take};

#[derive(Debug, Subcommand)]
pub(crate) enum Load {
    /// Connects and hangs up at once, again and again; a refusal is as good.
    Connect { to: SocketAddr, count: u64 },
    /// Connects datagram sockets.
    Datagram { to: SocketAddr, count: u64 },
    /// Moves bytes over some connections.
    Bulk { to: SocketAddr, connections: u64, take: u64, send: u64 },
    /// One exchange of 64 bytes for each connection, from some threads.
    Connections { to: SocketAddr, threads: u64, count: u64 },
    /// Small exchanges over one connection.
    Latency { to: SocketAddr, count: usize },
    /// Holds connections after one exchange, until its standard input ends.
    Idle { to: SocketAddr, count: u64 },
    /// Requests.
    Http(HttpLoad),
    /// DNS queries.
    Names(NamesLoad),
}

impl Load {
    pub(crate) fn run(self) {
        let start = Instant::now();
        let mut latencies = Vec::new();
        match self {
            Load::Http(load) => return load.run(),
            Load::Names(load) => latencies = load.run(),
            Load::Connect { to, count } => (0..count).for_each(|_| drop(TcpStream::connect(to))),
            Load::Datagram { to, count } => {
                for _ in 0..count {
                    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                    socket.connect(to).expect("a datagram socket connects");
                }
            }
            Load::Bulk { to, connections, take, send } => thread::scope(|scope| {
                for _ in 0..connections {
                    scope.spawn(|| exchange(&mut open(to), take, send));
                }
            }),
            Load::Connections { to, threads, count } => {
                let left = AtomicU64::new(count);
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
                            {
                                exchange(&mut open(to), 0, 64);
                            }
                        });
                    }
                });
            }
            Load::Latency { to, count } => {
                let mut stream = open(to);
                for _ in 0..count {
                    let start = Instant::now();
                    exchange(&mut stream, 48, 64);
                    latencies.push(start.elapsed());
                }
            }
            Load::Idle { to, count } => {
                let mut held: Vec<_> = (0..count).map(|_| open(to)).collect();
                held.iter_mut().for_each(|stream| exchange(stream, 0, 64));
                println!("{{}}");
                let _ = std::io::stdin().read(&mut [0]);
                return;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        latencies.sort();
        println!(
            "{}",
            json!({ "seconds": seconds, "cpu": cpu(), "p50": at(&latencies, 50), "p99": at(&latencies, 99) })
        );
    }
}

fn open(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap_or_else(|error| panic!("{to}: {error}"));
    stream.set_nodelay(true).expect("a connection");
    stream.write_all(CLIENT_HELLO).expect("the third party takes a ClientHello");
    stream
}

/// The third party takes and sends. It sends something always: then all of an upload has arrived.
fn exchange(stream: &mut TcpStream, up: u64, down: u64) {
    let down = down.max(1);
    let order = Order { take: up, send: down }.to_bytes();
    let outcome = if up <= 1024 {
        let mut message = order.to_vec();
        message.resize(order.len() + usize::try_from(up).expect("a small number"), 0);
        stream.write_all(&message)
    } else {
        stream.write_all(&order).and_then(|()| send(stream, up))
    };
    outcome.and_then(|()| take(stream, down, &mut Vec::new())).expect("the exchange is carried");
}

fn at(sorted: &[Duration], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).map_or(0.0, Duration::as_secs_f64)
}

/// Seconds of CPU of this process.
fn cpu() -> f64 {
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("getrusage");
    [used.user_time(), used.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}
