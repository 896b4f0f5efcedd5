//! Policies about who calls, and who the third party is told that it is.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_saphyr::Spanned;

use super::list::List;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::TlsFile;
use crate::config::file::policies::{
    ApiKeyFile, AwsSigv4File, HmacFile, JwtKeyFile, PolicyFile, RequiredClaimFile, ValidateJwtFile,
};
use crate::model::{
    ApiKey, AwsSigv4, CredentialPlace, Encoding, Hmac, HmacAlgorithm, KeySet, KeySource, Part, Refusal, RequiredClaim,
    SecretKey, Statement, Template, TimeFormat, TokenKeys, TokenPlace, ValidateJwt,
};

/// What stands for the signature in what is said of it.
const SIGNATURE: &str = "{signature}";

/// A word, or nothing, and where it is written.
type Word<'a> = Option<&'a Spanned<String>>;

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
                self.problems.push(Problem::at(written, "not a name that AWS signs with", help));
            }
            Arc::from(text)
        };
        let (region, service) = (word(&file.region, "like eu-central-1"), word(&file.service, "like s3"));
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
            self.problems.push(Problem::at(&file.string, "nothing is signed", "string: \"${request.body_bytes}\""));
        }
        let encoding = self.one_of(file.encoding.as_ref(), "not how a signature is written", &encodings);
        let around = file.value.as_ref().map_or_else(
            || Some([Template(Vec::new()), Template(Vec::new())]),
            |value| {
                let around = around(self.template(value));
                if around.is_none() {
                    let help = "say where it goes, once: value: \"v1={signature}\"";
                    self.problems.push(Problem::at(value, "{signature} is not in it once", help));
                }
                around
            },
        );
        let format = self.one_of(file.time_format.as_ref(), "not how a time is written", &formats);
        let time = match (&file.time_header, &file.time_format) {
            (Some(name), _) => self.header_name(name).map(|name| (name, format)),
            (None, Some(format)) => {
                self.problems.push(Problem::at(format, "no header says the time", "time_header: Date"));
                None
            }
            (None, None) => None,
        };
        let place = self.place(file.header.as_ref(), file.query_parameter.as_ref(), &file.key)?;
        Some(Hmac { algorithm, key, string, encoding, place, around: around?, time })
    }

    fn validate_jwt(&mut self, written: &Spanned<ValidateJwtFile>) -> Option<ValidateJwt> {
        let file = &written.value;
        let token = self.token(written);
        let mut keys: Vec<_> = file.keys.iter().filter_map(|key| self.token_keys(key)).collect();
        if let Some(jwks) = &file.jwks {
            keys.extend(self.key_set(jwks, KeySource::Jwks).map(TokenKeys::Public));
        }
        if let Some(url) = &file.jwks_url {
            keys.extend(self.remote_keys(url, file.tls.as_ref()).map(TokenKeys::Public));
        } else if let Some(place) = file.tls.as_ref().and_then(|tls| tls.ca.as_ref().or(tls.min_tls.as_ref())) {
            self.problems.push(Problem::at(place, "TLS with whom?", "add jwks_url"));
        }
        if file.keys.is_empty() && file.jwks.is_none() && file.jwks_url.is_none() {
            let help = "jwks_url: URL, jwks: PATH, or keys: [{algorithm: RS256, public_key: PATH}]";
            self.problems.push(Problem::at(written, "there is nothing to check signatures with", help));
        }
        let templates = |list: &mut Self, written: &[Spanned<String>]| {
            written.iter().map(|written| list.template(written)).collect::<Vec<_>>()
        };
        Some(ValidateJwt {
            token: token?,
            keys,
            require_expiration: file.require_expiration.unwrap_or(true),
            clock_skew: self.duration(file.clock_skew.as_ref()).unwrap_or_default(),
            issuers: templates(self, &file.issuers),
            audiences: templates(self, &file.audiences),
            claims: file.required_claims.iter().map(|claim| self.claim(claim)).collect(),
            output: file.output_variable.as_ref().map(|name| self.variable(name)),
            failed: Refusal {
                status: file.failed_status.unwrap_or(401),
                message: file.failed_message.as_deref().map(Arc::from),
            },
        })
    }

    fn token(&mut self, written: &Spanned<ValidateJwtFile>) -> Option<TokenPlace> {
        let file = &written.value;
        let scheme = file.require_scheme.as_ref();
        if let (Some(scheme), true) = (scheme, file.query_parameter.is_some() || file.token.is_some()) {
            self.problems.push(Problem::at(scheme, "only a header has a scheme", "remove it"));
        }
        match (&file.header, &file.query_parameter, &file.token) {
            (name, None, None) => {
                let name = match name {
                    Some(name) => self.header_name(name)?,
                    None => http::header::AUTHORIZATION,
                };
                Some(TokenPlace::Header { name, scheme: scheme.map(|scheme| scheme.value.trim().into()) })
            }
            (None, Some(name), None) => Some(TokenPlace::QueryParameter(name.value.as_str().into())),
            (None, None, Some(text)) => Some(TokenPlace::Text(self.template(text))),
            _ => {
                let rule = "more than one of `header`, `query_parameter` and `token`";
                self.problems.push(Problem::at(written, rule, "say where the token is"));
                None
            }
        }
    }

    fn token_keys(&mut self, written: &Spanned<JwtKeyFile>) -> Option<TokenKeys> {
        let file = &written.value;
        let id: Option<Arc<str>> = file.id.as_ref().map(|id| id.value.as_str().into());
        let Ok(algorithm) = file.algorithm.value.trim().parse::<Algorithm>() else {
            let help = match file.algorithm.value.trim() {
                "none" => "without a signature anybody can make a token".to_owned(),
                _ => "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA".to_owned(),
            };
            self.problems.push(Problem::at(&file.algorithm, "not an algorithm that tokens are signed by", help));
            return None;
        };
        match (&file.value, &file.public_key, algorithm.family()) {
            (Some(value), None, AlgorithmFamily::Hmac) => {
                let key = self.secret_key(value, file.encoding.as_ref());
                Some(TokenKeys::Shared { id, algorithm, key })
            }
            (None, Some(path), AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed) => {
                if let Some(encoding) = &file.encoding {
                    self.problems.push(Problem::at(encoding, "a file in PEM says what it is", "remove it"));
                }
                let source = |path| KeySource::Pem { path, id, algorithm };
                self.key_set(path, source).map(TokenKeys::Public)
            }
            (value, public_key, family) => {
                let (needs, help) = match family {
                    AlgorithmFamily::Hmac => ("a `value`", "value: \"{{named value}}\", and no public_key"),
                    _ => ("a `public_key`", "public_key: PATH, and no value"),
                };
                let rule = format!("{algorithm:?} needs {needs}, and nothing else");
                let place = value.as_ref().or(public_key.as_ref()).unwrap_or(&file.algorithm);
                self.problems.push(Problem::at(place, rule, help));
                None
            }
        }
    }

    /// The keys of a file, which all who name it share.
    /// Whoever could change them on their way could sign anything: only over TLS.
    fn remote_keys(&mut self, written: &Spanned<String>, tls: Option<&TlsFile>) -> Option<Arc<KeySet>> {
        let (endpoint, target) = self.url(written, tls)?;
        let Some(target) = target.literal().filter(|_| endpoint.tls.is_some()) else {
            let help = "https://login.example/keys, without ${...}";
            self.problems.push(Problem::at(written, "not where keys can be trusted to come from", help));
            return None;
        };
        let keys = KeySet::remote(endpoint, target.into());
        let mut known = self.shared.keys.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.source == keys.source) {
            return Some(Arc::clone(known));
        }
        let keys = Arc::new(keys);
        known.push(Arc::clone(&keys));
        Some(keys)
    }

    fn key_set(&mut self, written: &Spanned<String>, source: impl FnOnce(PathBuf) -> KeySource) -> Option<Arc<KeySet>> {
        let source = source(self.shared.outside.path(&written.value));
        let mut known = self.shared.keys.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.source == source) {
            return Some(Arc::clone(known));
        }
        let document = self.shared.outside.contents(written).map_err(|error| error.to_string());
        let keys = document.and_then(|document| KeySet::new(source, document).map_err(|error| error.to_string()));
        match keys {
            Ok(keys) => {
                let keys = Arc::new(keys);
                known.push(Arc::clone(&keys));
                Some(keys)
            }
            Err(error) => {
                let help = "a JWK set, or for public_key a PEM file: -----BEGIN PUBLIC KEY-----";
                self.problems.push(Problem::at(written, format!("this file cannot be used: {error}"), help));
                None
            }
        }
    }

    fn claim(&mut self, file: &RequiredClaimFile) -> RequiredClaim {
        let any = self.one_of(file.matching.as_ref(), "not how values match", &[("all", false), ("any", true)]);
        if let Some(separator) = file.separator.as_ref().filter(|separator| separator.value.is_empty()) {
            self.problems.push(Problem::at(separator, "nothing separates nothing", "a space, a comma, ..."));
        }
        RequiredClaim {
            name: file.name.value.as_str().into(),
            values: file.values.iter().map(|value| self.template(value)).collect(),
            any,
            separator: file.separator.as_ref().map(|separator| separator.value.as_str().into()),
        }
    }

    fn secret_key(&mut self, written: &Spanned<String>, encoding: Word<'_>) -> SecretKey {
        let encodings = [("text", Encoding::Text), ("base64", Encoding::Base64), ("hex", Encoding::Hex)];
        let value = self.template(written);
        let key = SecretKey { value, encoding: self.one_of(encoding, "not how a key is written", &encodings) };
        // As far as it is known now; a file may hold another one later.
        let known = key.value.0.iter().map(|part| match part {
            Part::Text(text) => Some(text.as_bytes().to_vec()),
            Part::Named(value) => Some(value.current().expose().to_vec()),
            Part::Expression(_) => None,
        });
        if let Some(known) = known.collect::<Option<Vec<_>>>() {
            let help = "key_encoding (in keys: encoding) says how it is written: text, base64 or hex";
            match key.encoding.decode(&known.concat()) {
                None => self.problems.push(Problem::at(written, "this key is written in another way", help)),
                Some(bytes) if bytes.is_empty() => {
                    self.problems.push(Problem::at(written, "this key is empty", "a key that nobody can guess"));
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
                let help = "header: X-Api-Key, or query_parameter: key";
                self.problems.push(Problem::at(near, "one of `header` and `query_parameter`", help));
                None
            }
        }
    }

    fn header_name(&mut self, written: &Spanned<String>) -> Option<HeaderName> {
        self.header(written).and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }

    /// One of these words; the first, if nothing is written.
    fn one_of<T: Copy>(&mut self, written: Word<'_>, rule: &str, words: &[(&str, T)]) -> T {
        let found = written.map(|written| (written, words.iter().find(|(word, _)| *word == written.value.trim())));
        match found {
            Some((_, Some((_, meant)))) => *meant,
            Some((written, None)) => {
                let help = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
                self.problems.push(Problem::at(written, rule, help));
                words[0].1
            }
            None => words[0].1,
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
