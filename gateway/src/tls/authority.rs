use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error as ThisError;

use crate::model::Host;

/// Where the CA is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Its certificate, PEM; further certificates in it are sent along with each leaf.
    pub certificate: PathBuf,
    /// Its private key, PEM (PKCS #8).
    pub key: PathBuf,
}

/// Why there is no CA.
#[derive(Debug, ThisError)]
pub enum Error {
    /// Of two files there is one.
    #[error("the CA is not whole: {} is missing. Restore it, or remove the other file for a new CA", .0.display())]
    NotWhole(PathBuf),
    /// A file cannot be read or written.
    #[error("the CA's file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// What is in the files is no CA.
    #[error("the CA's file {} cannot be used: {cause}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

/// Who vouches for leaves.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
}

/// A certificate, its chain and its key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// How long a leaf is valid: less than the 398 days that clients demand, more than clocks are wrong.
const VALID: Duration = Duration::from_secs(30 * DAY);
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
        let read =
            |path: &Path| fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source });
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
        let key = KeyPair::from_pem(&read(&files.key)?).map_err(|_| invalid(&files.key, &"no PKCS #8 key in PEM"))?;
        let issuer = Issuer::from_ca_cert_der(own, key).map_err(|error| invalid(&files.certificate, &error))?;
        Ok(Self { issuer, chain })
    }

    /// A new leaf for this name.
    pub(super) fn mint(&self, name: &Host) -> Result<Leaf, rcgen::Error> {
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
        (params.not_before, params.not_after) = validity(VALID);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = std::iter::once(certificate.der().clone()).chain(self.chain.iter().cloned()).collect();
        Ok(Leaf { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) })
    }
}

/// From a day ago, for clocks that are slow.
fn validity(length: Duration) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let now = SystemTime::now();
    ((now - Duration::from_secs(DAY)).into(), (now + length).into())
}

fn make(files: &Files) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::File { path, source }
    };
    let invalid = |error: rcgen::Error| Error::Invalid { path: files.certificate.clone(), cause: error.to_string() };
    let key = KeyPair::generate().map_err(invalid)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(invalid)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let node = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    params.distinguished_name.push(DnType::CommonName, format!("Egret on {node}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(CA_VALID);
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
