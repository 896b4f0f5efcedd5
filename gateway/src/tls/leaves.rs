use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::{Authority, Error, Files};
use super::refusals::{Refusals, Sign};
use crate::model::{Alpn, Host, Reason, Workload};

/// Issues leaves of Egret's CA for the names that callers ask for. The files of the CA are read by [`Leaves::ready`] and
/// [`Leaves::refresh`] only: nothing on the data path touches the file system.
pub struct Leaves {
    files: Files,
    current: ArcSwapOption<Current>,
    refusals: Refusals,
}

/// A CA as it was read, and its leaves.
struct Current {
    authority: Authority,
    /// The version of the files that it was read from, or of a later one that could not be used.
    stamp: Mutex<Stamp>,
    /// The TLS configuration per name and protocols. Sessions are resumed within one configuration.
    made: Mutex<HashMap<(Host, Alpn), Made>>,
}

/// A leaf as TLS uses it, and the time for which it is fresh.
type Made = (Arc<ServerConfig>, Range<SystemTime>);

/// The version of the CA's files: modification time and inode of each.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// The number of leaves that are kept; past it, all are issued again.
const KEPT: usize = 1024;

/// The rest of the CA's validity below which Egret warns.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

/// The longest wait for a caller to finish its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Leaves {
    /// Creates the issuer for the CA in these files. It reads nothing yet.
    pub fn new(files: Files) -> Self {
        Self { files, current: ArcSwapOption::default(), refusals: Refusals::default() }
    }

    /// Opens the CA, or creates it, before an API with these hosts is intercepted. This reads files.
    ///
    /// # Errors
    /// [`Error`] when there is no usable CA, or when clients would not believe it for one of these hosts.
    pub fn ready<'a>(&self, hosts: impl IntoIterator<Item = &'a Host>) -> Result<(), Error> {
        let now = SystemTime::now();
        self.refresh();
        let current = match self.current.load_full() {
            Some(current) => current,
            None => self.replace(self.read()?),
        };
        for host in hosts {
            current.authority.try_for(host, now).map_err(|error| Error::Forbidden {
                path: self.files.certificate.clone(),
                host: host.clone(),
                cause: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// Reads the CA again if its files have changed, so that replacing them needs no restart. This reads files: call it
    /// regularly, where blocking is allowed.
    pub fn refresh(&self) {
        let Some(current) = self.current.load_full() else { return };
        let stamp = stamp(&self.files);
        if std::mem::replace(&mut *lock(&current.stamp), stamp) == stamp {
            return;
        }
        match self.read() {
            Ok(changed) => drop(self.replace(changed)),
            Err(error) => tracing::error!(%error, "the changed CA cannot be used; the previous one stays in force"),
        }
    }

    /// Returns when the CA, or one that it depends on, expires; none while no CA is in use.
    pub fn ends(&self) -> Option<SystemTime> {
        Some(self.current.load_full()?.authority.ends())
    }

    /// Returns the programs that refused leaves.
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
                let workload = &caller.identity.name;
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
        let current = self.current.load_full().ok_or("no CA was opened")?;
        let key = (name.clone(), alpn);
        if let Some((config, _)) = lock(&current.made).get(&key).filter(|(_, fresh)| fresh.contains(&now)) {
            return Ok(Arc::clone(config));
        }
        let leaf = current.authority.mint(name, now)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(leaf.chain, leaf.key)?;
        config.alpn_protocols = alpn.names();
        let config = Arc::new(config);
        let mut made = lock(&current.made);
        if made.len() >= KEPT {
            made.clear();
        }
        // Of callers that ask at the same time, the last one's leaf is kept.
        made.insert(key, (Arc::clone(&config), leaf.fresh));
        Ok(config)
    }

    fn replace(&self, changed: Current) -> Arc<Current> {
        let changed = Arc::new(changed);
        self.current.store(Some(Arc::clone(&changed)));
        changed
    }

    fn read(&self) -> Result<Current, Error> {
        // Before the files are read: a change meanwhile is seen next time. Files that are not there yet are created.
        let before = stamp(&self.files);
        let authority = Authority::open(&self.files)?;
        let certificate = self.files.certificate.display();
        match authority.ends().duration_since(SystemTime::now()) {
            Ok(left) if left > ENDS_SOON => {}
            Ok(left) => {
                tracing::warn!(%certificate, days = left.as_secs() / 86_400, "the CA expires soon: replace its files")
            }
            Err(_) => tracing::error!(%certificate, "the CA has expired, and no caller accepts it: replace its files"),
        }
        let read = if before == [None, None] { stamp(&self.files) } else { before };
        Ok(Current { authority, stamp: Mutex::new(read), made: Mutex::default() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        leaves.ready([&name]).unwrap();
        let at = |days: u32| leaves.config(&name, Alpn::HTTP1, SystemTime::now() + days * DAY).unwrap();
        let (first, kept, anew) = (at(0), at(9), at(11));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(Arc::ptr_eq(&first, &kept));
        assert!(!Arc::ptr_eq(&first, &anew));
    }
}
