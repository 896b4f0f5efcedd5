use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::{Authority, Error, Files};
use super::refusals::{Refusals, Sign};
use crate::model::{Alpn, Host, Reason, Workload};

/// Leaves of our CA, minted when their name is asked for first.
pub struct Leaves {
    files: Files,
    authority: OnceLock<Authority>,
    /// Per name and protocols: sessions are resumed within it. Few: intercepted APIs list their hosts.
    made: Mutex<Made>,
    refusals: Refusals,
}

type Made = HashMap<(Host, Alpn), (Arc<ServerConfig>, Instant)>;

/// Age at which a leaf is minted anew: long before it ends.
const RENEW: Duration = Duration::from_secs(10 * 86_400);

/// Longest wait for a caller to finish its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Leaves {
    /// With the CA in these files.
    pub fn new(files: Files) -> Self {
        Self { files, authority: OnceLock::new(), made: Mutex::default(), refusals: Refusals::default() }
    }

    /// Opens the CA, or makes it: to be asked before an API is intercepted.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn ready(&self) -> Result<(), Error> {
        self.authority().map(drop)
    }

    /// Who refused them.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Speaks TLS with a caller in this name, to speak this protocol inside.
    ///
    /// # Errors
    /// [`Reason::LeafRefused`] when the caller does not trust the CA, [`Reason::DownstreamTls`] for any other failure.
    pub async fn accept<S>(&self, caller: &Workload, name: &Host, alpn: Alpn, stream: S) -> Result<TlsStream<S>, Reason>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config(name, alpn).map_err(|error| {
            tracing::error!(host = %name, %error, "no leaf for this name");
            Reason::DownstreamTls
        })?;
        match timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let workload = &caller.name;
                tracing::warn!(host = %name, %workload, %error, ca = %self.files.certificate.display(), "no TLS with a caller");
                let refused = sign(&error).is_some_and(|sign| self.refusals.refused(caller, name, sign));
                Err(if refused { Reason::LeafRefused } else { Reason::DownstreamTls })
            }
            Err(_) => Err(Reason::DownstreamTls),
        }
    }

    fn authority(&self) -> Result<&Authority, Error> {
        if let Some(authority) = self.authority.get() {
            return Ok(authority);
        }
        let opened = Authority::open(&self.files)?;
        Ok(self.authority.get_or_init(|| opened))
    }

    fn config(&self, name: &Host, alpn: Alpn) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
        if let Some((config, made)) = self.made().get(&(name.clone(), alpn))
            && made.elapsed() < RENEW
        {
            return Ok(Arc::clone(config));
        }
        let leaf = self.authority()?.mint(name)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(leaf.chain, leaf.key)?;
        config.alpn_protocols = alpn.names();
        let config = Arc::new(config);
        self.made().insert((name.clone(), alpn), (Arc::clone(&config), Instant::now()));
        Ok(config)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a handshake ended because the caller does not trust us.
fn sign(error: &io::Error) -> Option<Sign> {
    use rustls::AlertDescription::{
        AccessDenied, BadCertificate, CertificateUnknown, UnknownCA, UnsupportedCertificate,
    };
    if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
        return Some(Sign::Left);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            AccessDenied => Some(Sign::Alert("access_denied")),
            BadCertificate => Some(Sign::Alert("bad_certificate")),
            CertificateUnknown => Some(Sign::Alert("certificate_unknown")),
            UnknownCA => Some(Sign::Alert("unknown_ca")),
            UnsupportedCertificate => Some(Sign::Alert("unsupported_certificate")),
            _ => None,
        },
        _ => None,
    }
}
