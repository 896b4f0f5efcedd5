//! The certificate authorities in the image: those that Mozilla trusts for servers, from a crate that Cargo.lock pins. The machine that
//! builds the image has no part in them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// The crate that has them.
pub(super) const CRATE: &str = "webpki-root-certs";

/// Length of a line (RFC 7468 §2).
const LINE: usize = 64;

/// Returns them as PEM, in the order of the crate.
pub(super) fn bundle() -> String {
    let mut text = String::new();
    for certificate in TLS_SERVER_ROOT_CERTS {
        let encoded = STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in encoded.as_bytes().chunks(LINE) {
            // Base64 is ASCII.
            let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_authority_is_a_certificate_in_pem() {
        let text = bundle();
        let blocks: Vec<_> = text.split("-----BEGIN CERTIFICATE-----\n").skip(1).collect();
        assert_eq!(blocks.len(), TLS_SERVER_ROOT_CERTS.len());
        assert!(blocks.len() > 100, "Mozilla trusts more than {}", blocks.len());
        for (block, certificate) in blocks.iter().zip(TLS_SERVER_ROOT_CERTS) {
            let encoded = block.strip_suffix("-----END CERTIFICATE-----\n").unwrap();
            assert!(encoded.lines().all(|line| line.len() <= LINE));
            assert_eq!(STANDARD.decode(encoded.replace('\n', "")).unwrap(), **certificate);
        }
    }
}
