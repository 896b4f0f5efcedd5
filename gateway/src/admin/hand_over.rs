//! Sockets pass from the running process to the next one over the admin socket (`SCM_RIGHTS`, unix(7)).
//!
//! The next process asks; the running one answers with the sockets and goes on accepting. Once the next one
//! accepts too it says so, and only then does the running one stop: there is no moment without an acceptor.
//! If either dies before that word, the other goes on as if nothing had been asked.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{Draining, Request, Response};

/// The sockets that pass.
#[derive(Debug)]
pub struct Sockets {
    /// Listener on 127.0.0.1.
    pub v4: OwnedFd,
    /// Listener on ::1.
    pub v6: Option<OwnedFd>,
    /// Listener of `/metrics`.
    pub telemetry: Option<OwnedFd>,
}

/// What goes with the sockets: which they are, and the generation to continue from.
#[derive(Debug, Serialize, Deserialize)]
struct Cover {
    v6: bool,
    telemetry: bool,
    generation: u32,
}

/// The word that the next process accepts.
const TAKEN: &[u8] = b"taken\n";

/// Longest wait for the running process, and for the word of the next one.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running process's side: the process that asked to take over.
#[derive(Debug)]
pub struct Successor {
    stream: BufReader<UnixStream>,
}

impl Successor {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Says why not.
    pub async fn refuse(mut self, why: String) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Response::Error(why))?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }

    /// Sends the sockets and waits for the word that they are in use.
    pub async fn hand(&mut self, sockets: &Sockets, generation: u32) -> io::Result<()> {
        let cover = Cover { v6: sockets.v6.is_some(), telemetry: sockets.telemetry.is_some(), generation };
        let mut line = serde_json::to_vec(&cover)?;
        line.push(b'\n');
        let fds: Vec<_> = [Some(&sockets.v4), sockets.v6.as_ref(), sockets.telemetry.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect();
        let stream = self.stream.get_ref();
        stream
            .async_io(tokio::io::Interest::WRITABLE, || {
                let message = [ControlMessage::ScmRights(&fds)];
                sendmsg::<UnixAddr>(stream.as_raw_fd(), &[IoSlice::new(&line)], &message, MsgFlags::empty(), None)
                    .map_err(io::Error::from)
            })
            .await?;
        let mut word = Vec::new();
        tokio::time::timeout(PATIENCE, self.stream.read_until(b'\n', &mut word)).await??;
        if word == TAKEN { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Tells the successor how far the draining is. Fails when it has gone away.
    pub async fn report(&mut self, draining: &Draining) -> io::Result<()> {
        let mut line = serde_json::to_vec(draining)?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }
}

/// The next process's side: what the running process handed over.
#[derive(Debug)]
pub struct Handed {
    /// The sockets.
    pub sockets: Sockets,
    /// The newest generation of the running process.
    pub generation: u32,
    stream: StdStream,
}

/// Asks the process at this socket to hand over.
///
/// `Ok(None)`: nobody listens there. `Err` says why the running process refused, or what broke.
pub fn take_over(path: &Path, abi_version: u32) -> io::Result<Option<Handed>> {
    let mut stream = match StdStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Request::TakeOver { abi_version, pid: std::process::id() })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let (answer, fds) = receive(&stream)?;
    let Ok(cover) = serde_json::from_slice::<Cover>(&answer) else {
        let why = match serde_json::from_slice(&answer) {
            Ok(Response::Error(why)) => why,
            _ => "the running process gave no answer that this version understands".to_owned(),
        };
        return Err(io::Error::other(why));
    };
    let mut fds = fds.into_iter();
    let missing = || io::Error::other("the running process sent fewer sockets than it announced");
    let v4 = fds.next().ok_or_else(missing)?;
    let v6 = if cover.v6 { Some(fds.next().ok_or_else(missing)?) } else { None };
    let telemetry = if cover.telemetry { Some(fds.next().ok_or_else(missing)?) } else { None };
    Ok(Some(Handed { sockets: Sockets { v4, v6, telemetry }, generation: cover.generation, stream }))
}

impl Handed {
    /// Says that the sockets are in use, then follows the old process's draining to its end, however it ends: the last
    /// report is none.
    pub async fn taken(stream: UnixStream, mut on_report: impl FnMut(Option<Draining>)) {
        let mut stream = BufReader::new(stream);
        if stream.write_all(TAKEN).await.is_ok() {
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                on_report(serde_json::from_str(&line).ok());
                line.clear();
            }
        }
        on_report(None);
    }

    /// The sockets, the generation, and the conversation to go on with in [`Handed::taken`].
    pub fn into_parts(self) -> io::Result<(Sockets, u32, UnixStream)> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_nonblocking(true)?;
        Ok((self.sockets, self.generation, UnixStream::from_std(self.stream)?))
    }
}

/// One line and the descriptors that came with it.
fn receive(stream: &StdStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut answer, mut fds) = (Vec::new(), Vec::new());
    while !answer.ends_with(b"\n") {
        let mut bytes = [0u8; 4096];
        let mut control = cmsg_space!([i32; 3]);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let read = message.bytes;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
                fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the running process closed the conversation"));
        }
        answer.extend_from_slice(&bytes[..read]);
    }
    Ok((answer, fds))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn sockets_pass_and_the_old_process_learns_that_they_are_used() {
        let directory = std::env::temp_dir().join(format!("egret-hand-over-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let old = tokio::spawn(async move {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut successor = Successor::new(UnixStream::from_std(stream).unwrap());
            let mut request = String::new();
            successor.stream.read_line(&mut request).await.unwrap();
            assert!(request.contains("take_over"), "{request}");
            let file = |name: &str| OwnedFd::from(File::open(name).unwrap());
            let sockets = Sockets { v4: file("/proc/self/comm"), v6: None, telemetry: Some(file("/dev/null")) };
            successor.hand(&sockets, 7).await.unwrap();
            successor.report(&Draining { pid: 1, flows: 2, seconds_left: 3 }).await.unwrap();
        });
        let asked = path.clone();
        let handed = tokio::task::spawn_blocking(move || take_over(&asked, 1)).await.unwrap().unwrap().unwrap();
        let (sockets, generation, stream) = handed.into_parts().unwrap();
        assert_eq!(generation, 7);
        assert!(sockets.v6.is_none() && sockets.telemetry.is_some());
        let mut text = String::new();
        File::from(sockets.v4).read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
        let mut reports = Vec::new();
        Handed::taken(stream, |report| reports.push(report)).await;
        old.await.unwrap();
        assert_eq!(reports, [Some(Draining { pid: 1, flows: 2, seconds_left: 3 }), None]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn nobody_there_is_no_error() {
        assert!(take_over(Path::new("/nonexistent/admin.sock"), 1).unwrap().is_none());
    }
}
