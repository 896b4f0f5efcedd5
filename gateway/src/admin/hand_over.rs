//! The running process passes its sockets to the next one over the admin socket (`SCM_RIGHTS`, unix(7)).
//!
//! The next process asks. The running one sends its sockets and goes on accepting. Once the next process accepts too, it says so, and
//! only then does the running one stop accepting: at every moment at least one process accepts. If either dies before that, the
//! other goes on as if nothing had happened.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Draining, Request, Response};

/// The sockets that are passed on.
#[derive(Debug)]
pub struct Sockets {
    /// The listener on 127.0.0.1.
    pub v4: OwnedFd,
    /// The listener on ::1.
    pub v6: Option<OwnedFd>,
    /// The listener of `/metrics`.
    pub telemetry: Option<OwnedFd>,
    /// The sockets of the DNS forwarder.
    pub dns: Vec<OwnedFd>,
    /// The listeners in other network namespaces than the node's.
    pub namespaces: HandedNamespaces,
}

/// Listeners in network namespaces of callers.
#[derive(Debug, Default)]
pub struct HandedNamespaces {
    /// One or two for each namespace, in any order.
    pub sockets: Vec<OwnedFd>,
    /// What the running process knows of the namespaces.
    pub known: Vec<HandedNamespace>,
}

/// A network namespace in which the running process listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedNamespace {
    /// Its cookie (`SO_NETNS_COOKIE` in socket(7)).
    pub netns: u64,
    /// The owner of the caller that made it known.
    pub owner: String,
    /// The cgroup of that caller, by the inode number of its directory.
    pub cgroup: u64,
    /// The process id of that caller.
    pub pid: u32,
    /// Seconds from 1970 until Egret listened there.
    pub since: u64,
    /// Number of connections that Egret has accepted there.
    pub connections: u64,
}

/// Most descriptors in one message (`SCM_MAX_FD` in unix(7)).
const MOST: usize = 253;

/// The text that goes with the sockets: which sockets they are, and the generation to continue from.
#[derive(Debug, Serialize, Deserialize)]
struct Cover {
    v6: bool,
    telemetry: bool,
    /// The number of sockets of the DNS forwarder.
    #[serde(default)]
    dns: usize,
    /// The number of listeners in other network namespaces.
    #[serde(default)]
    namespaces: usize,
    /// What is known of these namespaces.
    #[serde(default)]
    known: Vec<HandedNamespace>,
    generation: u32,
}

/// The text that goes with the listeners that the running process has opened since it sent its sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Late {
    /// The number of listeners in other network namespaces.
    late: usize,
    known: Vec<HandedNamespace>,
}

/// Maximum length of the text that goes with descriptors, in bytes: what is known of a namespace takes a few hundred.
const LONGEST: usize = 64 << 20;

/// The message that the next process accepts.
const TAKEN: &[u8] = b"taken\n";

/// Maximum wait for the response of the running process, and for the next process to start accepting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum wait for the running process to confirm that it has stopped accepting.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// The process that asked to take over, as the running process sees it.
#[derive(Debug)]
pub struct Successor {
    stream: BufReader<UnixStream>,
}

