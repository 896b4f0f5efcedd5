//! The forwarder's part of the hooks: its sockets, its heartbeat, and who sent what it receives.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, SkStorage};
use egret_kernel::{DNS_SLOTS, DnsSender, DnsSettings, Port, map};

use super::maps::{local_port, lock, monotonic, take};
use super::{Capture, Error, map_error, rows, sockets};
use crate::model::{DnsSender as Sender, Origin, OriginalDst};

/// The maps of the forwarder.
pub(super) struct Dns {
    settings: Mutex<Array<MapData, DnsSettings>>,
    heartbeat: Mutex<Array<MapData, u64>>,
    senders: Mutex<SkStorage<MapData, DnsSender>>,
    direct: Mutex<HashMap<MapData, u64, u64>>,
}

impl Dns {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            settings: Mutex::new(take(object, map::DNS)?),
            heartbeat: Mutex::new(take(object, map::DNS_HEARTBEAT)?),
            senders: Mutex::new(take(object, map::DNS_SENDERS)?),
            direct: Mutex::new(take(object, map::DNS_DIRECT)?),
        })
    }

    fn set(&self, settings: DnsSettings) -> Result<(), Error> {
        lock(&self.settings).set(0, settings, 0).map_err(map_error(map::DNS))
    }

    fn beat(&self) -> Result<(), Error> {
        let now = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        lock(&self.heartbeat).set(0, now, 0).map_err(map_error(map::DNS_HEARTBEAT))
    }

    /// Returns who sent the datagram that this socket received last.
    fn sender(&self, socket: BorrowedFd<'_>) -> Option<Sender> {
        let DnsSender { origin, owners, server, address, port, .. } = lock(&self.senders).get(&socket, 0).ok()?;
        if server.port == Port::default() {
            return None;
        }
        let server = SocketAddr::new(IpAddr::from(server.address), server.port.into());
        let origin = Origin { original_dst: OriginalDst(server), ..rows::origin(&origin) };
        Some(Sender { address: SocketAddr::new(IpAddr::from(address), port.into()), origin, cgroups: owners })
    }
}

impl Capture {
    /// The number of sockets of each family that the forwarder has.
    pub const DNS_SOCKETS: usize = DNS_SLOTS;

    /// Sends DNS queries of callers to these sockets from now on, while [`Capture::beat_for_dns`] is not older than this.
    /// There are [`Capture::DNS_SOCKETS`] for IPv4 on adjacent ports, and as many or none for IPv6.
    pub fn forward_dns(&self, v4: &[BorrowedFd<'_>], v6: &[BorrowedFd<'_>], stale: Duration) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::Map { map: map::DNS, cause: error.to_string() };
        for socket in v4.iter().chain(v6) {
            self.maps.mark_forwarder(*socket)?;
        }
        let first = |sockets: &[BorrowedFd<'_>]| sockets.first().map_or(Ok(0), |first| local_port(*first));
        let stale_after = u64::try_from(stale.as_nanos()).unwrap_or(u64::MAX);
        self.maps.dns.beat()?;
        self.maps.dns.set(DnsSettings {
            stale_after,
            v4: first(v4).map_err(failed)?,
            v6: first(v6).map_err(failed)?,
            pad: [0; 4],
        })
    }

    /// Lets DNS queries leave directly from now on.
    pub fn leave_dns(&self) -> Result<(), Error> {
        self.maps.dns.set(DnsSettings::default())
    }

    /// Lets the DNS queries of one cgroup leave directly for this time.
    pub fn leave_dns_of(&self, cgroup: u64, time: Duration) -> Result<(), Error> {
        let until = u64::try_from((monotonic() + time).as_nanos()).unwrap_or(u64::MAX);
        lock(&self.maps.dns.direct).insert(cgroup, until, 0).map_err(map_error(map::DNS_DIRECT))
    }

    /// Disconnects the socket of a caller at `local` that asks the forwarder at `remote`: datagrams of connected sockets pass no hook.
    /// Its program must connect again, to where the hooks let it. Returns false if the socket has no peer. `netlink` is a socket of
    /// `NETLINK_SOCK_DIAG` in the network namespace of that socket.
    ///
    /// # Errors
    /// The kernel lacks CONFIG_INET_DIAG_DESTROY, or the socket has gone.
    pub fn disconnect_from_dns(
        netlink: BorrowedFd<'_>,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> std::io::Result<bool> {
        sockets::disconnect(netlink, local, remote)
    }

    /// Writes the forwarder's heartbeat.
    pub fn beat_for_dns(&self) -> Result<(), Error> {
        self.maps.dns.beat()
    }

    /// Has the hooks send queries to a socket in another network namespace, which is bound to the first port of its family.
    pub fn forward_dns_to(&self, socket: BorrowedFd<'_>) -> Result<(), Error> {
        self.maps.mark_forwarder(socket)
    }

    /// Returns who sent the datagram that this socket of the forwarder received last. Another reader of the same socket may have
    /// received one since: then the address differs.
    pub fn dns_sender(&self, socket: BorrowedFd<'_>) -> Option<Sender> {
        self.maps.dns.sender(socket)
    }
}
