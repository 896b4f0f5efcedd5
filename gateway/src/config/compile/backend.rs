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
use crate::config::diagnostic::Problem;
use crate::config::file::policies::TlsFile;
use crate::config::file::{BackendFile, ClientCertificateFile};
use crate::model::{Backend, ClientCertificate, Mode, Pin, Secret, TlsVersion};

/// The third party's side of an API.
pub(super) fn compile(file: &BackendFile, mode: Mode, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Backend {
    if file.scheme.value != "https" {
        problems.push(Problem::at(&file.scheme, "not a scheme", "https; without `backend` it is http"));
    } else if matches!(mode, Mode::Bind | Mode::Deny) {
        let rule = format!("in mode {} Egret does not see the requests", mode.label());
        problems.push(Problem::at(&file.scheme, rule, "remove `backend`, or the mode"));
    }
    let BackendFile { ca, client_certificate, pins, min_tls, .. } = file;
    let verified = Verified { ca: ca.as_ref(), client: client_certificate.as_ref(), pins, min_tls: min_tls.as_ref() };
    Backend { port: file.port.unwrap_or(443), ..verified.compile(outside, problems) }
}

/// TLS with a server that policies send to.
pub(super) fn tls(file: &TlsFile, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Backend {
    let TlsFile { ca, client_certificate, pins, min_tls } = file;
    let verified = Verified { ca: ca.as_ref(), client: client_certificate.as_ref(), pins, min_tls: min_tls.as_ref() };
    verified.compile(outside, problems)
}

/// What is asked of a server's certificate, and shown to it.
struct Verified<'a> {
    ca: Option<&'a Spanned<String>>,
    client: Option<&'a ClientCertificateFile>,
    pins: &'a [Spanned<String>],
    min_tls: Option<&'a Spanned<String>>,
}

impl Verified<'_> {
    fn compile(&self, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Backend {
        Backend {
            authorities: self.ca.and_then(|ca| certificates(ca, outside, problems)).unwrap_or_default(),
            client: self.client.and_then(|file| client(file, outside, problems)).map(Arc::new),
            pins: self.pins.iter().filter_map(|written| pin(written, problems)).collect(),
            min_tls: min_tls(self.min_tls, problems),
            ..Backend::default()
        }
    }
}

fn certificates(file: &Spanned<String>, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Option<Vec<Vec<u8>>> {
    let certificates = contents(file, outside).and_then(|pem| {
        let certificates = CertificateDer::pem_slice_iter(&pem).map(|found| found.map(|found| found.to_vec()));
        certificates.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    });
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            let help = "a PEM file: -----BEGIN CERTIFICATE-----";
            problems.push(Problem::at(file, "no certificate is in this file", help));
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
    let chain = certificates(&file.certificate, outside, problems);
    let key = contents(&file.key, outside)
        .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "no private key in PEM is in it".to_owned()));
    let key = key.map_err(|error| problems.push(unusable(&file.key, error))).ok()?;
    let chain = chain?;
    let secret = Secret::new(key.secret_der().to_vec());
    let certificates = chain.iter().map(|certificate| CertificateDer::from(certificate.clone())).collect();
    match CertifiedKey::from_der(certificates, key, &default_provider()) {
        Ok(_) => Some(ClientCertificate { chain, key: secret }),
        Err(error) => {
            let rule = format!("this key is not the certificate's: {error}");
            let help = "name the key that the certificate was made for";
            problems.push(Problem::at(&file.key, rule, help).with(&file.certificate));
            None
        }
    }
}

fn pin(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Pin> {
    let text = written.value.strip_prefix("sha256//");
    let pin = text.and_then(|text| BASE64_STANDARD.decode(text).ok()).and_then(|hash| Pin::try_from(hash).ok());
    if pin.is_none() {
        let help = "sha256// and the Base64 of the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), as for \
                    curl --pinnedpubkey";
        problems.push(Problem::at(written, "not a pin", help));
    }
    pin
}

fn min_tls(written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> TlsVersion {
    match written.map(|written| (written, written.value.as_str())) {
        None | Some((_, "1.2")) => TlsVersion::V1_2,
        Some((_, "1.3")) => TlsVersion::V1_3,
        Some((written, _)) => {
            problems.push(Problem::at(written, "not a version of TLS that Egret speaks", "'1.2' or '1.3'"));
            TlsVersion::V1_2
        }
    }
}

fn contents(file: &Spanned<String>, outside: &Outside<'_>) -> Result<Vec<u8>, String> {
    outside.contents(file).map_err(|error| error.to_string())
}

fn unusable(file: &Spanned<String>, error: impl Display) -> Problem {
    Problem::at(file, format!("this file cannot be used: {error}"), "name a PEM file")
}
