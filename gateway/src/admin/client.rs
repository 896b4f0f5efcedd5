use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error as ThisError;

use super::{Request, Response};

/// The client of the admin socket, for the CLI. It blocks.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no response.
#[derive(Debug, ThisError)]
pub enum Error {
    /// No daemon listens on the socket.
    #[error("no daemon runs at {}. Start one with `egret run --config PATH`, or name its socket with --socket", path.display())]
    NoDaemon {
        /// The path of the socket.
        path: PathBuf,
        /// The error of `connect`.
        source: io::Error,
    },
    /// The socket's mode excludes this user.
    #[error("only root can use the daemon's socket {}: use sudo", .0.display())]
    NotAllowed(PathBuf),
    /// The daemon responded with an error.
    #[error("{0}")]
    Refused(String),
    /// The connection failed.
    #[error("the daemon at {} closed the connection: {cause}", path.display())]
    Broken {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
}

impl Client {
    /// Maximum wait for a response that the daemon makes itself.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Maximum wait for a response that depends on a third party.
    const LONG_PATIENCE: Duration = Duration::from_secs(90);

    /// Connects to the daemon's socket.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::NotAllowed(path.to_owned()),
            _ => Error::NoDaemon { path: path.to_owned(), source },
        })?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Sends a request and returns the response. A daemon that hands over closes its connections: then its successor is asked, unless
    /// the request may have been sent to a third party.
    pub fn ask(&mut self, request: &Request) -> Result<Response, Error> {
        match self.exchange(request) {
            Err(Error::Broken { cause, .. }) if is_closed(&cause) && !matches!(request, Request::Send(_)) => {
                *self = Self::connect(&self.path)?;
                self.exchange(request)
            }
            outcome => outcome,
        }
    }

    fn exchange(&mut self, request: &Request) -> Result<Response, Error> {
        let patience = if matches!(request, Request::Send(_)) { Self::LONG_PATIENCE } else { Self::PATIENCE };
        let mut exchange = || -> io::Result<Response> {
            self.stream.get_ref().set_read_timeout(Some(patience))?;
            let mut line = serde_json::to_vec(request)?;
            line.push(b'\n');
            self.stream.get_mut().write_all(&line)?;
            let mut answer = String::new();
            if self.stream.read_line(&mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(serde_json::from_str(&answer)?)
        };
        match exchange() {
            Ok(Response::Error(why)) => Err(Error::Refused(why)),
            Ok(response) => Ok(response),
            Err(cause) => Err(self.broken(cause)),
        }
    }

    fn broken(&self, cause: io::Error) -> Error {
        Error::Broken { path: self.path.clone(), cause }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
