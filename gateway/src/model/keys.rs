use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use futures_util::lock::Mutex as Turn;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Endpoint;

/// Fewest bits of an RSA key (RFC 7518 §3.3).
const LEAST_RSA_BITS: usize = 2048;

/// The same in Base64, without padding.
const LEAST_RSA_TEXT: usize = (LEAST_RSA_BITS / 8 * 4).div_ceil(3);

/// Public keys that are kept elsewhere, and may change there at any time.
pub struct KeySet {
    /// Where they are.
    pub source: KeySource,
    current: RwLock<Current>,
    /// When its server was asked, and whether that has ended; whoever holds it is asking.
    pub asked: Turn<Option<(Duration, bool)>>,
}

/// What a document was read as.
struct Current {
    /// The document that was seen last, whether its keys are used or not.
    seen: Vec<u8>,
    keys: Arc<[VerifyingKey]>,
}

/// Where public keys are kept, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A JWK set in a file (RFC 7517 §5).
    Jwks(PathBuf),
    /// A JWK set that a server gives, which is asked when a key is missed, and from time to time.
    Remote {
        /// The server that has the key set.
        endpoint: Arc<Endpoint>,
        /// The path and the query of the set, or of the document that says where it is.
        target: Arc<str>,
        /// Of that document, if it is one.
        discovery: Option<Discovery>,
    },
    /// A public key, or a certificate with one, in a file (PEM).
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// The `kid` of its tokens.
        id: Option<Arc<str>>,
        /// The algorithm of its signatures.
        algorithm: Algorithm,
    },
}

/// An issuer's OpenID configuration (OpenID Connect Discovery 1.0 §4), which says where its JWK set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The only server that the set may be on, whatever the document says.
    pub keys_at: Arc<Endpoint>,
    /// Whose document it must be, one of these; anybody's, if there are none.
    pub issuers: Vec<Arc<str>>,
}

/// A key that signatures are checked with.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// The `kid` of its tokens.
    pub id: Option<Arc<str>>,
    /// Theirs: a key is for nothing else, whatever a token says.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub key: DecodingKey,
}

/// Why there are no keys in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidKeys {
    /// It is no JWK set.
    NotJwks(String),
    /// None of its keys checks signatures by an algorithm that we know.
    NoneUsable,
    /// It is no public key in PEM.
    NotPem,
    /// It is not one of this algorithm.
    OtherAlgorithm(Algorithm),
    /// It has fewer bits than 2048.
    TooShort,
}

impl std::error::Error for InvalidKeys {}

impl fmt::Display for InvalidKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJwks(error) => write!(f, "not a set of keys: {error}"),
            Self::NoneUsable => f.write_str("none of its keys is for signatures that Egret verifies: RSA, P-256, P-384 and Ed25519 (not P-521, ES512)"),
            Self::NotPem => f.write_str("no public key and no certificate in PEM"),
            Self::OtherAlgorithm(algorithm) => write!(f, "not a key of {algorithm:?}"),
            Self::TooShort => write!(f, "an RSA key of fewer than {LEAST_RSA_BITS} bits"),
        }
    }
}

impl KeySource {
    /// The file, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Jwks(path) | Self::Pem { path, .. } => Some(path),
            Self::Remote { .. } => None,
        }
    }

    fn read(&self, document: &[u8]) -> Result<Arc<[VerifyingKey]>, InvalidKeys> {
        match self {
            Self::Jwks(_) | Self::Remote { .. } => {
                let set: JwkSet =
                    serde_json::from_slice(document).map_err(|error| InvalidKeys::NotJwks(error.to_string()))?;
                let keys: Vec<_> = set.keys.iter().filter_map(of_jwk).collect();
                if keys.is_empty() { Err(InvalidKeys::NoneUsable) } else { Ok(keys.into()) }
            }
            Self::Pem { id, algorithm, .. } => {
                let key = of_pem(document, *algorithm)?;
                Ok([VerifyingKey { id: id.clone(), algorithms: vec![*algorithm], key }].into())
            }
        }
    }
}

