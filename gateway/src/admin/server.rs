use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::hand_over::Successor;
use super::{Request, Response};

/// An answer that takes its time.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Who answers.
pub trait Desk: Send + Sync + 'static {
    /// Answers anything but [`Request::TakeOver`].
    fn answer(&self, request: Request) -> Answering<'_>;

    /// Hands over to the process at the other end, or says why not.
    fn hand_over(&self, abi_version: u32, pid: u32, successor: Successor);
}

/// The listening side.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// Longest request line, in bytes.
pub const MAX_REQUEST: usize = 2 << 20;

impl Server {
    /// Listens at this path, replacing whatever socket was there: atomically, so that there is always one.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        fs::rename(&fresh, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers until cancelled.
    pub async fn run(&self, desk: Arc<dyn Desk>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let desk = Arc::clone(&desk);
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, desk).await {
                            tracing::debug!(%error, "an admin conversation ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Removes the socket's file. Not called when a successor has replaced it.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn converse(stream: UnixStream, desk: Arc<dyn Desk>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        tracing::warn!(uid, "refused a user on the admin socket");
        return Ok(());
    }
    let mut stream = BufReader::with_capacity(4096, stream);
    loop {
        let mut line = Vec::new();
        loop {
            let chunk = stream.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(());
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
            let used = end.map_or(chunk.len(), |end| end + 1);
            stream.consume(used);
            if end.is_some() {
                break;
            }
            if line.len() > MAX_REQUEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
            }
        }
        let response = match serde_json::from_slice(&line) {
            Ok(Request::TakeOver { abi_version, pid }) => {
                desk.hand_over(abi_version, pid, Successor::new(stream.into_inner()));
                return Ok(());
            }
            Ok(request) => desk.answer(request).await,
            Err(error) => Response::Error(format!("not a request: {error}")),
        };
        let mut answer = serde_json::to_vec(&response)?;
        answer.push(b'\n');
        stream.write_all(&answer).await?;
    }
}
