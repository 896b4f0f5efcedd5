//! The sockets of Egret's own lookups. The hooks leave them alone: its queries never go to its own forwarder.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::model::Exempt;

/// Longest wait for a connection, unless the resolver says otherwise.
const CONNECT: Duration = Duration::from_secs(5);

/// Opens a socket for datagrams at this address.
pub(super) fn udp(local: SocketAddr, exempt: &Exempt) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(local)?;
    exempt(socket.as_fd())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Connects to a server from this address, or from one that the kernel chooses.
pub(super) async fn tcp(server: SocketAddr, local: Option<SocketAddr>, exempt: &Exempt) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    exempt(socket.as_fd())?;
    if let Some(local) = local {
        socket.bind(local)?;
    }
    socket.set_nodelay(true)?;
    socket.connect(server).await
}

/// Has a resolver use such sockets.
#[derive(Clone)]
pub(super) struct Runtime {
    tokio: TokioRuntimeProvider,
    exempt: Exempt,
}

impl Runtime {
    pub(super) fn new(exempt: Exempt) -> Self {
        Self { tokio: TokioRuntimeProvider::default(), exempt }
    }
}

type Opening<S> = Pin<Box<dyn Send + Future<Output = io::Result<S>>>>;

impl RuntimeProvider for Runtime {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        let exempt = self.exempt.clone();
        Box::pin(async move {
            let connecting = timeout(patience.unwrap_or(CONNECT), tcp(server, local, &exempt)).await;
            connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(AsyncIoTokioAsStd)
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Opening<Self::Udp> {
        let exempt = self.exempt.clone();
        Box::pin(async move { udp(local, &exempt) })
    }
}
