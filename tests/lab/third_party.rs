//! Servers in the internet that remember who came.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConnection, StreamOwned};

use crate::namespace::Namespace;
use crate::pki::Identity;

/// What a third party does with a connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// HTTP/1.1 with keep-alive: 200 for these sources, 403 for others; the body is the source address.
    Http(Vec<IpAddr>),
    /// The same over TLS.
    Https(Identity, Vec<IpAddr>),
    /// Speaks first: a line with the source address; then ends.
    Banner,
    /// Sends back what it gets, until the client ends.
    Echo,
    /// HTTP/1.1: agrees to any upgrade, then sends back what it gets.
    Upgrade,
    /// HTTP/1.1: answers each request head with these bytes; remembers all that came. Then ends, or goes on.
    Answer(&'static [u8], Then),
    /// HTTP/1.1 with keep-alive: the first request head gets the first of these answers, and so on over all connections; the
    /// last one is for all that follow. See [`Behaviour::in_turn`].
    InTurn(Arc<AtomicUsize>, &'static [&'static [u8]]),
    /// The same as `Answer` over TLS, for ever.
    AnswerTls(Identity, &'static [u8]),
    /// Says which of its own addresses the client reached; then ends.
    Mirror,
    /// Reads to the end, then says how many bytes there were.
    Count,
}

impl Behaviour {
    /// One answer after the other.
    pub fn in_turn(answers: &'static [&'static [u8]]) -> Self {
        Self::InTurn(Arc::default(), answers)
    }
}

/// What [`Behaviour::Answer`] does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Ends in order.
    Ends,
    /// Goes on reading.
    GoesOn,
    /// Resets the connection.
    Resets,
}

/// A connection that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it came from.
    pub source: IpAddr,
    /// Its first bytes.
    pub first: Vec<u8>,
    /// Its bytes, at most some thousands.
    pub all: Vec<u8>,
    /// Nothing comes any more.
    pub ended: bool,
}

/// A server.
#[derive(Debug)]
pub struct ThirdParty {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl ThirdParty {
    pub(crate) fn start(namespace: &Namespace, address: SocketAddr, behaviour: Behaviour) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = listen(namespace, address);
        let record = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let Ok(peer) = stream.peer_addr() else { continue };
                let source = peer.ip().to_canonical();
                let number = {
                    let mut seen = record.lock().expect("no panic in a third party");
                    seen.push(Seen { source, first: Vec::new(), all: Vec::new(), ended: false });
                    seen.len() - 1
                };
                let (record, behaviour) = (Arc::clone(&record), behaviour.clone());
                thread::spawn(move || serve(stream, source, &behaviour, &record, number));
            }
        });
        Self { seen }
    }

    /// The connections so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic in a third party").clone()
    }

    /// Their sources, each once.
    pub fn sources(&self) -> Vec<IpAddr> {
        let mut sources: Vec<_> = self.seen().into_iter().map(|seen| seen.source).collect();
        sources.sort();
        sources.dedup();
        sources
    }
}

/// Listens in a namespace.
pub(crate) fn listen(namespace: &Namespace, address: SocketAddr) -> TcpListener {
    bind(namespace, address, TcpListener::bind)
}

/// Binds a socket for datagrams in a namespace.
pub(crate) fn datagrams(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    bind(namespace, address, UdpSocket::bind)
}

fn bind<S: Send>(
    namespace: &Namespace,
    address: SocketAddr,
    socket: impl FnOnce(SocketAddr) -> io::Result<S> + Send,
) -> S {
    // The thread that makes the socket must be in the namespace; the socket stays there.
    thread::scope(|scope| {
        let made = scope.spawn(|| {
            namespace.enter();
            socket(address).unwrap_or_else(|error| panic!("{address}: {error}"))
        });
        made.join().expect("a socket of a third party")
    })
}

/// Bytes of a connection that are remembered.
const REMEMBERED: usize = 16 * 1024;

const NO_LINGER: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

fn serve(mut stream: TcpStream, source: IpAddr, behaviour: &Behaviour, record: &Mutex<Vec<Seen>>, number: usize) {
    let note = |bytes: &[u8]| {
        let mut seen = record.lock().expect("no panic in a third party");
        let seen = &mut seen[number];
        if seen.first.is_empty() {
            seen.first = bytes.to_vec();
        }
        if seen.all.len() < REMEMBERED {
            seen.all.extend_from_slice(bytes);
        }
    };
    // A client that goes away is not the third party's affair.
    let _ = converse(&mut stream, behaviour, source, &note);
    record.lock().expect("no panic in a third party")[number].ended = true;
}

