//! Statements of the gateway, signed with a key that is never sent (RFC 7523).

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use crate::model::{SIGNING, Signer};

/// How long a statement is valid: it is sent at once.
const LIFE: Duration = Duration::from_secs(300);

/// The issuer, the subject and the audience of a statement.
pub(in crate::policy) struct Says<'a> {
    pub(in crate::policy) issuer: &'a str,
    pub(in crate::policy) subject: &'a str,
    pub(in crate::policy) audience: &'a str,
    /// The scope, where it is a part of the statement.
    pub(in crate::policy) scope: Option<&'a str>,
}

/// Returns a signed JWT; none, if the key does not fit the algorithm.
pub(in crate::policy) fn signed(
    says: &Says<'_>,
    (pem, algorithm, id): (&[u8], Algorithm, Option<&str>),
    now: SystemTime,
) -> Option<String> {
    let (name, _) = SIGNING.iter().find(|(_, known)| *known == algorithm)?;
    let mut head = Map::from_iter([("alg".to_owned(), json!(name)), ("typ".to_owned(), json!("JWT"))]);
    head.extend(id.map(|id| ("kid".to_owned(), json!(id))));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut unique = [0; 16];
    rand::fill(&mut unique).ok()?;
    let mut claims = json!({
        "iss": says.issuer,
        "sub": says.subject,
        "aud": says.audience,
        "iat": now.as_secs(),
        "exp": (now + LIFE).as_secs(),
        // RFC 7523 §3: whoever sees it twice may refuse it.
        "jti": BASE64_URL_SAFE_NO_PAD.encode(unique),
    });
    if let Some(scope) = says.scope {
        claims["scope"] = json!(scope);
    }
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&Value::Object(head)), part(&claims));
    let signature = Signer::read(pem, algorithm)?.sign(message.as_bytes())?;
    Some(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    };
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    fn says() -> Says<'static> {
        Says { issuer: "acme", subject: "anna", audience: "https://login.example/token", scope: Some("read") }
    }

    /// Keys as tools write them, and how what they sign is checked.
    fn keys() -> Vec<(Algorithm, String, DecodingKey)> {
        let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        let pem = |der: &[u8]| pem::encode(&pem::Pem::new("PRIVATE KEY", der));
        let (rsa, random) = (pem(der.as_ref()), SystemRandom::new());
        let curve = |curve| pem(EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap().as_ref());
        let all = [
            (Algorithm::RS256, rsa.clone()),
            (Algorithm::PS256, rsa),
            (Algorithm::ES256, curve(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            (Algorithm::ES384, curve(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            (Algorithm::EdDSA, pem(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref())),
        ];
        let public = |algorithm, pem: &str| Signer::read(pem.as_bytes(), algorithm).unwrap().public_key().to_vec();
        all.into_iter()
            .map(|(algorithm, pem)| {
                let key = public(algorithm, &pem);
                let key = match algorithm {
                    Algorithm::RS256 | Algorithm::PS256 => DecodingKey::from_rsa_der(&key),
                    Algorithm::EdDSA => DecodingKey::from_ed_der(&key),
                    _ => DecodingKey::from_ec_der(&key),
                };
                (algorithm, pem, key)
            })
            .collect()
    }

    #[test]
    fn who_has_the_public_key_believes_it() {
        for (algorithm, pem, key) in keys() {
            let token = signed(&says(), (pem.as_bytes(), algorithm, Some("key-1")), SystemTime::UNIX_EPOCH).unwrap();
            let mut validation = Validation::new(algorithm);
            validation.validate_exp = false;
            validation.set_audience(&["https://login.example/token"]);
            let read = decode::<Value>(&token, &key, &validation).unwrap();
            assert_eq!(read.header.kid.as_deref(), Some("key-1"), "{algorithm:?}");
            let claims = &read.claims;
            assert_eq!([&claims["iss"], &claims["sub"], &claims["scope"]], ["acme", "anna", "read"]);
            assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
        }
    }

    #[test]
    fn no_two_are_the_same_and_other_keys_sign_none() {
        let keys = keys();
        for (index, (algorithm, pem, _)) in keys.iter().enumerate() {
            let token = |algorithm| signed(&says(), (pem.as_bytes(), algorithm, None), SystemTime::UNIX_EPOCH);
            assert_ne!(token(*algorithm), token(*algorithm));
            // The first two are the same key.
            let others = keys.iter().enumerate().filter(|(other, _)| *other != index && (*other > 1 || index > 1));
            for (_, (other, ..)) in others {
                assert_eq!(token(*other), None, "{algorithm:?} as {other:?}");
            }
        }
        assert_eq!(signed(&says(), (b"battery", Algorithm::ES256, None), SystemTime::UNIX_EPOCH), None);
    }
}