impl Successor {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Tells the process why it cannot take over.
    pub async fn refuse(mut self, why: String) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Response::Error(why))?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }

    /// Sends the sockets and waits until the process accepts on them.
    pub async fn hand(&mut self, sockets: &Sockets, generation: u32) -> io::Result<()> {
        let Sockets { v4, v6, telemetry, dns, namespaces } = sockets;
        let cover = Cover {
            v6: v6.is_some(),
            telemetry: telemetry.is_some(),
            dns: dns.len(),
            namespaces: namespaces.sockets.len(),
            known: namespaces.known.clone(),
            generation,
        };
        let fds = [Some(v4), v6.as_ref(), telemetry.as_ref()].into_iter().flatten().chain(dns);
        self.send_with(fds.chain(&namespaces.sockets), &cover).await?;
        let mut word = Vec::new();
        let mut stream = (&mut self.stream).take(TAKEN.len() as u64);
        timeout(PATIENCE, stream.read_until(b'\n', &mut word)).await??;
        if word == TAKEN { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Sends the listeners that were opened since [`Successor::hand`] was called. The running process opens no more.
    pub async fn hand_late(&mut self, namespaces: &HandedNamespaces) -> io::Result<()> {
        let late = Late { late: namespaces.sockets.len(), known: namespaces.known.clone() };
        self.send_with(&namespaces.sockets, &late).await
    }

    /// Sends descriptors, then the line of text that says which they are.
    async fn send_with<'a>(
        &mut self,
        fds: impl IntoIterator<Item = &'a OwnedFd>,
        text: &impl Serialize,
    ) -> io::Result<()> {
        let fds: Vec<_> = fds.into_iter().map(AsRawFd::as_raw_fd).collect();
        // Descriptors need a byte to go with: a blank before the text is no part of it.
        for part in fds.chunks(MOST) {
            self.send(part, b" ").await?;
        }
        let mut line = serde_json::to_vec(text)?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }

    async fn send(&self, fds: &[RawFd], bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_ref();
        let send = || {
            let message = [ControlMessage::ScmRights(fds)];
            sendmsg::<UnixAddr>(stream.as_raw_fd(), &[IoSlice::new(bytes)], &message, MsgFlags::empty(), None)
                .map_err(io::Error::from)
        };
        stream.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// Tells the process how many flows are still to be finished. Fails if it has ended.
    pub async fn report(&mut self, draining: &Draining) -> io::Result<()> {
        let mut line = serde_json::to_vec(draining)?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }
}

/// What the next process has received from the running one.
#[derive(Debug)]
pub struct Handed {
    /// The listening sockets that are handed over.
    pub sockets: Sockets,
    /// The newest generation of the running process.
    pub generation: u32,
    /// The running process.
    pub predecessor: Predecessor,
}

/// The process that hands over, as the next process sees it.
#[derive(Debug)]
pub struct Predecessor {
    stream: BufReader<UnixStream>,
    /// Reports that came with its sockets.
    reports: VecDeque<Draining>,
}

/// Asks the process at this socket to hand over. Returns nothing if no process listens there.
///
/// # Errors
/// The running process refused, or it did not respond.
pub async fn take_over(path: &Path, abi_version: u32) -> io::Result<Option<Handed>> {
    loop {
        match ask(path, abi_version).await {
            Ok(handed) => return Ok(Some(handed)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
                // It ended before it responded. Another process may have replaced it: ask that one, or find that there is none.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => return Err(error),
            },
        }
    }
}

async fn ask(path: &Path, abi_version: u32) -> io::Result<Handed> {
    let mut stream = UnixStream::connect(path).await?;
    let mut line = serde_json::to_vec(&Request::TakeOver { abi_version, pid: std::process::id() })?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "the running process does not respond");
    let (response, fds) = timeout(PATIENCE, receive(&stream)).await.map_err(silent)??;
    let Ok(cover) = serde_json::from_slice::<Cover>(&response) else {
        let why = match serde_json::from_slice(&response) {
            Ok(Response::Error(why)) => why,
            _ => "the running process sent a response that this version does not understand".to_owned(),
        };
        return Err(io::Error::other(why));
    };
    let mut fds = fds.into_iter();
    let missing = || io::Error::other("the running process sent fewer sockets than it announced");
    let v4 = fds.next().ok_or_else(missing)?;
    let v6 = if cover.v6 { Some(fds.next().ok_or_else(missing)?) } else { None };
    let telemetry = if cover.telemetry { Some(fds.next().ok_or_else(missing)?) } else { None };
    let dns: Vec<_> = fds.by_ref().take(cover.dns).collect();
    let namespaces = HandedNamespaces { sockets: fds.by_ref().take(cover.namespaces).collect(), known: cover.known };
    if dns.len() < cover.dns || namespaces.sockets.len() < cover.namespaces {
        return Err(missing());
    }
    // Of another version, perhaps: nobody knows what they are for.
    if fds.next().is_some() {
        return Err(io::Error::other("the running process sent more sockets than it announced"));
    }
    let predecessor = Predecessor { stream: BufReader::new(stream), reports: VecDeque::new() };
    Ok(Handed { sockets: Sockets { v4, v6, telemetry, dns, namespaces }, generation: cover.generation, predecessor })
}

impl Predecessor {
    /// Tells the old process that this one accepts, and waits until it has stopped accepting. Returns the listeners that it has opened
    /// meanwhile, and its report on the flows that it still has; no report if it has none and has ended.
    pub async fn taken(&mut self) -> (HandedNamespaces, Option<Draining>) {
        let mut late = HandedNamespaces::default();
        match timeout(CONFIRMATION, self.confirmed(&mut late)).await {
            Ok(report) => return (late, report),
            Err(_) => tracing::warn!("the old process does not confirm that it has stopped accepting"),
        }
        (late, None)
    }

    async fn confirmed(&mut self, late: &mut HandedNamespaces) -> Option<Draining> {
        self.stream.write_all(TAKEN).await.ok()?;
        let (text, sockets) = receive(self.stream.get_ref()).await.ok()?;
        late.sockets = sockets;
        // Reports may have come with it.
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Late { known, .. }) => late.known = known,
                Err(_) => self.reports.extend(serde_json::from_slice::<Draining>(line)),
            }
        }
        self.report().await
    }

    /// Passes on each further report of the old process until it ends; the last report is `None`.
    pub async fn follow(mut self, mut on_report: impl FnMut(Option<Draining>)) {
        loop {
            let report = self.report().await;
            let ended = report.is_none();
            on_report(report);
            if ended {
                return;
            }
        }
    }

    async fn report(&mut self) -> Option<Draining> {
        if let Some(report) = self.reports.pop_front() {
            return Some(report);
        }
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.ok()?;
        if read == 0 { None } else { serde_json::from_str(&line).ok() }
    }
}

