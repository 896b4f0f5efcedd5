use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// TLS settings for connections to a server. Egret always verifies the server's certificate for its name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("x-renamed" = {"min_tls": "min_version"}))]
pub struct TlsFile {
    /// PEM file of additional certificate authorities to trust for this server, beside the system's. Egret reads it together
    /// with the configuration. Default: the system's authorities only. Example: `/etc/egret/partner-ca.pem`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub ca: Option<Text>,
    /// The client certificate that Egret presents to the server (mutual TLS). Default: none.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificateFile>,
    /// Public keys to pin. The server's certificate must be valid and have one of these keys. Each pin is `sha256//` and the
    /// Base64 of the SHA-256 of the key (SubjectPublicKeyInfo), as for `curl --pinnedpubkey`. Default: any key. Example:
    /// `[sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub pins: Vec<Text>,
    /// The lowest TLS version that Egret accepts: `'1.2'` or `'1.3'`. Default: `'1.2'`. Example: `'1.3'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub min_version: Option<Text>,
}

impl TlsFile {
    /// A value of these settings that a diagnostic can point at.
    pub fn place(&self) -> Option<&Text> {
        let certificate = self.client_certificate.as_ref().map(|file| &file.certificate);
        self.ca.as_ref().or(certificate).or(self.pins.first()).or(self.min_version.as_ref())
    }
}

/// A client certificate and its private key. Egret reads both files together with the configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ClientCertificateFile {
    /// PEM file of the certificate, followed by the intermediate certificates up to the root. Example:
    /// `/etc/egret/partner-client.pem`.
    #[schemars(with = "String")]
    pub certificate: Text,
    /// PEM file of the certificate's private key. Example: `/etc/egret/partner-client-key.pem`.
    #[schemars(with = "String")]
    pub key: Text,
}
