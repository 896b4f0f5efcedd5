use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::hand_over::Successor;
use super::{Request, Response};

/// A response that is still being made.
pub type Responding<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Handles the requests that come to the admin socket.
pub trait Handler: Send + Sync + 'static {
    /// Responds to any request but [`Request::TakeOver`].
    fn respond(&self, request: Request) -> Responding<'_>;

    /// Hands over to the process at the other end, or tells it why not.
    fn hand_over(&self, abi_version: u32, pid: u32, successor: Successor);
}

/// The listening side of the admin socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

/// The socket's file.
#[derive(Clone, Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode number.
    identity: (u64, u64),
}

/// Maximum length of a request line, in bytes.
pub const MAX_REQUEST: usize = 2 << 20;

impl Server {
    /// Listens at this path. A socket that is already there is replaced atomically, so there is always one.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        let file = SocketFile { path: path.to_owned(), identity: identity(&fresh)? };
        fs::rename(&fresh, path)?;
        Ok(Self { listener, file })
    }

    /// Returns the socket's file.
    pub fn file(&self) -> SocketFile {
        self.file.clone()
    }

    /// Serves until cancelled. Processes that have connected and were not accepted see the connection end.
    pub async fn run(self, handler: Arc<dyn Handler>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, handler).await {
                            tracing::debug!(%error, "a conversation on the admin socket failed");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl SocketFile {
    /// Removes the file, unless another process has replaced it.
    pub fn remove(&self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

async fn converse(stream: UnixStream, handler: Arc<dyn Handler>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        tracing::warn!(uid, "refused a user on the admin socket");
        return Ok(());
    }
    let mut stream = BufReader::with_capacity(4096, stream);
    while let Some(line) = read_line(&mut stream).await? {
        let response = match serde_json::from_slice(&line) {
            Ok(Request::TakeOver { abi_version, pid }) => {
                handler.hand_over(abi_version, pid, Successor::new(stream.into_inner()));
                return Ok(());
            }
            Ok(request) => handler.respond(request).await,
            Err(error) => Response::Error(format!("not a valid request: {error}")),
        };
        let mut text = serde_json::to_vec(&response)?;
        text.push(b'\n');
        stream.write_all(&text).await?;
    }
    Ok(())
}

/// Returns the next line without its end, or nothing at the end of the stream.
async fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let chunk = stream.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        stream.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
        if line.len() > MAX_REQUEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
        }
    }
}

#[cfg(test)]
mod fuzz;
