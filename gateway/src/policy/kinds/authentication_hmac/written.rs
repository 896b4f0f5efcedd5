//! `authentication-hmac` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Hmac, HmacAlgorithm, TimeFormat};
use crate::model::{Encoding, Part, SecretKey, Template};
use crate::policy::kinds::authentication_api_key::credential_place;
use crate::syntax::{Form, Reader, Text};

/// What stands for the signature in the value of the header field.
const SIGNATURE: &str = "{signature}";

const ALGORITHMS: [(&str, HmacAlgorithm); 3] =
    [("sha256", HmacAlgorithm::Sha256), ("sha512", HmacAlgorithm::Sha512), ("sha1", HmacAlgorithm::Sha1)];

const FORMATS: [(&str, TimeFormat); 4] = [
    ("http", TimeFormat::Http),
    ("iso8601", TimeFormat::Iso8601),
    ("unix", TimeFormat::Unix),
    ("unix_ms", TimeFormat::UnixMilliseconds),
];

/// A signature with a key that the third party has, too. Egret makes it when the policy runs, with the time at which the
/// request arrived.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HmacFile {
    /// `sha256`, `sha512` or `sha1`. Default: `sha256`. Example: `sha512`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub algorithm: Option<Text>,
    /// The key, usually a `{{named value}}`. Egret never sends it, so it may sign requests without TLS. Example:
    /// `"{{partner-key}}"`.
    #[schemars(with = "String")]
    pub key: Text,
    /// How the key is written: `text`, `base64` or `hex`. Default: `text`. Example: `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key_encoding: Option<Text>,
    /// The text that is signed, a template. Values that earlier policies have set are signed as they are, secrets too.
    /// Example: `"${int(now)}.${request.body_bytes}"`.
    #[schemars(with = "String")]
    pub string: Text,
    /// How the signature is written: `hex` or `base64`. Default: `hex`. Example: `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub encoding: Option<Text>,
    /// The header that receives the signature. Exactly one of `header` and `query_parameter` is required. Default: none.
    /// Example: `X-Signature`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub header: Option<Text>,
    /// The query parameter that receives the signature. Default: none. Example: `signature`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub query_parameter: Option<Text>,
    /// The value of that header or parameter; `{signature}` in it stands for the signature. Default: the signature alone.
    /// Example: `"v1={signature}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub value: Option<Text>,
    /// A header that Egret sets to the time at which the request arrived, before it signs. Default: none. Example: `Date`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub time_header: Option<Text>,
    /// The format of the time: `http` (Sun, 06 Nov 1994 08:49:37 GMT), `iso8601` (1994-11-06T08:49:37Z), `unix` (seconds) or
    /// `unix_ms`. Default: `http`. Example: `iso8601`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub time_format: Option<Text>,
}

impl Form for Hmac {
    type File = HmacFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Signs the request with a key that the third party has, too (HMAC). Policies that change the request must run before it.\n\
        Example: `{header: X-Signature, key: \"{{partner-key}}\", string: \"${int(now)}.${request.body_bytes}\"}`.";

    fn compile(written: &Spanned<HmacFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let algorithm = reader.one_of(file.algorithm.as_ref(), "not an algorithm", &ALGORITHMS);
        let key = secret_key(&file.key, file.key_encoding.as_ref(), reader);
        let string = reader.bytes(&file.string);
        if file.string.value.is_empty() {
            let help = "write string: \"${request.body_bytes}\"";
            reader.wrong(&file.string, "`string` is empty: nothing would be signed", help);
        }
        let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        let encoding = reader.one_of(file.encoding.as_ref(), "not an encoding of signatures", &encodings);
        let around = file.value.as_ref().map_or_else(
            || Some([Template(Vec::new()), Template(Vec::new())]),
            |value| {
                let around = around(reader.template(value));
                if around.is_none() {
                    let help = "write {signature} once: value: \"v1={signature}\"";
                    reader.wrong(value, "`value` does not have {signature} exactly once", help);
                }
                around
            },
        );
        let format = reader.one_of(file.time_format.as_ref(), "not a format of times", &FORMATS);
        let time = match (&file.time_header, &file.time_format) {
            (Some(name), _) => reader.header_name(name).map(|name| (name, format)),
            (None, Some(format)) => {
                let help = "add time_header: Date";
                reader.wrong(format, "`time_format` has no effect without `time_header`", help);
                None
            }
            (None, None) => None,
        };
        let place = credential_place(file.header.as_ref(), file.query_parameter.as_ref(), &file.key, reader)?;
        Some(Self { algorithm, key, string, encoding, place, around: around?, time })
    }
}

/// Compiles a key that signs.
pub(in crate::policy::kinds) fn secret_key(
    written: &Text,
    encoding: Option<&Text>,
    reader: &mut dyn Reader,
) -> SecretKey {
    let encodings = [("text", Encoding::Text), ("base64", Encoding::Base64), ("hex", Encoding::Hex)];
    let value = reader.template(written);
    let key = SecretKey { value, encoding: reader.one_of(encoding, "not an encoding of keys", &encodings) };
    // As far as it is known now; a file may hold another one later.
    if let Some(known) = reader.constant(&key.value) {
        match key.encoding.decode(&known) {
            None => {
                let help = "correct the key, or write its encoding (text, base64 or hex): `key_encoding`, or `encoding` beside `value`";
                reader.wrong(written, format!("the key is not valid {}", spelling(key.encoding)), help);
            }
            Some(bytes) if bytes.is_empty() => {
                reader.wrong(written, "the key is empty", "write a key that nobody can guess");
            }
            Some(_) => {}
        }
    }
    key
}

/// What is before and after the one place of the signature.
fn around(value: Template) -> Option<[Template; 2]> {
    let mut around = [Vec::new(), Vec::new()];
    let mut found = 0;
    for part in value.0 {
        match part {
            Part::Text(text) => {
                for (index, piece) in text.split(SIGNATURE).enumerate() {
                    found += usize::from(index > 0);
                    around.get_mut(found)?.extend((!piece.is_empty()).then(|| Part::Text(piece.into())));
                }
            }
            hole => around.get_mut(found)?.push(hole),
        }
    }
    (found == 1).then(|| around.map(Template))
}

/// Returns how an encoding is called in messages.
const fn spelling(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Base64 => "Base64",
        Encoding::Hex => "hexadecimal",
        Encoding::Text => "text",
    }
}
