//! Policies about who calls, and who the third party is told that it is.

use std::sync::Arc;

use http::HeaderName;
use serde_saphyr::Spanned;

use super::list::List;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::{ApiKeyFile, AwsSigv4File, HmacFile, PolicyFile};
use crate::model::{CredentialPlace, Encoding, Part, SecretKey, Template};
use crate::policy::{ApiKey, AwsSigv4, Hmac, HmacAlgorithm, Statement, TimeFormat};

/// What stands for the signature in what is said of it.
const SIGNATURE: &str = "{signature}";

/// A word, or nothing, and where it is written.
pub(super) type Word<'a> = Option<&'a Spanned<String>>;

impl<'a> List<'a, '_> {
    /// What is written of them.
    pub(super) fn credentials(&mut self, file: &'a PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(key) = &file.authentication_api_key {
            statements.push(self.api_key(key).map(Statement::AuthenticationApiKey));
        }
        if let Some(sign) = &file.authentication_aws_sigv4 {
            statements.push(Some(Statement::AuthenticationAwsSigv4(Box::new(self.aws_sigv4(sign)))));
        }
        if let Some(sign) = &file.authentication_hmac {
            statements.push(self.hmac(sign).map(|sign| Statement::AuthenticationHmac(Box::new(sign))));
        }
        if let Some(validate) = &file.validate_jwt {
            statements.push(self.validate_jwt(validate).map(|validate| Statement::ValidateJwt(Box::new(validate))));
        }
    }

    fn api_key(&mut self, file: &ApiKeyFile) -> Option<ApiKey> {
        let value = self.template(&file.value);
        let place = self.place(file.header.as_ref(), file.query_parameter.as_ref(), &file.value)?;
        Some(ApiKey { place, value })
    }

    fn aws_sigv4(&mut self, file: &AwsSigv4File) -> AwsSigv4 {
        let mut word = |written: &Spanned<String>, help: &str| {
            let text = written.value.trim();
            if text.is_empty() || !text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not the name of an AWS region or service", written.value),
                    help,
                ));
            }
            Arc::from(text)
        };
        let (region, service) =
            (word(&file.region, "write a name like eu-central-1"), word(&file.service, "write a name like s3"));
        AwsSigv4 {
            region,
            service,
            access_key: self.template(&file.access_key),
            secret_key: self.template(&file.secret_key),
            session_token: file.session_token.as_ref().map(|token| self.template(token)),
            unsigned_payload: file.unsigned_payload,
        }
    }

    fn hmac(&mut self, file: &HmacFile) -> Option<Hmac> {
        let algorithms =
            [("sha256", HmacAlgorithm::Sha256), ("sha512", HmacAlgorithm::Sha512), ("sha1", HmacAlgorithm::Sha1)];
        let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        let formats = [
            ("http", TimeFormat::Http),
            ("iso8601", TimeFormat::Iso8601),
            ("unix", TimeFormat::Unix),
            ("unix_ms", TimeFormat::UnixMilliseconds),
        ];
        let algorithm = self.one_of(file.algorithm.as_ref(), "not an algorithm", &algorithms);
        let key = self.secret_key(&file.key, file.key_encoding.as_ref());
        let string = {
            let (scope, problems) = self.scope_and_problems();
            scope.bytes(&file.string, problems)
        };
        if file.string.value.is_empty() {
            self.problems.push(Problem::at(
                &file.string,
                "`string` is empty: nothing would be signed",
                "write string: \"${request.body_bytes}\"",
            ));
        }
        let encoding = self.one_of(file.encoding.as_ref(), "not an encoding of signatures", &encodings);
        let around = file.value.as_ref().map_or_else(
            || Some([Template(Vec::new()), Template(Vec::new())]),
            |value| {
                let around = around(self.template(value));
                if around.is_none() {
                    let help = "write {signature} once: value: \"v1={signature}\"";
                    self.problems.push(Problem::at(value, "`value` does not have {signature} exactly once", help));
                }
                around
            },
        );
        let format = self.one_of(file.time_format.as_ref(), "not a format of times", &formats);
        let time = match (&file.time_header, &file.time_format) {
            (Some(name), _) => self.header_name(name).map(|name| (name, format)),
            (None, Some(format)) => {
                self.problems.push(Problem::at(
                    format,
                    "`time_format` has no effect without `time_header`",
                    "add time_header: Date",
                ));
                None
            }
            (None, None) => None,
        };
        let place = self.place(file.header.as_ref(), file.query_parameter.as_ref(), &file.key)?;
        Some(Hmac { algorithm, key, string, encoding, place, around: around?, time })
    }

    pub(super) fn secret_key(&mut self, written: &Spanned<String>, encoding: Word<'_>) -> SecretKey {
        let encodings = [("text", Encoding::Text), ("base64", Encoding::Base64), ("hex", Encoding::Hex)];
        let value = self.template(written);
        let key = SecretKey { value, encoding: self.one_of(encoding, "not an encoding of keys", &encodings) };
        // As far as it is known now; a file may hold another one later.
        if let Some(known) = self.shared.values.constant(&key.value) {
            let help = "correct the key, or write its encoding (text, base64 or hex): `key_encoding`, or `encoding` beside `value`";
            match key.encoding.decode(&known) {
                None => self.problems.push(Problem::at(
                    written,
                    format!("the key is not valid {}", spelling(key.encoding)),
                    help,
                )),
                Some(bytes) if bytes.is_empty() => {
                    self.problems.push(Problem::at(written, "the key is empty", "write a key that nobody can guess"));
                }
                Some(_) => {}
            }
        }
        key
    }

    fn place(&mut self, header: Word<'_>, parameter: Word<'_>, near: &Spanned<String>) -> Option<CredentialPlace> {
        match (header, parameter) {
            (Some(name), None) => self.header_name(name).map(CredentialPlace::Header),
            (None, Some(name)) => Some(CredentialPlace::QueryParameter(name.value.as_str().into())),
            _ => {
                let help = "write header: X-Api-Key, or query_parameter: key";
                self.problems.push(Problem::at(
                    near,
                    "exactly one of `header` and `query_parameter` is required",
                    help,
                ));
                None
            }
        }
    }

    pub(super) fn header_name(&mut self, written: &Spanned<String>) -> Option<HeaderName> {
        self.header(written).and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }

    /// Returns the meaning of one of these words; of the first, if nothing is written. `rule` says what another word is not.
    pub(super) fn one_of<T: Copy>(&mut self, written: Word<'_>, rule: &str, words: &[(&str, T)]) -> T {
        let default = words[0].1;
        let found = written.map(|written| (written, words.iter().find(|(word, _)| *word == written.value.trim())));
        match found {
            Some((_, Some((_, meant)))) => *meant,
            Some((written, None)) => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let all = match words.as_slice() {
                    [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
                    all => all.concat(),
                };
                let rule = format!("`{}` is {rule}", written.value);
                self.problems.push(Problem::at(written, rule, format!("write {all}")));
                default
            }
            None => default,
        }
    }
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