impl KeySet {
    /// With the keys of this document.
    ///
    /// # Errors
    /// There are none in it.
    pub fn new(source: KeySource, document: Vec<u8>) -> Result<Self, InvalidKeys> {
        let keys = source.read(&document)?;
        Ok(Self { source, current: RwLock::new(Current { seen: document, keys }), asked: Turn::default() })
    }

    /// Of a server that was not asked yet.
    pub fn remote(endpoint: Arc<Endpoint>, target: Arc<str>, discovery: Option<Discovery>) -> Self {
        let current = Current { seen: Vec::new(), keys: Arc::default() };
        let source = KeySource::Remote { endpoint, target, discovery };
        Self { source, current: RwLock::new(current), asked: Turn::default() }
    }

    /// What they are now.
    pub fn current(&self) -> Arc<[VerifyingKey]> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).keys)
    }

    /// Puts the keys of another document in their place; whether it is another one.
    ///
    /// # Errors
    /// There are none in it: the old ones stay. That is said once of each document.
    pub fn replace(&self, document: &[u8]) -> Result<bool, InvalidKeys> {
        if self.current.read().unwrap_or_else(PoisonError::into_inner).seen == document {
            return Ok(false);
        }
        let read = self.source.read(document);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.seen = document.to_vec();
        current.keys = read?;
        Ok(true)
    }
}

/// A key of a set, if it is one that checks signatures; others are to be left alone (RFC 7517 §5). A set is for all to see:
/// what could also sign (`oct`) is none of it.
fn of_jwk(jwk: &Jwk) -> Option<VerifyingKey> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    // RFC 7517 §4.3.
    if jwk.common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return None;
    }
    let fitting = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) if key.n.len() >= LEAST_RSA_TEXT => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let algorithms: Vec<_> = match jwk.common.key_algorithm {
        None => fitting.to_vec(),
        Some(only) => fitting.iter().copied().filter(|algorithm| only == (*algorithm).into()).collect(),
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let id = jwk.common.key_id.as_deref().map(Arc::from);
    (!algorithms.is_empty()).then_some(VerifyingKey { id, algorithms, key })
}

fn of_pem(document: &[u8], algorithm: Algorithm) -> Result<DecodingKey, InvalidKeys> {
    let pem = pem::parse(document).map_err(|_| InvalidKeys::NotPem)?;
    let certificate = match pem.tag() {
        "PUBLIC KEY" => None,
        "CERTIFICATE" => Some(X509Certificate::from_der(pem.contents()).map_err(|_| InvalidKeys::NotPem)?.1),
        _ => return Err(InvalidKeys::NotPem),
    };
    let der = certificate.as_ref().map_or(pem.contents(), |certificate| certificate.public_key().raw);
    let (checks, key): (&'static dyn VerificationAlgorithm, _) = match (algorithm, algorithm.family()) {
        (_, AlgorithmFamily::Rsa) => (&RSA_PKCS1_2048_8192_SHA256, DecodingKey::from_rsa_der(der)),
        (Algorithm::ES256, _) => (&ECDSA_P256_SHA256_FIXED, DecodingKey::from_ec_der(der)),
        (Algorithm::ES384, _) => (&ECDSA_P384_SHA384_FIXED, DecodingKey::from_ec_der(der)),
        (Algorithm::EdDSA, _) => (&ED25519, DecodingKey::from_ed_der(der)),
        _ => return Err(InvalidKeys::OtherAlgorithm(algorithm)),
    };
    ParsedPublicKey::new(checks, der).map_err(|_| InvalidKeys::OtherAlgorithm(algorithm))?;
    let information = SubjectPublicKeyInfo::from_der(der).map(|(_, information)| information);
    let bits = information.ok().and_then(|information| information.parsed().ok().map(|key| key.key_size()));
    match bits {
        Some(0..LEAST_RSA_BITS) if algorithm.family() == AlgorithmFamily::Rsa => Err(InvalidKeys::TooShort),
        _ => Ok(key),
    }
}

/// Where they are decides: what they are changes without the configuration.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
