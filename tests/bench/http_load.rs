//! Applications that speak HTTP/1.1: fixed requests, answers read by their length.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What an application does.
#[derive(Debug, clap::Args)]
pub(crate) struct HttpLoad {
    to: SocketAddr,
    /// The name in `Host`, and in the SNI.
    host: String,
    /// Connections at once.
    connections: u64,
    /// Requests in all.
    count: u64,
    /// Speaks TLS and trusts this authority; every handshake is a full one.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// A connection for each request.
    #[arg(long)]
    anew: bool,
    /// Holds all connections, after their requests, until its standard input ends.
    #[arg(long)]
    hold: bool,
    /// The address that the third party must have seen.
    #[arg(long)]
    source: Option<String>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl HttpLoad {
    pub(crate) fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, Arc::new(self).measure());
    }

    async fn measure(self: Arc<Self>) {
        let tls = self.ca.as_ref().map(|ca| TlsConnector::from(Arc::new(tls(ca))));
        let left = Arc::new(AtomicU64::new(self.count));
        let start = Instant::now();
        let tasks: Vec<_> = (0..self.connections)
            .map(|_| tokio::task::spawn_local(Arc::clone(&self).requests(tls.clone(), Arc::clone(&left))))
            .collect();
        let (mut latencies, mut held) = (Vec::new(), Vec::new());
        for task in tasks {
            let (measured, stream) = task.await.expect("an application's task");
            latencies.extend(measured);
            held.extend(stream);
        }
        let seconds = start.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0.0, Duration::as_secs_f64);
        println!("{}", json!({ "seconds": seconds, "p50": at(50), "p99": at(99) }));
        if self.hold {
            let _ = tokio::task::spawn_blocking(|| std::io::Read::read(&mut std::io::stdin(), &mut [0])).await;
        }
    }

    async fn requests(
        self: Arc<Self>,
        tls: Option<TlsConnector>,
        left: Arc<AtomicU64>,
    ) -> (Vec<Duration>, Vec<Box<dyn Stream>>) {
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", self.host);
        let (mut latencies, mut kept, mut buffer) = (Vec::new(), Vec::new(), vec![0; 16 * 1024]);
        let source = self.source.as_ref().map(|source| format!("x-source: {source}\r\n"));
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let start = Instant::now();
            let mut open = match if self.anew { None } else { kept.pop() } {
                Some(open) => open,
                None => self.open(tls.as_ref()).await,
            };
            open.write_all(request.as_bytes()).await.expect("the request is sent");
            answer(&mut open, &mut buffer, source.as_deref().unwrap_or_default()).await;
            latencies.push(start.elapsed());
            if self.hold || !self.anew {
                kept.push(open);
            }
        }
        (latencies, kept)
    }

    async fn open(&self, tls: Option<&TlsConnector>) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.to).await.unwrap_or_else(|error| panic!("{}: {error}", self.to));
        stream.set_nodelay(true).expect("a connection");
        let Some(tls) = tls else { return Box::new(stream) };
        let name = self.host.clone().try_into().expect("a name");
        Box::new(tls.connect(name, stream).await.expect("a handshake"))
    }
}

fn tls(ca: &PathBuf) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
    // The group that every contestant has.
    let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// Reads an answer to the end that its Content-Length says; its head must contain this.
async fn answer(stream: &mut Box<dyn Stream>, buffer: &mut [u8], expected: &str) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("an answer");
        assert!(read > 0, "the connection ended in an answer: {:?}", String::from_utf8_lossy(&buffer[..filled]));
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head + 2]).expect("a head").to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200") && text.contains(expected), "{text}, not {expected}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if filled == head + 4 + length.parse::<usize>().expect("a number") {
            return;
        }
    }
}
