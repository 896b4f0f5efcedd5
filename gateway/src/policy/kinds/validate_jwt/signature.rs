//! Tokens of requests, and the keys that their signatures may be made with.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::compiled::{TokenKeys, TokenPlace};
use crate::model::{Reason, VerifyingKey};
use crate::policy::engine::json::{self, Json};
use crate::policy::engine::query::parameters;
use crate::policy::engine::{Call, Fault, template};

/// Why a token is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) struct Refused(pub(in crate::policy) Reason, pub(in crate::policy) String);

/// The token; what is wrong with it is its caller's affair, what cannot be said is its owner's.
pub(in crate::policy) fn token(place: &TokenPlace, call: &Call<'_>) -> Result<Result<String, Refused>, Box<Fault>> {
    let twice = |name: &str| Refused(Reason::TokenInvalid, format!("{name} is there more than once"));
    let found = match place {
        TokenPlace::Text(text) => Ok(template::unsent(text, call)?.text.into_owned()),
        TokenPlace::Header { name, scheme } => {
            let mut fields = call.message.request.headers.get_all(name).iter();
            let field = fields.next().and_then(|field| field.to_str().ok()).unwrap_or_default();
            match fields.next() {
                Some(_) => Err(twice(name.as_str())),
                None => of_field(field, scheme.as_deref()).map(str::to_owned),
            }
        }
        TokenPlace::QueryParameter(name) => {
            let query = call.message.request.uri.query().unwrap_or_default();
            let mut found =
                parameters(query).filter(|(known, _)| *known == **name).map(|(_, value)| value.into_owned());
            let token = found.next().unwrap_or_default();
            if found.next().is_some() { Err(twice(name)) } else { Ok(token) }
        }
    };
    Ok(found.and_then(|token| match token.is_empty() {
        true => Err(Refused(Reason::TokenNotPresent, "there is no token".to_owned())),
        false => Ok(token),
    }))
}

/// What follows the scheme, if there is one (RFC 9110 §11.4).
fn of_field<'a>(field: &'a str, scheme: Option<&str>) -> Result<&'a str, Refused> {
    match (scheme, field.trim().split_once(' ')) {
        (None, Some((_, token))) => Ok(token.trim()),
        (None, None) => Ok(field.trim()),
        (Some(scheme), Some((said, token))) if said.eq_ignore_ascii_case(scheme) => Ok(token.trim()),
        (Some(_), None) if field.trim().is_empty() => Ok(""),
        (Some(scheme), _) => Err(Refused(Reason::TokenNotPresent, format!("there is no token of scheme {scheme}"))),
    }
}

pub(in crate::policy) fn keys(all: &[TokenKeys], call: &mut Call<'_>) -> Result<Vec<VerifyingKey>, Box<Fault>> {
    let mut keys = Vec::new();
    for known in all {
        match known {
            TokenKeys::Shared { id, algorithm, key } => {
                let key = DecodingKey::from_secret(&template::key(key, call)?);
                keys.push(VerifyingKey { id: id.clone(), algorithms: vec![*algorithm], key });
            }
            TokenKeys::Public(set) => keys.extend_from_slice(&set.current()),
        }
    }
    Ok(keys)
}

/// Returns the claims of a token that one of these keys has signed. A key is tried for its own algorithms only, whichever the token
/// names (RFC 8725 §3.1); those whose id the token names come before those without one.
pub(in crate::policy) fn signed(token: &str, keys: &[VerifyingKey]) -> Result<Json, Refused> {
    let (algorithm, candidates) = candidates(token, keys)?;
    // Its claims are looked at by our clock, and one by one.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    for key in candidates {
        match decode::<Value>(token, &key.key, &validation) {
            Ok(_) => return claims(token),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
            Err(_) => return Err(Refused(Reason::TokenInvalid, "the token cannot be read".to_owned())),
        }
    }
    Err(Refused(Reason::TokenSignatureInvalid, "the token was not signed with the key".to_owned()))
}

/// Returns the claims of a token, each digit of their numbers kept. A claim that is there twice is not read: who takes the first
/// and who takes the last would see different tokens (RFC 7519 §4).
fn claims(token: &str) -> Result<Json, Refused> {
    let payload = token.split('.').nth(1).and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| json::parse(&payload).ok()).filter(|json| matches!(json, Json::Object(_)));
    claims.ok_or_else(|| {
        Refused(Reason::TokenInvalid, "the token's claims are not an object with each claim once".to_owned())
    })
}

