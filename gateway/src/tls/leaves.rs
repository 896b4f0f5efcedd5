use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
    current: Mutex<Option<Current>>,
    refusals: Refusals,
}

/// A CA as it was read, and its leaves.
struct Current {
    authority: Authority,
    stamp: Stamp,
    looked: Instant,
    /// Per name and protocols: sessions are resumed within it.
    made: HashMap<(Host, Alpn), (Arc<ServerConfig>, Range<SystemTime>)>,
}

/// What tells one version of the CA's files from another: time of change, inode.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Leaves that are kept; past this many, all are minted anew.
const KEPT: usize = 1024;

/// Before its end the CA is a warning.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

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
        Self { files, current: Mutex::default(), refusals: Refusals::default() }
    }

    /// Opens the CA, or makes it: to be asked before an API with these hosts is intercepted.
    ///
    /// # Errors
    /// There is none, or clients would not believe it for one of these hosts, and why.
    pub fn ready<'a>(&self, hosts: impl IntoIterator<Item = &'a Host>) -> Result<(), Error> {
        let now = SystemTime::now();
        let mut current = self.current();
        let authority = &self.open(&mut current)?.authority;
        for host in hosts {
            authority.try_for(host, now).map_err(|error| Error::Forbidden {
                path: self.files.certificate.clone(),
                host: host.clone(),
                cause: error.to_string(),
            })?;
        }
        Ok(())
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
        let config = self.config(name, alpn, SystemTime::now()).map_err(|error| {
            tracing::error!(host = %name, %error, "no leaf for this name");
            Reason::DownstreamTls
        })?;
        match timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let workload = &caller.name;
                let sign = sign(&error);
                // A caller can fail as often as it likes: the access log has each time, this one the first of a pair.
                if sign.is_some() && self.refusals.is_new(caller, name) {
                    tracing::warn!(host = %name, %workload, %error, ca = %self.files.certificate.display(), "a caller does not trust the CA");
                } else {
                    tracing::debug!(host = %name, %workload, %error, "no TLS with a caller");
                }
                let refused = match sign {
                    Some(sign) => self.refusals.refused(caller, name, sign).await,
                    None => false,
                };
                Err(if refused { Reason::LeafRefused } else { Reason::DownstreamTls })
            }
            Err(_) => Err(Reason::DownstreamTls),
        }
    }

    fn config(
        &self,
        name: &Host,
        alpn: Alpn,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
        let mut current = self.current();
        let Current { authority, made, .. } = self.open(&mut current)?;
        let key = (name.clone(), alpn);
        if let Some((config, _)) = made.get(&key).filter(|(_, fresh)| fresh.contains(&now)) {
            return Ok(Arc::clone(config));
        }
        let leaf = authority.mint(name, now)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(leaf.chain, leaf.key)?;
        config.alpn_protocols = alpn.names();
        let config = Arc::new(config);
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(key, (Arc::clone(&config), leaf.fresh));
        Ok(config)
    }

    /// The CA as it is in its files: who replaces them needs no restart.
    fn open<'a>(&self, current: &'a mut Option<Current>) -> Result<&'a mut Current, Error> {
        let opened = match current.take() {
            Some(kept) => self.look(kept),
            None => self.read()?,
        };
        Ok(current.insert(opened))
    }

    fn look(&self, mut kept: Current) -> Current {
        if kept.looked.elapsed() < LOOK {
            return kept;
        }
        kept.looked = Instant::now();
        let stamp = stamp(&self.files);
        if kept.stamp == stamp {
            return kept;
        }
        self.read().unwrap_or_else(|error| {
            tracing::error!(%error, "the changed CA is not used, the one before is");
            kept.stamp = stamp;
            kept
        })
    }

    fn read(&self) -> Result<Current, Error> {
        let authority = Authority::open(&self.files)?;
        let certificate = self.files.certificate.display();
        match authority.ends().duration_since(SystemTime::now()) {
            Ok(left) if left > ENDS_SOON => {}
            Ok(left) => {
                tracing::warn!(%certificate, days = left.as_secs() / 86_400, "the CA ends soon: replace its files")
            }
            Err(_) => tracing::error!(%certificate, "the CA has ended, no caller believes it: replace its files"),
        }
        Ok(Current { authority, stamp: stamp(&self.files), looked: Instant::now(), made: HashMap::new() })
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(files: &Files) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.ino()))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn leaves_are_minted_anew_long_before_they_end() {
        let directory = std::env::temp_dir().join(format!("egret-leaves-{}", std::process::id()));
        let leaves = Leaves::new(Files { certificate: directory.join("ca.pem"), key: directory.join("ca-key.pem") });
        let name = Host::parse("api.partner.example").unwrap();
        let at = |days: u32| leaves.config(&name, Alpn::HTTP1, SystemTime::now() + days * DAY).unwrap();
        let (first, kept, anew) = (at(0), at(9), at(11));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(Arc::ptr_eq(&first, &kept));
        assert!(!Arc::ptr_eq(&first, &anew));
    }
}
