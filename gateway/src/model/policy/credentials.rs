use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use base64::prelude::BASE64_STANDARD;
use http::HeaderName;

use crate::model::Template;

/// Where a request has a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In this field of its head.
    Header(HeaderName),
    /// In this parameter of its query.
    QueryParameter(Arc<str>),
}

/// A key that is used and never sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// As written.
    pub value: Template,
    /// What its bytes are.
    pub encoding: Encoding,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 4648 §4.
    Base64,
    /// In lower case.
    Hex,
    /// As they are.
    Text,
}

impl Encoding {
    /// The bytes, if they are written so; padding may be missing.
    pub fn decode(self, written: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => LENIENT.decode(written.trim_ascii()).ok(),
            Self::Hex => {
                let (pairs, []) = written.trim_ascii().as_chunks::<2>() else { return None };
                let digit = |digit: u8| char::from(digit).to_digit(16);
                let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
                pairs.iter().map(byte).collect()
            }
            Self::Text => Some(written.to_vec()),
        }
    }

    /// The bytes, written so; as text, what is not UTF-8 in them is lost.
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Base64 => BASE64_STANDARD.encode(bytes),
            Self::Hex => bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
                // It cannot fail: it is a text.
                let _ = write!(text, "{byte:02x}");
                text
            }),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Whoever hands out a key may have left its padding out.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));
