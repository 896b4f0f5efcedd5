use std::fmt::Display;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_saphyr::Spanned;

use super::Outside;
use crate::config::Secrets;
use crate::config::diagnostic::Problem;
use crate::config::file::{BackendFile, ClientCertificateFile, TlsFile};
use crate::model::{Backend, ClientCertificate, Mode, Pin, Secret, TlsVersion};

/// Returns how Egret reaches an API's third party.
pub(super) fn compile(
    written: &Spanned<BackendFile>,
    mode: Mode,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Backend {
    let file = &written.value;
    if let Some(scheme) = file.scheme.as_ref().filter(|scheme| scheme.value != "https") {
        let rule = format!("`{}` is not a scheme that a backend can have", scheme.value);
        let help = "write `scheme: https`, or remove `backend`: plain HTTP then leaves as plain HTTP";
        problems.push(Problem::at(scheme, rule, help));
    } else if matches!(mode, Mode::Bind | Mode::Deny) {
        let rule = format!("`backend` has no effect in mode `{}`: Egret does not see the requests", mode.label());
        problems.push(Problem::at(written, rule, "remove `backend`, or choose mode: intercept or passthrough"));
    }
    let default = TlsFile::default();
    let tls = tls(file.tls.as_ref().unwrap_or(&default), outside, problems);
    Backend { port: file.port.unwrap_or(443), ..tls }
}

/// Returns TLS settings, with the contents of the files that they name.
pub(super) fn tls(file: &TlsFile, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Backend {
    let client = file.client_certificate.as_ref();
    Backend {
        authorities: file.ca.as_ref().and_then(|ca| certificates(ca, outside, problems)).unwrap_or_default(),
        client: client.and_then(|file| self::client(file, outside, problems)).map(Arc::new),
        pins: file.pins.iter().filter_map(|written| pin(written, problems)).collect(),
        min_tls: min_version(file.min_version.as_ref(), problems),
        ..Backend::default()
    }
}

fn certificates(file: &Spanned<String>, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Option<Vec<Vec<u8>>> {
    let certificates = contents(file, outside).and_then(|pem| {
        let certificates = CertificateDer::pem_slice_iter(&pem).map(|found| found.map(|found| found.to_vec()));
        certificates.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    });
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            let help = "name a PEM file with at least one certificate (-----BEGIN CERTIFICATE-----)";
            problems.push(Problem::at(file, format!("`{}` has no certificate", file.value), help));
            None
        }
        Ok(certificates) => Some(certificates),
        Err(error) => {
            problems.push(unusable(file, error));
            None
        }
    }
}

/// The key is never part of a message.
fn client(
    file: &ClientCertificateFile,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ClientCertificate> {
    if outside.secrets == Secrets::Assumed {
        return None;
    }
    let chain = certificates(&file.certificate, outside, problems);
    let key = contents(&file.key, outside)
        .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "it has no private key in PEM".to_owned()));
    let key = key.map_err(|error| problems.push(unusable(&file.key, error))).ok()?;
    let chain = chain?;
    let secret = Secret::new(key.secret_der().to_vec());
    let certificates = chain.iter().map(|certificate| CertificateDer::from(certificate.clone())).collect();
    match CertifiedKey::from_der(certificates, key, &default_provider()) {
        Ok(_) => Some(ClientCertificate { chain, key: secret }),
        Err(error) => {
            let rule = format!("this private key does not belong to the certificate: {error}");
            let help = "name the key that the certificate was issued for";
            problems.push(Problem::at(&file.key, rule, help).with(&file.certificate));
            None
        }
    }
}

fn pin(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Pin> {
    let text = written.value.strip_prefix("sha256//");
    let pin = text.and_then(|text| BASE64_STANDARD.decode(text).ok()).and_then(|hash| Pin::try_from(hash).ok());
    if pin.is_none() {
        let help = "write sha256// and the Base64 of the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), as \
                    for curl --pinnedpubkey";
        problems.push(Problem::at(written, format!("`{}` is not a pin", written.value), help));
    }
    pin
}

fn min_version(written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> TlsVersion {
    match written.map(|written| (written, written.value.as_str())) {
        None | Some((_, "1.2")) => TlsVersion::V1_2,
        Some((_, "1.3")) => TlsVersion::V1_3,
        Some((written, _)) => {
            let rule = format!("Egret does not speak TLS version `{}`", written.value);
            problems.push(Problem::at(written, rule, "write '1.2' or '1.3'"));
            TlsVersion::V1_2
        }
    }
}

fn contents(file: &Spanned<String>, outside: &Outside<'_>) -> Result<Vec<u8>, String> {
    outside.contents(file).map_err(|error| error.to_string())
}

fn unusable(file: &Spanned<String>, error: impl Display) -> Problem {
    Problem::at(file, format!("`{}` cannot be read: {error}", file.value), "name a PEM file that Egret can read")
}