/// Reads one line, and the descriptors that came with it.
async fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut line, mut fds) = (Vec::new(), Vec::new());
    while !line.ends_with(b"\n") {
        let (bytes, received) = stream.async_io(Interest::READABLE, || receive_some(stream)).await?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the running process closed the conversation"));
        }
        line.extend(bytes);
        fds.extend(received);
        if line.len() > LONGEST {
            return Err(io::Error::other("the running process sent a response that has no end"));
        }
    }
    Ok((line, fds))
}

fn receive_some(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut bytes, mut fds) = (vec![0u8; 4096], Vec::new());
    let mut control = cmsg_space!([RawFd; MOST]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let read = message.bytes;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nothing else owns them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    bytes.truncate(read);
    Ok((bytes, fds))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use tokio::net::UnixListener;

    use super::*;

    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("egret-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// The running process's side, after the request of the next one.
    async fn accept(listener: &UnixListener) -> Successor {
        let mut successor = Successor::new(listener.accept().await.unwrap().0);
        let mut request = String::new();
        successor.stream.read_line(&mut request).await.unwrap();
        assert!(request.contains("take_over"), "{request}");
        successor
    }

    fn namespace(netns: u64) -> HandedNamespace {
        HandedNamespace { netns, owner: "x".repeat(100), cgroup: 2, pid: 3, since: 4, connections: 5 }
    }

    fn sockets() -> Sockets {
        let file = |name: &str| OwnedFd::from(File::open(name).unwrap());
        Sockets {
            v4: file("/proc/self/comm"),
            v6: None,
            telemetry: Some(file("/dev/null")),
            dns: vec![file("/dev/zero")],
            namespaces: HandedNamespaces {
                // More than go with one message, and a text that no buffer of the kernel holds.
                sockets: (0..600).map(|_| file("/dev/full")).collect(),
                known: (0..5000).map(namespace).collect(),
            },
        }
    }

    #[tokio::test]
    async fn sockets_are_passed_and_the_old_process_reports() {
        let directory = Directory::new("hand-over");
        let path = directory.0.join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let draining = |flows| Draining { pid: 1, flows, seconds_left: 3 };
        let old = tokio::spawn(async move {
            let mut successor = accept(&listener).await;
            successor.hand(&sockets(), 7).await.unwrap();
            let late = sockets().namespaces;
            successor.hand_late(&HandedNamespaces { known: vec![namespace(9)], ..late }).await.unwrap();
            for flows in [2, 1] {
                successor.report(&draining(flows)).await.unwrap();
            }
        });
        let Handed { sockets, generation, mut predecessor } = take_over(&path, 1).await.unwrap().unwrap();
        assert_eq!(generation, 7);
        assert!(sockets.v6.is_none() && sockets.telemetry.is_some());
        assert_eq!((sockets.dns.len(), sockets.namespaces.sockets.len()), (1, 600));
        assert_eq!(sockets.namespaces.known, (0..5000).map(namespace).collect::<Vec<_>>());
        let mut text = String::new();
        File::from(sockets.v4).read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
        let (late, report) = predecessor.taken().await;
        assert_eq!((late.sockets.len(), late.known), (600, vec![namespace(9)]));
        assert_eq!(report, Some(draining(2)));
        let mut reports = Vec::new();
        predecessor.follow(|report| reports.push(report)).await;
        old.await.unwrap();
        assert_eq!(reports, [Some(draining(1)), None]);
    }

    #[tokio::test]
    async fn a_process_that_ends_instead_of_responding_is_asked_again_at_its_successor() {
        let directory = Directory::new("hand-over-again");
        let path = directory.0.join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let others = tokio::spawn(async move {
            drop(accept(&listener).await);
            let mut successor = accept(&listener).await;
            successor.hand(&sockets(), 8).await
        });
        let handed = take_over(&path, 1).await.unwrap().unwrap();
        assert_eq!(handed.generation, 8);
        drop(handed);
        assert!(others.await.unwrap().is_err(), "it was not taken");
        assert!(take_over(&path, 1).await.unwrap().is_none(), "nobody listens any more");
    }

    #[tokio::test]
    async fn no_running_process_is_no_error() {
        assert!(take_over(Path::new("/nonexistent/admin.sock"), 1).await.unwrap().is_none());
    }
}
