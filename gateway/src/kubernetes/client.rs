//! The way to the API server: with the credentials of the pod that Egret runs in, or of a kubeconfig file, over connections that the
//! hooks leave alone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use http::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::{TcpSocket, TcpStream};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Service, ServiceBuilder};

use crate::model::{Exempt, Host};

/// Longest wait for the head of a response, the connection and its TLS handshake included.
const HEAD: Duration = Duration::from_secs(30);

/// Longest wait for a connection, of all addresses of the server together.
const CONNECT: Duration = Duration::from_secs(10);

/// Resolves the name of the API server.
pub type Resolve = Arc<dyn Fn(Host) -> Pin<Box<dyn Send + Future<Output = Result<Vec<IpAddr>, String>>>> + Send + Sync>;

/// How the API server is reached.
#[derive(Clone)]
pub struct Access {
    /// The kubeconfig file; without one, the service account of Egret's pod is used.
    pub kubeconfig: Option<PathBuf>,
    /// How connections are opened.
    pub dial: Dial,
}

/// Why the watch cannot go on, where no error says it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the credentials cannot be read within {0:?}")]
    Credentials(Duration),
    #[error(
        "users with `exec` or `auth-provider` are not supported: use a token, a token file or a client certificate"
    )]
    Plugin,
    #[error("the watch has ended")]
    Ended,
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("no list of pods within {0:?}")]
    Silent(Duration),
    #[error("proxy-url is not supported: Egret connects to the API server directly")]
    Proxy,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

impl Access {
    /// Returns a client, and the address of its server. Files are read anew.
    ///
    /// # Errors
    /// There are no credentials, or they cannot be used.
    pub(super) async fn client(&self) -> anyhow::Result<(Client, String)> {
        let config = self.config().await?;
        if config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some() {
            return Err(Unusable::Plugin.into());
        }
        let connector = config.rustls_https_connector_with_connector(self.dial.clone())?;
        let client = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .layer(TimeoutLayer::new(HEAD))
            .map_err(BoxError::from)
            .service(client);
        Ok((Client::new(service, config.default_namespace.clone()), config.cluster_url.to_string()))
    }

    async fn config(&self) -> anyhow::Result<Config> {
        match &self.kubeconfig {
            Some(path) => {
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || Kubeconfig::read_from(file)).await?;
                let read = read.with_context(|| format!("kubernetes.kubeconfig {}", path.display()))?;
                // The environment's proxy is for other programs.
                if read.clusters.iter().any(|named| named.cluster.as_ref().is_some_and(|cluster| cluster.proxy_url.is_some())) {
                    return Err(Unusable::Proxy.into());
                }
                let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
                config.with_context(|| format!("kubernetes.kubeconfig {}", path.display()))
            }
            None => tokio::task::spawn_blocking(Config::incluster).await?.context(
                "kubernetes.api: Egret does not run in a pod with a service account, and no `kubernetes.kubeconfig` is configured",
            ),
        }
    }
}

/// Opens connections to the API server.
#[derive(Clone)]
pub struct Dial {
    /// Marks a socket as Egret's own.
    pub exempt: Exempt,
    /// Resolves the server's name, where its address is a name.
    pub resolve: Resolve,
}

impl Dial {
    async fn connect(self, target: Uri) -> io::Result<TcpStream> {
        let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = target.port_u16().unwrap_or(443);
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                let name = Host::parse(&host).map_err(|error| io::Error::other(format!("{host}: {error}")))?;
                (self.resolve)(name).await.map_err(|error| io::Error::other(format!("{host}: {error}")))?
            }
        };
        let mut last = io::Error::other(format!("{host} has no address"));
        for address in addresses {
            let destination = SocketAddr::new(address, port);
            match self.open(destination).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = io::Error::new(error.kind(), format!("{destination}: {error}")),
            }
        }
        Err(last)
    }

    async fn open(&self, destination: SocketAddr) -> io::Result<TcpStream> {
        let socket = if destination.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        (self.exempt)(socket.as_fd())?;
        socket.set_nodelay(true)?;
        socket.connect(destination).await
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Send + Future<Output = io::Result<Self::Response>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT, dial.connect(target)).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        })
    }
}
