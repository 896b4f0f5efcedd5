use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use jsonwebtoken::Algorithm;

/// Algorithms that Egret signs statements of its own with, and how they are written (RFC 7518 §3.1, RFC 8037 §3.1).
pub const SIGNING: [(&str, Algorithm); 5] = [
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// A private key that signs by one algorithm.
#[derive(Debug)]
pub struct Signer(Key);

#[derive(Debug)]
enum Key {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// A private key in PEM (PKCS #8; of RSA also PKCS #1, of ECDSA also SEC 1), if it is one of this algorithm.
    pub fn read(pem: &[u8], algorithm: Algorithm) -> Option<Self> {
        let parsed = pem::parse(pem).ok()?;
        let der = parsed.contents();
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok().map(Box::new);
        let ecdsa = |curve| EcdsaKeyPair::from_private_key_der(curve, der).ok().map(Box::new);
        let key = match algorithm {
            Algorithm::RS256 => Key::Rsa(rsa()?, &RSA_PKCS1_SHA256),
            Algorithm::PS256 => Key::Rsa(rsa()?, &RSA_PSS_SHA256),
            Algorithm::ES256 => Key::Ecdsa(ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::ES384 => Key::Ecdsa(ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)?),
            Algorithm::EdDSA => Key::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(der).ok()?)),
            _ => return None,
        };
        Some(Self(key))
    }

    /// The signature of a message, as JWS has it (RFC 7518 §3, RFC 8037 §3.1).
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.0 {
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Key::Ecdsa(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Key::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// The public key, in DER.
    pub fn public_key(&self) -> &[u8] {
        match &self.0 {
            Key::Rsa(pair, _) => pair.public_key().as_ref(),
            Key::Ecdsa(pair) => pair.public_key().as_ref(),
            Key::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}
