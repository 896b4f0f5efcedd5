//! When certificates and credentials expire, as far as they or the configuration say so.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::{Backend, Model, NamedValue};
use crate::tls::Leaves;

/// The kind of what expires, its name, and the time in seconds since 1970.
pub(super) type Expiry = (&'static str, String, f64);

/// Returns what expires: the CA, client certificates, and named values.
pub(super) fn expiries(model: &Model, leaves: &Leaves, ca: &Path) -> Vec<Expiry> {
    let mut expiries = Vec::new();
    expiries.extend(leaves.ends().map(|ends| ("ca", ca.display().to_string(), seconds(ends))));
    let of_apis = model.apis.iter().map(|api| (&api.name, api.backend.as_ref()));
    let of_backends = model.backends.iter().flat_map(|service| {
        let members = service.members.iter();
        members.map(|member| (&service.name, member.endpoint.tls.as_ref()))
    });
    for (name, backend) in of_apis.chain(of_backends) {
        expiries.extend(client(name, backend));
    }
    expiries.extend(model.values.iter().filter_map(|value| {
        let expires = value.expires.map(seconds).or_else(|| of_value(value))?;
        Some(("value", value.name.to_string(), expires))
    }));
    expiries.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    expiries.dedup_by(|one, other| (one.0, &one.1) == (other.0, &other.1));
    expiries
}

fn client(name: &str, backend: Option<&Arc<Backend>>) -> Option<Expiry> {
    let chain = backend?.client.as_ref()?.chain.iter();
    let ends = chain.filter_map(|der| end_of(der)).reduce(f64::min)?;
    Some(("client_certificate", name.to_owned(), ends))
}

/// Returns when a secret expires that says so itself: a JSON Web Token (RFC 7519 §4.1.4), or a certificate in PEM.
fn of_value(value: &NamedValue) -> Option<f64> {
    let secret = value.current();
    if let Ok(pems) = pem::parse_many(secret.expose()) {
        let certificates = pems.iter().filter(|pem| pem.tag() == "CERTIFICATE");
        if let Some(ends) = certificates.filter_map(|pem| end_of(pem.contents())).reduce(f64::min) {
            return Some(ends);
        }
    }
    let token = std::str::from_utf8(secret.expose()).ok()?;
    let mut parts = token.trim().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("exp")?.as_f64()
}

fn end_of(der: &[u8]) -> Option<f64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // Dates before 1970 have no use here.
    u32::try_from(certificate.validity().not_after.timestamp()).ok().map(f64::from)
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Secret, ValueSource};

    #[test]
    fn a_token_says_when_it_expires() {
        let of = |text: &str| {
            of_value(&NamedValue::new("x".into(), ValueSource::Text("".into()), None, Secret::new(text.into())))
        };
        let token = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(of(&token("{\"exp\":1800000000}")), Some(1_800_000_000.0));
        for other in
            ["sk_live_abc", "", "a.b.c", &token("{}"), &token("{\"exp\":\"soon\"}"), "-----BEGIN CERTIFICATE-----"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
