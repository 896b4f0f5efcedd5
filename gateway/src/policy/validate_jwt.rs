//! Tokens of callers (RFC 7519): by whom, for whom, until when.

mod remote;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

pub(super) use self::remote::fetch_keys;
use super::call::{Call, Fault};
use super::expression::of_json;
use super::json::{self, Json};
use super::set_query_parameter::parameters;
use super::template;
use crate::model::{Reason, RequiredClaim, Template, TokenKeys, TokenPlace, ValidateJwt, VerifyingKey};

/// Lets requests through whose token is valid (RFC 7519). What is said of others says nothing of what is in their tokens.
pub(super) fn run(validate: &ValidateJwt, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let refuse = |Refused(reason, what): Refused| {
        let message = validate.failed.message.as_deref().map_or(what, str::to_owned);
        Fault::new(reason, validate.failed.status, message)
    };
    let token = token(&validate.token, call)?.map_err(refuse)?;
    let keys = keys(&validate.keys, call)?;
    let written = signed(&token, &keys).map_err(refuse)?;
    let claims = written.clone().into_value();
    is_well_formed(&claims).map_err(refuse)?;
    in_time(&claims, call.now, validate.clock_skew, validate.require_expiration).map_err(refuse)?;
    let (issuers, audiences) = (texts(&validate.issuers, call)?, texts(&validate.audiences, call)?);
    for (name, allowed, reason) in
        [("iss", issuers, Reason::TokenIssuerNotAllowed), ("aud", audiences, Reason::TokenAudienceNotAllowed)]
    {
        let said = claims.get(name).map(|said| values(said, None)).unwrap_or_default();
        if !allowed.is_empty() && !allowed.iter().any(|allowed| said.iter().any(|said| said == allowed)) {
            return Err(refuse(Refused(reason, format!("the token's `{name}` is not one that is allowed"))));
        }
    }
    for required in &validate.claims {
        let wanted = texts(&required.values, call)?;
        has(&claims, required, &wanted).map_err(refuse)?;
    }
    call.note(|| match claims.get("sub").and_then(Value::as_str) {
        Some(subject) => format!("valid, of {subject}"),
        None => "valid".to_owned(),
    });
    if let Some(name) = &validate.output {
        call.variables.push((Arc::clone(name), of_json(written)));
    }
    Ok(())
}

/// Why a token is not valid.
#[derive(Debug, PartialEq, Eq)]
struct Refused(Reason, String);

