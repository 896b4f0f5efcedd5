//! Sockets in other network namespaces. One thread enters them, one after the other, so that no worker ever leaves the node's.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

use super::{Listeners, socket};

/// Where the kernel shows the network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// The thread that enters network namespaces. It ends with this.
#[derive(Clone, Debug)]
pub struct Entrance {
    orders: mpsc::Sender<Order>,
}

struct Order {
    namespace: PathBuf,
    ports: (u16, Option<u16>),
    done: oneshot::Sender<io::Result<Opened>>,
}

type Opened = (OwnedFd, Option<OwnedFd>);

impl Entrance {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub fn open() -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        thread::Builder::new().name("namespaces".to_owned()).spawn(move || work(&received))?;
        Ok(Self { orders })
    }

    /// Listens on the loopback of a network namespace, on the same ports as `like`. The namespace is a file of it: that of a process in
    /// /proc, or one below /run/netns.
    ///
    /// # Errors
    /// The namespace is gone, Egret may not enter it, or another program has the port of IPv4.
    pub async fn listen(&self, namespace: PathBuf, like: &Listeners) -> io::Result<Listeners> {
        let (done, opened) = oneshot::channel();
        let order = Order { namespace, ports: like.ports(), done };
        self.orders.send(order).map_err(|_| io::ErrorKind::BrokenPipe)?;
        let (v4, v6) = opened.await.map_err(|_| io::ErrorKind::BrokenPipe)??;
        Listeners::adopt(v4, v6)
    }
}

fn work(orders: &mpsc::Receiver<Order>) {
    while let Ok(Order { namespace, ports, done }) = orders.recv() {
        // Whoever ordered may have gone.
        let _ = done.send(inside(&namespace, || open(ports)));
    }
}

/// Does something in a network namespace, and comes back.
fn inside<T>(namespace: &Path, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (own, namespace) = (File::open(OWN)?, File::open(namespace)?);
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let done = what();
    setns(own, CloneFlags::CLONE_NEWNET)?;
    done
}

fn open((v4, v6): (u16, Option<u16>)) -> io::Result<Opened> {
    let opened = socket((Ipv4Addr::LOCALHOST, v4).into())?;
    // Many namespaces have no IPv6.
    let v6 = v6.and_then(|port| socket((Ipv6Addr::LOCALHOST, port).into()).ok());
    Ok((opened.into(), v6.map(OwnedFd::from)))
}

/// Returns the inode number of a socket's network namespace, by which /proc names it.
///
/// # Errors
/// The kernel does not say.
pub fn namespace_of(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // include/uapi/linux/sockios.h.
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: the request takes no argument and returns a new descriptor, or a negative number.
    let fd = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let namespace = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(namespace.metadata()?.ino())
}