/// The keys that may have signed a token, by what it says of itself: at least one.
pub(in crate::policy) fn candidates<'k>(
    token: &str,
    keys: &'k [VerifyingKey],
) -> Result<(Algorithm, Vec<&'k VerifyingKey>), Refused> {
    let invalid = |what: &str| Refused(Reason::TokenInvalid, what.to_owned());
    let header = decode_header(token)
        .map_err(|_| invalid("this is not a token that is signed with an algorithm that Egret knows"))?;
    if header.crit.is_some() {
        return Err(invalid("the token needs something that is not known (crit)"));
    }
    let fitting = |key: &&VerifyingKey| key.algorithms.contains(&header.alg);
    let id = header.kid.as_deref();
    let named: Vec<_> = keys.iter().filter(fitting).filter(|key| id.is_none() || key.id.as_deref() == id).collect();
    let candidates: Vec<_> = match named.as_slice() {
        [] => keys.iter().filter(fitting).filter(|key| key.id.is_none()).collect(),
        _ => named,
    };
    if candidates.is_empty() {
        return Err(Refused(
            Reason::TokenKeyNotFound,
            format!("there is no key for the token's kid and {:?}", header.alg),
        ));
    }
    Ok((header.alg, candidates))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RsaKeyPair,
    };
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;
    use crate::model::{InvalidKeys, KeySet, KeySource};

    fn shared(id: Option<&str>, secret: &[u8]) -> VerifyingKey {
        let key = DecodingKey::from_secret(secret);
        VerifyingKey { id: id.map(Arc::from), algorithms: vec![Algorithm::HS256], key }
    }

    fn token(algorithm: Algorithm, id: Option<&str>, key: &EncodingKey) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, &json!({"sub": "billing"}), key).unwrap()
    }

    fn refusal(token: &str, keys: &[VerifyingKey]) -> Reason {
        signed(token, keys).unwrap_err().0
    }

    fn base64(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn a_token_is_of_whoever_has_the_key() {
        let ours = EncodingKey::from_secret(b"ours");
        let keys = [shared(Some("new"), b"ours"), shared(Some("old"), b"former")];
        assert_eq!(
            signed(&token(Algorithm::HS256, Some("new"), &ours), &keys),
            json::parse(br#"{"sub": "billing"}"#).map_err(|_| unreachable!())
        );
        assert!(signed(&token(Algorithm::HS256, None, &ours), &keys).is_ok(), "any key");
        assert_eq!(refusal(&token(Algorithm::HS256, Some("old"), &ours), &keys), Reason::TokenSignatureInvalid);
        assert_eq!(refusal(&token(Algorithm::HS256, Some("other"), &ours), &keys), Reason::TokenKeyNotFound);
        assert!(signed(&token(Algorithm::HS256, Some("other"), &ours), &[shared(None, b"ours")]).is_ok(), "without id");
        assert_eq!(
            refusal(&token(Algorithm::HS512, None, &ours), &keys),
            Reason::TokenKeyNotFound,
            "another algorithm"
        );
        for text in ["", "a", "a.b.c", "....", "eyJhbGciOiJIUzI1NiJ9.e30"] {
            assert_eq!(refusal(text, &keys), Reason::TokenInvalid, "{text}");
        }
    }

    /// RFC 8725 §2.1.

    #[test]
    fn a_token_does_not_choose_how_it_is_checked() {
        let (private, public) = rsa();
        let keys = pem(&public, Algorithm::RS256).unwrap().current().to_vec();
        assert!(signed(&token(Algorithm::RS256, None, &private), &keys).is_ok());
        // Whoever has the public key signs with it as if it were a secret.
        for forged in [public.as_bytes(), pem::parse(&public).unwrap().contents()] {
            let forged = token(Algorithm::HS256, None, &EncodingKey::from_secret(forged));
            assert_eq!(refusal(&forged, &keys), Reason::TokenKeyNotFound);
        }
        assert_eq!(refusal(&token(Algorithm::PS256, None, &private), &keys), Reason::TokenKeyNotFound);
        for none in ["none", "None", "NONE", ""] {
            let header = base64(format!("{{\"alg\":\"{none}\"}}").as_bytes());
            for signature in ["", "AA"] {
                let unsigned = format!("{header}.{}.{signature}", base64(b"{}"));
                assert_eq!(refusal(&unsigned, &keys), Reason::TokenInvalid, "{none}");
            }
        }
        let secret = EncodingKey::from_secret(b"ours");
        let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
        let critical = encode(&header, &json!({}), &secret).unwrap();
        assert_eq!(refusal(&critical, &[shared(None, b"ours")]), Reason::TokenInvalid);
        // A key that comes with the token is not a key.
        let header = Header { jku: Some("https://evil.example/".to_owned()), ..Header::new(Algorithm::HS256) };
        let own = encode(&header, &json!({}), &EncodingKey::from_secret(b"theirs")).unwrap();
        assert_eq!(refusal(&own, &[shared(None, b"ours")]), Reason::TokenSignatureInvalid);
    }

    /// Its private half for tokens, and its public half in PEM.
    fn rsa() -> (EncodingKey, String) {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        // PKCS #1 is what PKCS #8 has in it, after 26 bytes that say what it is.
        (EncodingKey::from_rsa_der(&private.as_ref()[26..]), pem::encode(&pem::Pem::new("PUBLIC KEY", public.as_ref())))
    }

    fn pem(text: &str, algorithm: Algorithm) -> Result<KeySet, InvalidKeys> {
        KeySet::new(KeySource::Pem { path: PathBuf::new(), id: None, algorithm }, text.into())
    }

    #[test]
    fn each_algorithm_has_its_keys() {
        let (rsa, public) = rsa();
        for algorithm in
            [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512]
        {
            let keys = pem(&public, algorithm).unwrap().current();
            assert!(signed(&token(algorithm, None, &rsa), &keys).is_ok(), "{algorithm:?}");
        }
        let random = SystemRandom::new();
        for (algorithm, curve, name, size) in [
            (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
            (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
        ] {
            let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(curve, document.as_ref()).unwrap();
            let (x, y) = pair.public_key().as_ref()[1..].split_at(size);
            let set = jwks(&json!([{"kty": "EC", "crv": name, "kid": "a", "x": base64(x), "y": base64(y)}])).unwrap();
            let sent = token(algorithm, Some("a"), &EncodingKey::from_ec_der(document.as_ref()));
            assert!(signed(&sent, &set.current()).is_ok(), "{algorithm:?}");
            assert_eq!(pem(&public, algorithm).unwrap_err(), InvalidKeys::OtherAlgorithm(algorithm));
        }
        let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let set = jwks(&json!([{"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref())}])).unwrap();
        let sent = token(Algorithm::EdDSA, None, &EncodingKey::from_ed_der(document.as_ref()));
        assert!(signed(&sent, &set.current()).is_ok());
    }

    fn jwks(keys: &Value) -> Result<KeySet, InvalidKeys> {
        KeySet::new(KeySource::Jwks(PathBuf::new()), json!({"keys": keys}).to_string().into_bytes())
    }

    #[test]
    fn keys_that_check_nothing_are_left_alone() {
        let long = base64(&[0xff; 256]);
        let signs = json!({"kty": "RSA", "n": long, "e": "AQAB", "kid": "signs", "use": "sig", "alg": "RS256",
            "key_ops": ["verify", "sign"]});
        let others = [
            json!({"kty": "RSA", "n": long, "e": "AQAB", "use": "enc"}),
            json!({"kty": "RSA", "n": long, "e": "AQAB", "alg": "RSA-OAEP"}),
            json!({"kty": "RSA", "n": long, "e": "AQAB", "key_ops": ["sign"]}),
            json!({"kty": "RSA", "n": long, "e": "AQAB", "key_ops": ["encrypt", "wrapKey"]}),
            json!({"kty": "RSA", "n": long, "e": "AQAB", "key_ops": []}),
            json!({"kty": "RSA", "n": base64(&[0xff; 128]), "e": "AQAB"}),
            json!({"kty": "oct", "k": "b3Vycw"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
            json!({"kty": "AKP", "pub": "AA"}),
        ];
        assert_eq!(jwks(&json!(others)).unwrap_err(), InvalidKeys::NoneUsable);
        let all: Vec<_> = others.into_iter().chain([signs]).collect();
        let set = jwks(&json!(all)).unwrap();
        let keys = set.current();
        assert_eq!(keys.len(), 1);
        assert_eq!((keys[0].id.as_deref(), keys[0].algorithms.as_slice()), (Some("signs"), &[Algorithm::RS256][..]));
        assert!(matches!(set.replace(b"{"), Err(InvalidKeys::NotJwks(_))));
        assert_eq!(set.replace(b"{"), Ok(false), "said once");
        assert_eq!(set.current().len(), 1, "the old ones stay");
    }

    #[test]
    fn claims_are_an_object_with_each_claim_once() {
        for (payload, expected) in [
            (r#"{"iss": "a", "limit": 18446744073709551616}"#, true),
            (r#"{"iss": "a", "iss": "b"}"#, false),
            (r#"{"a": {"b": 1, "b": 2}}"#, false),
            ("[]", false),
            ("1", false),
        ] {
            let (header, payload) = (base64(br#"{"alg": "HS256"}"#), base64(payload.as_bytes()));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"ours");
            let signature = aws_lc_rs::hmac::sign(&key, format!("{header}.{payload}").as_bytes());
            let token = format!("{header}.{payload}.{}", base64(signature.as_ref()));
            match signed(&token, &[shared(None, b"ours")]) {
                Ok(claims) => assert!(expected && claims.to_string().contains("18446744073709551616"), "{claims}"),
                Err(Refused(reason, _)) => assert!(!expected && reason == Reason::TokenInvalid, "{reason:?}"),
            }
        }
    }

    #[test]
    fn a_scheme_is_before_the_token() {
        assert_eq!(of_field("Bearer a.b.c", None), Ok("a.b.c"));
        assert_eq!(of_field("a.b.c", None), Ok("a.b.c"));
        assert_eq!(of_field("bearer  a.b.c", Some("Bearer")), Ok("a.b.c"));
        assert_eq!(of_field("", Some("Bearer")), Ok(""));
        for field in ["a.b.c", "Basic a.b.c", "Bearera.b.c"] {
            assert_eq!(of_field(field, Some("Bearer")).unwrap_err().0, Reason::TokenNotPresent, "{field}");
        }
    }
}