/// The token; what is wrong with it is its caller's affair, what cannot be said is its owner's.
fn token(place: &TokenPlace, call: &Call<'_>) -> Result<Result<String, Refused>, Box<Fault>> {
    let twice = |name: &str| Refused(Reason::TokenInvalid, format!("{name} is there more than once"));
    let found = match place {
        TokenPlace::Text(text) => Ok(template::unsent(text, call)?.text.into_owned()),
        TokenPlace::Header { name, scheme } => {
            let mut fields = call.request.headers.get_all(name).iter();
            let field = fields.next().and_then(|field| field.to_str().ok()).unwrap_or_default();
            match fields.next() {
                Some(_) => Err(twice(name.as_str())),
                None => of_field(field, scheme.as_deref()).map(str::to_owned),
            }
        }
        TokenPlace::QueryParameter(name) => {
            let query = call.request.uri.query().unwrap_or_default();
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

fn keys(all: &[TokenKeys], call: &mut Call<'_>) -> Result<Vec<VerifyingKey>, Box<Fault>> {
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
fn signed(token: &str, keys: &[VerifyingKey]) -> Result<Json, Refused> {
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

/// RFC 7519 §4.1: the types of registered claims. An issuer is one text, not a list, of which each reader might take another.
fn is_well_formed(claims: &Value) -> Result<(), Refused> {
    let is_list = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    for name in ["iss", "sub", "jti", "aud"] {
        let is_right = |value: &Value| value.is_string() || (name == "aud" && is_list(value));
        if !claims.get(name).is_none_or(is_right) {
            return Err(Refused(
                Reason::TokenInvalid,
                format!("the token's `{name}` is not of its type (RFC 7519 §4.1)"),
            ));
        }
    }
    Ok(())
}

/// The keys that may have signed a token, by what it says of itself: at least one.
fn candidates<'k>(token: &str, keys: &'k [VerifyingKey]) -> Result<(Algorithm, Vec<&'k VerifyingKey>), Refused> {
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

/// RFC 7519 §4.1.4, §4.1.5.
fn in_time(claims: &Value, now: SystemTime, skew: Duration, needs_end: bool) -> Result<(), Refused> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let skew = skew.as_secs_f64();
    let time = |name| match claims.get(name) {
        None => Ok(None),
        Some(said) => {
            let invalid = || Refused(Reason::TokenInvalid, format!("the token's `{name}` is no time"));
            said.as_f64().map(Some).ok_or_else(invalid)
        }
    };
    match time("exp")? {
        Some(end) if now >= end + skew => {
            return Err(Refused(Reason::TokenExpired, "the token has expired".to_owned()));
        }
        None if needs_end => {
            return Err(Refused(Reason::TokenClaimNotFound, "the token does not say when it expires (exp)".to_owned()));
        }
        _ => {}
    }
    if time("nbf")?.is_some_and(|start| now + skew < start) {
        return Err(Refused(Reason::TokenNotYetValid, "the token is not valid yet".to_owned()));
    }
    Ok(())
}

fn has(claims: &Value, required: &RequiredClaim, wanted: &[String]) -> Result<(), Refused> {
    let name = &required.name;
    let said = claims.get(&**name).filter(|said| !said.is_null());
    let said = said.ok_or_else(|| Refused(Reason::TokenClaimNotFound, format!("the token has no `{name}`")))?;
    let said = values(said, required.separator.as_deref());
    let says = |wanted: &String| said.iter().any(|said| said == wanted);
    let is_so = wanted.is_empty() || if required.any { wanted.iter().any(says) } else { wanted.iter().all(says) };
    let refused =
        || Refused(Reason::TokenClaimValueNotAllowed, format!("the token's `{name}` is not one that is allowed"));
    if is_so { Ok(()) } else { Err(refused()) }
}

/// A claim of one value, or of several.
fn values<'a>(claim: &'a Value, separator: Option<&str>) -> Vec<Cow<'a, str>> {
    match (claim, separator) {
        (Value::Array(items), _) => items.iter().flat_map(|item| values(item, None)).collect(),
        (Value::String(text), Some(separator)) => text.split(separator).map(Cow::Borrowed).collect(),
        (Value::String(text), None) => vec![Cow::Borrowed(text)],
        (other, _) => vec![Cow::Owned(other.to_string())],
    }
}

fn texts(templates: &[Template], call: &Call<'_>) -> Result<Vec<String>, Box<Fault>> {
    templates.iter().map(|text| template::unsent(text, call).map(|filled| filled.text.into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RsaKeyPair,
    };
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
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
    fn registered_claims_have_their_types() {
        for (claims, expected) in [
            (r#"{"iss": "https://a.example", "sub": "a", "aud": ["b", "c"], "jti": "1", "exp": 1}"#, true),
            (r#"{"aud": "b"}"#, true),
            (r#"{"iss": ["https://a.example"]}"#, false),
            (r#"{"iss": ["https://a.example", "https://b.example"]}"#, false),
            (r#"{"iss": {"a": "https://a.example"}}"#, false),
            (r#"{"iss": null}"#, false),
            (r#"{"iss": 1}"#, false),
            (r#"{"sub": ["a"]}"#, false),
            (r#"{"jti": 1}"#, false),
            (r#"{"aud": ["b", 1]}"#, false),
            (r#"{"aud": {"b": true}}"#, false),
        ] {
            let outcome = is_well_formed(&serde_json::from_str(claims).unwrap()).map_err(|Refused(reason, _)| reason);
            assert_eq!(outcome, if expected { Ok(()) } else { Err(Reason::TokenInvalid) }, "{claims}");
        }
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
    fn a_token_is_valid_for_its_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let check = |claims: Value, skew| {
            in_time(&claims, now, Duration::from_secs(skew), true).map_err(|Refused(reason, _)| reason)
        };
        assert_eq!(check(json!({"exp": 1001}), 0), Ok(()));
        assert_eq!(check(json!({"exp": 1000}), 0), Err(Reason::TokenExpired));
        assert_eq!(check(json!({"exp": 1000}), 1), Ok(()));
        assert_eq!(check(json!({"exp": 999.5}), 0), Err(Reason::TokenExpired));
        assert_eq!(check(json!({"exp": 2000, "nbf": 1001}), 0), Err(Reason::TokenNotYetValid));
        assert_eq!(check(json!({"exp": 2000, "nbf": 1001}), 1), Ok(()));
        assert_eq!(check(json!({"exp": "2000"}), 0), Err(Reason::TokenInvalid));
        assert_eq!(check(json!({}), 0), Err(Reason::TokenClaimNotFound));
        assert_eq!(in_time(&json!({}), now, Duration::ZERO, false), Ok(()));
    }

    #[test]
    fn claims_say_what_they_must() {
        let claims = json!({"scope": "read write", "roles": ["a", "b"], "level": 3, "nothing": null});
        let check = |name: &str, wanted: &[&str], any, separator: Option<&str>| {
            let separator = separator.map(Arc::from);
            let required = RequiredClaim { name: name.into(), values: Vec::new(), any, separator };
            let wanted: Vec<_> = wanted.iter().map(|text| (*text).to_owned()).collect();
            has(&claims, &required, &wanted).map_err(|Refused(reason, _)| reason)
        };
        assert_eq!(check("scope", &["write"], false, Some(" ")), Ok(()));
        assert_eq!(check("scope", &["write"], false, None), Err(Reason::TokenClaimValueNotAllowed));
        assert_eq!(check("roles", &["a", "b"], false, None), Ok(()));
        assert_eq!(check("roles", &["a", "c"], false, None), Err(Reason::TokenClaimValueNotAllowed));
        assert_eq!(check("roles", &["a", "c"], true, None), Ok(()));
        assert_eq!(check("level", &["3"], false, None), Ok(()));
        assert_eq!(check("level", &[], false, None), Ok(()));
        assert_eq!(check("nothing", &[], false, None), Err(Reason::TokenClaimNotFound));
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
