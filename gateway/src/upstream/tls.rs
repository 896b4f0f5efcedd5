use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;
use crate::model::{Alpn, Backend, Host, Reason};

/// TLS with third parties. Their certificates are verified for the real name, always.
#[derive(Debug)]
pub(super) struct Tls {
    system: RootCertStore,
    /// What was made for a backend: sessions are resumed within it.
    made: Mutex<Vec<(Backend, Alpn, Arc<ClientConfig>)>>,
}

/// Backends that are remembered; beyond, the oldest is made anew.
const REMEMBERED: usize = 1024;

impl Tls {
    /// With the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured).
    pub(super) fn new() -> Self {
        let mut system = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_, unusable) = system.add_parsable_certificates(found.certs);
        if unusable > 0 || !found.errors.is_empty() {
            tracing::warn!(unusable, errors = ?found.errors, "some of the system's authorities cannot be used");
        }
        Self { system, made: Mutex::default() }
    }

    /// Speaks TLS with a backend of this name, offering these protocols.
    ///
    /// # Errors
    /// [`Reason::UpstreamTls`] when it cannot be trusted or nothing could be agreed on, [`Reason::UpstreamTimeout`].
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        backend: &Backend,
        host: &Host,
        alpn: Alpn,
        stream: S,
    ) -> Result<TlsStream<S>, Reason> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(%host, %error, "no TLS with the third party");
            Reason::UpstreamTls
        };
        let name = ServerName::try_from(host.as_str().to_owned()).map_err(|error| failed(&error))?;
        let config = self.config(backend, alpn).map_err(|error| failed(&error))?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        timeout(PATIENCE, connecting).await.map_err(|_| Reason::UpstreamTimeout)?.map_err(|error| failed(&error))
    }

    fn config(&self, backend: &Backend, alpn: Alpn) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made.iter().find(|(known, offered, _)| known == backend && *offered == alpn);
        if let Some((.., config)) = known {
            return Ok(Arc::clone(config));
        }
        let mut authorities = self.system.clone();
        for certificate in &backend.authorities {
            authorities.add(CertificateDer::from_slice(certificate))?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        config.alpn_protocols = alpn.names();
        let config = Arc::new(config);
        if made.len() == REMEMBERED {
            made.remove(0);
        }
        made.push((backend.clone(), alpn, Arc::clone(&config)));
        Ok(config)
    }
}
