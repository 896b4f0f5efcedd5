use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use thiserror::Error as ThisError;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::model::Host;

/// Where the CA is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Its certificate, PEM; further certificates in it are sent along with each leaf.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Why there is no CA.
#[derive(Debug, ThisError)]
pub enum Error {
    /// Clients would not believe it for a host.
    #[error("the CA in {} cannot vouch for {host}: {cause}. Use a CA that may, or another mode for this host", path.display())]
    Forbidden {
        /// The file of its certificate.
        path: PathBuf,
        /// The name of the host.
        host: Host,
        /// The cause of the error.
        cause: String,
    },
    /// Of two files there is one.
    #[error("the CA is not whole: {} is missing. Restore it, or remove the other file for a new CA", .0.display())]
    NotWhole(PathBuf),
    /// A file cannot be read or written.
    #[error("the CA's file {}: {cause}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
    /// What is in the files is no CA.
    #[error("the CA's file {} cannot be used: {cause}", path.display())]
    Invalid {
        /// The path of the file.
        path: PathBuf,
        /// The cause of the error.
        cause: String,
    },
}

/// Who vouches for leaves.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate first.
    chain: Vec<CertificateDer<'static>>,
    /// When the first of them ends.
    ends: SystemTime,
}

/// A certificate, its chain and its key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// From when to when a new one need not be made.
    pub(super) fresh: Range<SystemTime>,
}

/// How long a leaf is valid: less than the 398 days that clients demand, more than clocks are wrong.
const VALID: Duration = Duration::from_secs(30 * DAY);
/// Before its end a leaf is made anew.
const MARGIN: Duration = Duration::from_secs(20 * DAY);
/// How long our own CA is.
const CA_VALID: Duration = Duration::from_secs(10 * 365 * DAY);
const DAY: u64 = 86_400;

impl Authority {
    /// The one in the files; if there are none, a new one, kept there.
    pub(super) fn open(files: &Files) -> Result<Self, Error> {
        match (files.certificate.exists(), files.key.exists()) {
            (false, false) => make(files)?,
            (true, false) => return Err(Error::NotWhole(files.key.clone())),
            (false, true) => return Err(Error::NotWhole(files.certificate.clone())),
            (true, true) => {}
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|cause| Error::File { path: path.to_owned(), cause });
        let invalid = |path: &Path, cause: &dyn std::fmt::Display| Error::Invalid {
            path: path.to_owned(),
            cause: cause.to_string(),
        };
        let pem = read(&files.certificate)?;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid(&files.certificate, &error))?;
        let [own, ..] = chain.as_slice() else {
            return Err(invalid(&files.certificate, &"no certificate is in it"));
        };
        // The error of a key must not show the key.
        let key = KeyPair::from_pem(&read(&files.key)?).map_err(|_| invalid(&files.key, &"no private key in PEM"))?;
        let ends = chain
            .iter()
            .map(|certificate| X509Certificate::from_der(certificate).map(|(_, parsed)| end_of(&parsed)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid(&files.certificate, &error))?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|error| invalid(&files.certificate, &error))?;
        if !parsed.is_ca() {
            return Err(invalid(
                &files.certificate,
                &"its first certificate is not a CA's (basicConstraints, RFC 5280 §4.2.1.9)",
            ));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(invalid(&files.key, &"it is not the key of the CA's certificate"));
        }
        let issuer = Issuer::from_ca_cert_der(own, key).map_err(|error| invalid(&files.certificate, &error))?;
        Ok(Self { issuer, ends: ends.into_iter().min().unwrap_or(SystemTime::UNIX_EPOCH), chain })
    }

    /// When it, or one that it depends on, ends.
    pub(super) fn ends(&self) -> SystemTime {
        self.ends
    }

    /// Verifies a leaf for this name as clients do: names that the CA may vouch for, lengths of paths, signatures. That
    /// the CA has ended is another matter.
    ///
    /// # Errors
    /// Why clients would not believe it.
    pub(super) fn try_for(&self, name: &Host, now: SystemTime) -> Result<(), Box<dyn std::error::Error>> {
        let now = now.min(self.ends - Duration::from_secs(1));
        let leaf = self.mint(name, now)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.chain.last().ok_or(CertificateError::BadEncoding).map_err(rustls::Error::from)?.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let [own, rest @ ..] = leaf.chain.as_slice() else { return Ok(()) };
        let since = now.duration_since(SystemTime::UNIX_EPOCH)?;
        let server = ServerName::try_from(name.as_str())?;
        verifier.verify_server_cert(own, rest, &server, &[], UnixTime::since_unix_epoch(since))?;
        Ok(())
    }

    /// A new leaf for this name.
    pub(super) fn mint(&self, name: &Host, now: SystemTime) -> Result<Leaf, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.as_str().to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        // A common name has at most 64 characters (RFC 5280 appendix A); clients read the other names.
        if name.as_str().len() <= 64 {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let until = (now + VALID).min(self.ends);
        (params.not_before, params.not_after) = ((now - SLOW).into(), until.into());
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = std::iter::once(certificate.der().clone()).chain(self.chain.iter().cloned()).collect();
        let fresh = now - SLOW..now.max(until - MARGIN);
        Ok(Leaf { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()), fresh })
    }
}

/// How slow clocks of clients are believed to be.
const SLOW: Duration = Duration::from_secs(DAY);

fn end_of(certificate: &X509Certificate<'_>) -> SystemTime {
    certificate.validity().not_after.to_datetime().into()
}

/// Creates the CA. It has no name constraints: they would have to list the hosts of intercepted APIs now, and each later API would
/// need another CA that all clients trust. Owners can bring a constrained CA of their own.
fn make(files: &Files) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause: io::Error| Error::File { path, cause }
    };
    let invalid = |error: rcgen::Error| Error::Invalid { path: files.certificate.clone(), cause: error.to_string() };
    let key = KeyPair::generate().map_err(invalid)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(invalid)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let node = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    params.distinguished_name.push(DnType::CommonName, format!("Egret on {node}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - SLOW).into(), (now + CA_VALID).into());
    let certificate = params.self_signed(&key).map_err(invalid)?;
    for directory in [&files.key, &files.certificate].into_iter().filter_map(|path| path.parent()) {
        fs::create_dir_all(directory).map_err(failed(directory))?;
    }
    // The key first: with it alone the next start says that the CA is not whole.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&files.key).map_err(failed(&files.key))?;
    file.write_all(key.serialize_pem().as_bytes()).map_err(failed(&files.key))?;
    fs::write(&files.certificate, certificate.pem()).map_err(failed(&files.certificate))?;
    tracing::info!(certificate = %files.certificate.display(), "made a CA: callers of intercepted APIs must trust it");
    Ok(())
}
