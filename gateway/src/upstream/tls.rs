mod pinned;

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::pinned::Pinned;
use super::PATIENCE;
use crate::model::{Alpn, Backend, Host, Reason, TlsVersion};

/// TLS with third parties. Their certificates are verified for the real name, always.
#[derive(Debug)]
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    system: RootCertStore,
    /// What was made for a backend: sessions are resumed within it.
    made: Mutex<Vec<Made>>,
}

type Made = (Arc<Backend>, Alpn, Arc<ClientConfig>);

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
        Self { provider: Arc::new(default_provider()), system, made: Mutex::default() }
    }

    /// Speaks TLS with a backend of this name, offering these protocols.
    ///
    /// # Errors
    /// [`Reason::UpstreamTls`] when it cannot be trusted or nothing could be agreed on, [`Reason::UpstreamTimeout`].
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        backend: &Arc<Backend>,
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

    fn config(&self, backend: &Arc<Backend>, alpn: Alpn) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made.iter().find(|(known, offered, _)| known == backend && *offered == alpn);
        if let Some((.., config)) = known {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(backend, alpn)?);
        if made.len() == REMEMBERED {
            made.remove(0);
        }
        made.push((Arc::clone(backend), alpn, Arc::clone(&config)));
        Ok(config)
    }

    fn make(&self, backend: &Backend, alpn: Alpn) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let mut authorities = self.system.clone();
        for certificate in &backend.authorities {
            authorities.add(CertificateDer::from_slice(certificate))?;
        }
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider));
        let versions = match backend.min_tls {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12][..],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let verified = Pinned::new(verifier.build()?, backend.pins.clone());
        // Not a way around the verification: one more condition on top of it.
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verified));
        let mut config = match &backend.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let chain = client.chain.iter().map(|certificate| CertificateDer::from(certificate.clone())).collect();
                let key = PrivateKeyDer::try_from(client.key.expose().to_vec())?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = alpn.names();
        Ok(config)
    }
}
