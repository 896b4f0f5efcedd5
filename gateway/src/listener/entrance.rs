//! Sockets in other network namespaces. One thread enters them, one after the other, so that no worker ever leaves the node's.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

/// The port of the discard service (RFC 863).
const DISCARD: u16 = 9;

/// Where the kernel shows the network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// The thread that enters network namespaces. It ends with this.
#[derive(Clone, Debug)]
pub struct Entrance {
    orders: mpsc::Sender<Order>,
}

/// What the thread does; it gets its own network namespace.
type Order = Box<dyn FnOnce(&File) + Send>;

/// A network namespace to enter.
#[derive(Debug)]
pub enum Way {
    /// A file of it: that of a process in /proc, or one below /run/netns.
    Path(PathBuf),
    /// A descriptor of it.
    Descriptor(OwnedFd),
}

impl Entrance {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub fn open() -> io::Result<Self> {
        let (orders, received) = mpsc::channel::<Order>();
        let own = File::open(OWN)?;
        let work = move || received.into_iter().for_each(|order| order(&own));
        thread::Builder::new().name("namespaces".to_owned()).spawn(work)?;
        Ok(Self { orders })
    }

    /// Opens a file of a network namespace.
    ///
    /// # Errors
    /// The namespace is gone, or Egret may not see it.
    pub async fn way(&self, path: PathBuf) -> io::Result<OwnedFd> {
        self.ordered(|_| File::open(path).map(OwnedFd::from)).await
    }

    /// Does something in a network namespace, which must neither block nor panic, and returns what it returned.
    ///
    /// # Errors
    /// The namespace is gone, Egret may not enter it, or what it did there failed.
    pub async fn inside<T: Send + 'static>(
        &self,
        way: Way,
        what: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.ordered(|own| inside(own, way, what)).await
    }

    async fn ordered<T: Send + 'static>(
        &self,
        what: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, outcome) = oneshot::channel();
        let order: Order = Box::new(move |own| {
            // Whoever ordered may have gone.
            let _ = done.send(what(own));
        });
        self.orders.send(order).map_err(|_| io::ErrorKind::BrokenPipe)?;
        outcome.await.map_err(|_| io::ErrorKind::BrokenPipe)?
    }
}

/// Does something in a network namespace, and comes back.
fn inside<T>(own: &File, way: Way, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let namespace = match way {
        Way::Path(path) => File::open(path)?.into(),
        Way::Descriptor(descriptor) => descriptor,
    };
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let done = what();
    setns(own, CloneFlags::CLONE_NEWNET)?;
    done
}

/// Returns whether the loopback device is up in a socket's network namespace.
///
/// # Errors
/// The kernel does not say.
pub fn loopback_is_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // include/uapi/linux/sockios.h.
    const SIOCGIFFLAGS: libc::Ioctl = 0x8913;
    // SAFETY: this structure of numbers may be all zeros.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = libc::c_char::try_from(from).unwrap_or_default();
    }
    // SAFETY: the request reads the name and writes the flags, both within the structure (netdevice(7)).
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFFLAGS, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags) & libc::IFF_UP != 0)
}

/// Returns a socket's network namespace.
///
/// # Errors
/// The kernel does not say.
pub fn namespace_of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // include/uapi/linux/sockios.h.
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: the request takes no argument and returns a new descriptor, or a negative number.
    let fd = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The loopback addresses of a network namespace. It has none as long as the device is down. What is bound to 127.0.0.1 before sends from
/// other addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// It has no address.
    Down,
    /// It has 127.0.0.1 alone.
    V4,
    /// It has ::1 too.
    Both,
}

impl Loopback {
    /// Returns those of the network namespace of the calling thread.
    pub fn here() -> Self {
        // Nothing is sent; the kernel looks for the way.
        let reaches = |any: IpAddr, address: IpAddr| {
            UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, DISCARD))).is_ok()
        };
        if !reaches(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()) {
            return Self::Down;
        }
        if reaches(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()) { Self::Both } else { Self::V4 }
    }
}
