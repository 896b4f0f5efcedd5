//! A certificate authority, and what third parties need to speak TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// The lab's certificate authority; clients are told to trust [`Pki::ca`].
#[derive(Debug)]
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
}

/// A certificate and what a server does with it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) config: Arc<ServerConfig>,
    certificate: Vec<u8>,
    pem: (String, String),
}

impl Pki {
    pub(crate) fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "the lab's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let ca = directory.join("ca.pem");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(&ca, certificate.pem()).expect("the lab's CA file");
        Self { issuer: Issuer::new(params, key), ca }
    }

    /// PEM file of the authority's certificate.
    pub fn ca(&self) -> &str {
        self.ca.to_str().expect("a path in UTF-8")
    }

    /// An authority of this name below this one, which may vouch for names below this domain, written as PEM files.
    pub fn authority(&self, name: &str, domain: &str, certificate: &Path, key: &Path) {
        let own = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let permitted_subtrees = vec![GeneralSubtree::DnsName(domain.to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        let signed = params.signed_by(&own, &self.issuer).expect("a certificate");
        fs::write(key, own.serialize_pem()).and_then(|()| fs::write(certificate, signed.pem())).expect("PEM files");
    }

    /// An identity for these names, which speaks these protocols (ALPN), the preferred first.
    pub fn identity(&self, names: &[&str], alpn: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("a certificate of this key");
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let pem = (certificate.pem(), key.serialize_pem());
        Identity { config: Arc::new(config), certificate: certificate.der().to_vec(), pem }
    }
}

impl Identity {
    /// Writes certificate and key as PEM files into a directory, for a real server; returns their paths.
    pub fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (directory.join("identity.pem"), directory.join("identity-key.pem"));
        fs::write(&certificate, &self.pem.0).and_then(|()| fs::write(&key, &self.pem.1)).expect("PEM files");
        (certificate, key)
    }

    /// The certificate in hexadecimal DER, to compare with the one a client saw.
    pub fn certificate(&self) -> String {
        self.certificate.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