fn converse(
    stream: &mut TcpStream,
    behaviour: &Behaviour,
    source: IpAddr,
    note: &dyn Fn(&[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    match behaviour {
        Behaviour::Http(allowed) => http(stream, allowed, source, note),
        Behaviour::Https(identity, allowed) => {
            let connection = ServerConnection::new(Arc::clone(&identity.config)).map_err(std::io::Error::other)?;
            let outcome = http(&mut StreamOwned::new(connection, &mut *stream), allowed, source, note);
            // An alert is said too.
            farewell(stream, "").and(outcome)
        }
        Behaviour::Banner => farewell(stream, &format!("{source}\n")),
        Behaviour::Echo => loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return stream.shutdown(Shutdown::Write);
            }
            note(&buffer[..read]);
            stream.write_all(&buffer[..read])?;
        },
        Behaviour::Upgrade => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut buffer[..1])?;
                if read == 0 {
                    return Ok(());
                }
                head.push(buffer[0]);
            }
            note(&head);
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let wish = head.lines().find_map(|line| line.strip_prefix("upgrade:")).unwrap_or("echo").trim();
            say(
                stream,
                &format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {wish}\r\n\r\n"),
            )?;
            converse(stream, &Behaviour::Echo, source, note)
        }
        Behaviour::InTurn(turn, answers) => {
            while head(stream, note)? {
                let answer = turn.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
                stream.write_all(answers[answer])?;
            }
            Ok(())
        }
        Behaviour::Answer(answer, then) => loop {
            if !head(stream, note)? {
                return Ok(());
            }
            stream.write_all(answer)?;
            match then {
                Then::Ends => {
                    stream.shutdown(Shutdown::Write)?;
                    return collect(stream, &mut buffer, note);
                }
                Then::GoesOn => {}
                Then::Resets => {
                    // What was sent must arrive: a reset would overtake it.
                    while unsent(stream) > 0 {
                        thread::yield_now();
                    }
                    return nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &NO_LINGER)
                        .map_err(Into::into);
                }
            }
        },
        Behaviour::AnswerTls(identity, answer) => {
            let connection = ServerConnection::new(Arc::clone(&identity.config)).map_err(std::io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            loop {
                let read = stream.read(&mut buffer)?;
                if read == 0 {
                    return Ok(());
                }
                note(&buffer[..read]);
                // Its head, or what comes after it in a record of its own: one answer for each head.
                for _ in buffer[..read].windows(4).filter(|window| *window == b"\r\n\r\n") {
                    stream.write_all(answer)?;
                }
            }
        }
        Behaviour::Mirror => {
            let local = stream.local_addr()?;
            farewell(stream, &format!("{}\n", local.ip().to_canonical()))
        }
        Behaviour::Count => {
            let mut count = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => return say(stream, &format!("{count}\n")),
                    read => count += read,
                }
            }
        }
    }
}

/// Reads to the end.
/// Reads the head of a request; whether there was one.
fn head(stream: &mut TcpStream, note: &dyn Fn(&[u8])) -> std::io::Result<bool> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(false);
        }
        note(&byte);
        head.push(byte[0]);
    }
    Ok(true)
}

fn collect(stream: &mut TcpStream, buffer: &mut [u8], note: &dyn Fn(&[u8])) -> std::io::Result<()> {
    loop {
        let read = stream.read(buffer)?;
        if read == 0 {
            return Ok(());
        }
        note(&buffer[..read]);
    }
}

/// Bytes that the other side has not acknowledged (`SIOCOUTQ`, tcp(7)).
fn unsent(stream: &TcpStream) -> i32 {
    let mut bytes = 0;
    // SAFETY: the request writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0, "TIOCOUTQ");
    bytes
}

fn http(
    stream: &mut (impl Read + Write),
    allowed: &[IpAddr],
    source: IpAddr,
    note: &dyn Fn(&[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut pending = Vec::new();
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        note(&buffer[..read]);
        pending.extend_from_slice(&buffer[..read]);
        while let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            // Who answers before it has read a body makes clients lose its answer: curl 7.88 does over HTTP/2.
            let length = content_length(&pending[..end]);
            if pending.len() < end + 4 + length {
                break;
            }
            pending.drain(..end + 4 + length);
            let status = if allowed.contains(&source) { "200 OK" } else { "403 Forbidden" };
            let body = format!("{source}\n");
            say(stream, &format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))?;
        }
    }
}

/// 0 where none is said: what is chunked is not waited for.
fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let said = head.lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
    said.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// In one segment: `write!` makes one of each piece, and a client may read the first alone.
fn say(stream: &mut impl Write, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes())
}

/// Says it and ends in order: closing with unread bytes would be a reset, which overtakes what was said.
fn farewell(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    say(stream, text)?;
    stream.shutdown(Shutdown::Write)?;
    std::io::copy(stream, &mut std::io::sink()).map(drop)
}
