use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::net::TcpStream;

use crate::upstream::descriptors;

/// What a pipe may hold, in bytes.
const CAPACITY: i32 = 256 * 1024;

/// Empty pipes that a thread keeps.
const SPARE: usize = 32;

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe that splice(2) moves pages through, from socket to socket.
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty one.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(pipe) = EMPTY.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if !(descriptors::has_room(&read) && descriptors::has_room(&write)) {
            return Err(io::ErrorKind::Other.into());
        }
        // Where the user may not have more it stays as it was.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { read, write, held: 0 })
    }

    /// Keeps it for another flow, if no byte of this one is in it.
    pub(super) fn keep(self) {
        EMPTY.with_borrow_mut(|pipes| {
            if self.held == 0 && pipes.len() < SPARE {
                pipes.push(self);
            }
        });
    }

    /// How many bytes are in it.
    pub(super) fn holds(&self) -> usize {
        self.held
    }

    /// Moves what the socket has, at most what fits; 0 at its end.
    pub(super) fn fill(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let moved = splice(socket, None, &self.write, None, CAPACITY as usize, FLAGS)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in it, at most what the socket takes.
    pub(super) fn drain(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let moved = splice(&self.read, None, socket, None, self.held, FLAGS)?;
        self.held -= moved;
        Ok(moved)
    }
}

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);
