use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::*;
use crate::fuzz::Target;
use crate::model::VerifyingKey;
use crate::policy::engine::json::{self, Json};

const JWT: Target = Target {
    corpus: "jwt",
    words: &[
        ".",
        "..",
        "=",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJub25lIn0",
        "e30",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImZpcnN0In0",
        "-",
        "_",
        "+",
        "/",
        " ",
        "\n",
        "eyJleHAiOjF9",
        "A",
    ],
    cases: 3000,
    longest: 1024,
};

const SECRET: &[u8] = b"a secret of the fuzz target";

fn key(id: Option<&str>) -> VerifyingKey {
    VerifyingKey { id: id.map(Arc::from), algorithms: vec![Algorithm::HS256], key: DecodingKey::from_secret(SECRET) }
}

/// Returns whether the key has signed the text (RFC 7515 §5.2), as another library sees it.
fn is_signed(token: &str) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
    signature.is_ok_and(|signature| hmac::verify(&key, message.as_bytes(), &signature).is_ok())
}

#[test]
fn a_token_is_accepted_only_if_the_key_has_signed_it() {
    let keys = [key(None), key(Some("first"))];
    let mut accepted = std::cell::Cell::new(0);
    JWT.check(|bytes| {
        let Ok(token) = std::str::from_utf8(bytes) else { return };
        let Ok(claims) = signed(token, &keys) else { return };
        accepted.set(accepted.get() + 1);
        assert!(is_signed(token));
        assert_eq!(token.split('.').count(), 3);
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(json::parse(&payload), Ok(claims.clone()));
        check(&claims.into_value());
    });
    assert!(*accepted.get_mut() > 0);
}

/// Claims as tokens have them.
const CLAIMS: Target = Target {
    corpus: "json",
    words: &[
        "{\"exp\": ",
        "\"nbf\": ",
        "\"iss\": ",
        "\"aud\": [",
        "\"sub\": ",
        "1900000000",
        "-1e300",
        "1e300",
        "1.5",
        "null",
        "\"1\"",
        "[",
        "]",
        "}",
        ", ",
        "{\"scope\": \"a b\"}",
    ],
    cases: 1500,
    longest: 512,
};

/// What holds for any claims at any time.
fn check(claims: &Value) {
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    for now in [0, 1_800_000_000, 4_000_000_000] {
        for skew in [0, 60] {
            let outcome = in_time(claims, at(now), Duration::from_secs(skew), true);
            let (end, start) = (claims.get("exp").map(Value::as_f64), claims.get("nbf").map(Value::as_f64));
            #[allow(clippy::cast_precision_loss, reason = "the seconds of this test are small")]
            let (now, skew) = (now as f64, skew as f64);
            let is_valid = end.flatten().is_some_and(|end| now < end + skew)
                && start.is_none_or(|start| start.is_some_and(|start| now + skew >= start));
            assert_eq!(outcome.is_ok(), is_valid, "{claims} at {now}, skew {skew}");
        }
    }
    let is_text = |name: &str| claims.get(name).is_none_or(Value::is_string);
    assert!(is_well_formed(claims).is_err() || ["iss", "sub", "jti"].into_iter().all(is_text));
}

#[test]
fn claims_hold_from_their_start_to_their_end() {
    CLAIMS.check(|bytes| {
        if let Ok(claims @ Json::Object(_)) = json::parse(bytes) {
            check(&claims.into_value());
        }
    });
}
