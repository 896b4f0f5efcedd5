//! `validate-jwt`: where the token is, and the keys that its signature may be made with.

use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_saphyr::Spanned;

use super::super::endpoint;
use super::list::List;
use crate::config::diagnostic::Problem;
use crate::config::file::TlsFile;
use crate::config::file::policies::{JwtKeyFile, RequiredClaimFile, ValidateJwtFile};
use crate::model::{Discovery, Endpoint, KeySet, KeySource, Part, Refusal, Template};
use crate::policy::{RequiredClaim, TokenKeys, TokenPlace, ValidateJwt};

/// Where an issuer's OpenID configuration is, below the issuer's own URL (OpenID Connect Discovery 1.0 §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

impl List<'_, '_> {
    pub(super) fn validate_jwt(&mut self, written: &Spanned<ValidateJwtFile>) -> Option<ValidateJwt> {
        let file = &written.value;
        let token = self.token(written);
        let issuers = match &file.openid_config {
            Some(url) if file.issuers.is_empty() => self.own_issuers(url),
            _ => Vec::new(),
        };
        let keys = self.all_keys(written, &issuers);
        let own = issuers.into_iter().map(|issuer| Template(vec![Part::Text(issuer)]));
        let templates = |list: &mut Self, written: &[Spanned<String>]| {
            written.iter().map(|written| list.template(written)).collect::<Vec<_>>()
        };
        Some(ValidateJwt {
            token: token?,
            keys,
            require_expiration: file.require_expiration.unwrap_or(true),
            clock_skew: self.duration(file.clock_skew.as_ref()).unwrap_or_default(),
            issuers: own.chain(templates(self, &file.issuers)).collect(),
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
            self.problems.push(Problem::at(scheme, "only a token in a header has a scheme", "remove `require_scheme`"));
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
                let rule = "`header`, `query_parameter` and `token` exclude each other";
                self.problems.push(Problem::at(written, rule, "keep one of them"));
                None
            }
        }
    }

    /// The issuer that an OpenID configuration is of, where none is written; a slash at its end is none of its URL's.
    fn own_issuers(&mut self, written: &Spanned<String>) -> Vec<Arc<str>> {
        if let Some(issuer) = written.value.trim().strip_suffix(WELL_KNOWN) {
            return vec![issuer.into(), format!("{issuer}/").into()];
        }
        let help = format!("add `issuers: [...]`, or a URL that ends in {WELL_KNOWN}");
        self.problems.push(Problem::at(
            written,
            "the issuer is unknown: it is neither written nor part of the URL",
            help,
        ));
        Vec::new()
    }

    /// The keys that are written, those of files and those of servers.
    fn all_keys(&mut self, written: &Spanned<ValidateJwtFile>, issuers: &[Arc<str>]) -> Vec<TokenKeys> {
        let file = &written.value;
        let tls = file.tls.as_ref();
        let mut keys: Vec<_> = file.keys.iter().filter_map(|key| self.token_keys(key)).collect();
        if let Some(jwks) = &file.jwks {
            keys.extend(self.key_set(jwks, KeySource::Jwks).map(TokenKeys::Public));
        }
        if let Some(url) = &file.jwks_url {
            let found = self.key_server(url, tls);
            keys.extend(found.map(|(endpoint, target)| self.remote_keys(endpoint, target, None)));
        }
        if let Some(url) = &file.openid_config
            && let Some((endpoint, target)) = self.key_server(url, tls)
        {
            let keys_at = match &file.jwks_host {
                None => Some(Arc::clone(&endpoint)),
                Some(host) => self.named_server(host, tls),
            };
            let discovery = keys_at.map(|keys_at| Discovery { keys_at, issuers: issuers.to_vec() });
            keys.extend(discovery.map(|discovery| self.remote_keys(endpoint, target, Some(discovery))));
        }
        if let (Some(host), None) = (&file.jwks_host, &file.openid_config) {
            self.problems.push(Problem::at(
                host,
                "`jwks_host` has no effect without `openid_config`",
                "add `openid_config`, or remove `jwks_host`",
            ));
        }
        let has_server = file.jwks_url.is_some() || file.openid_config.is_some();
        if let (Some(place), false) = (tls.and_then(TlsFile::place), has_server) {
            self.problems.push(Problem::at(
                place,
                "`tls` has no effect without a server for keys",
                "add `openid_config` or `jwks_url`, or remove it",
            ));
        }
        if file.keys.is_empty() && file.jwks.is_none() && !has_server {
            let help =
                "add openid_config: URL, jwks_url: URL, jwks: PATH, or keys: [{algorithm: RS256, public_key: PATH}]";
            self.problems.push(Problem::at(written, "there are no keys to verify signatures with", help));
        }
        keys
    }

    fn token_keys(&mut self, written: &Spanned<JwtKeyFile>) -> Option<TokenKeys> {
        let file = &written.value;
        let id: Option<Arc<str>> = file.id.as_ref().map(|id| id.value.as_str().into());
        let Ok(algorithm) = file.algorithm.value.trim().parse::<Algorithm>() else {
            let help = match file.algorithm.value.trim() {
                "none" => "name an algorithm: without a signature anybody can make a token".to_owned(),
                "ES512" => "use ES384 or EdDSA: Egret does not verify signatures of the curve P-521".to_owned(),
                _ => "choose HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
                    .to_owned(),
            };
            let rule = format!("Egret does not verify tokens that are signed with `{}`", file.algorithm.value);
            self.problems.push(Problem::at(&file.algorithm, rule, help));
            return None;
        };
        match (&file.value, &file.public_key, algorithm.family()) {
            (Some(value), None, AlgorithmFamily::Hmac) => {
                let key = self.secret_key(value, file.encoding.as_ref());
                Some(TokenKeys::Shared { id, algorithm, key })
            }
            (None, Some(path), AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed) => {
                if let Some(encoding) = &file.encoding {
                    self.problems.push(Problem::at(encoding, "`encoding` has no effect on a PEM file", "remove it"));
                }
                let source = |path| KeySource::Pem { path, id, algorithm };
                self.key_set(path, source).map(TokenKeys::Public)
            }
            (value, public_key, family) => {
                let (needs, help) = match family {
                    AlgorithmFamily::Hmac => ("a `value`", "write value: \"{{named value}}\", and no public_key"),
                    _ => ("a `public_key`", "write public_key: PATH, and no value"),
                };
                let rule = format!("{algorithm:?} needs {needs}, and nothing else");
                let place = value.as_ref().or(public_key.as_ref()).unwrap_or(&file.algorithm);
                self.problems.push(Problem::at(place, rule, help));
                None
            }
        }
    }

    /// Where a server has keys, or says who has.
    fn key_server(&mut self, written: &Spanned<String>, tls: Option<&TlsFile>) -> Option<(Arc<Endpoint>, Arc<str>)> {
        let (endpoint, target) = self.url(written, tls)?;
        match target.literal().filter(|_| endpoint.tls.is_some()) {
            Some(target) => Some((endpoint, target.into())),
            None => {
                let help = "write a URL like https://login.example/keys, without ${...}";
                self.problems.push(Problem::at(
                    written,
                    "keys cannot be trusted from this URL: it is not https, or has an expression",
                    help,
                ));
                None
            }
        }
    }

    fn named_server(&mut self, written: &Spanned<String>, tls: Option<&TlsFile>) -> Option<Arc<Endpoint>> {
        let name = written.value.trim();
        if name.contains(['/', '?', '#']) {
            self.problems.push(Problem::at(
                written,
                "this is not a name with or without a port",
                "write jwks_host: keys.login.example",
            ));
            return None;
        }
        let template = Template(vec![Part::Text(format!("https://{name}/").into())]);
        endpoint::url(written, template, tls, self.shared.outside, self.problems).map(|(endpoint, _)| endpoint)
    }

    /// The keys of a server, which all who name it share.
    fn remote_keys(&mut self, endpoint: Arc<Endpoint>, target: Arc<str>, discovery: Option<Discovery>) -> TokenKeys {
        let keys = KeySet::remote(endpoint, target, discovery);
        let mut known = self.shared.keys.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.source == keys.source) {
            return TokenKeys::Public(Arc::clone(known));
        }
        let keys = Arc::new(keys);
        known.push(Arc::clone(&keys));
        TokenKeys::Public(keys)
    }

    /// The keys of a file, which all who name it share.
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
                let help = "name a JWK set, or for `public_key` a PEM file (-----BEGIN PUBLIC KEY-----)";
                self.problems.push(Problem::at(written, format!("`{}` cannot be used: {error}", written.value), help));
                None
            }
        }
    }

    fn claim(&mut self, file: &RequiredClaimFile) -> RequiredClaim {
        let any = self.one_of(file.matching.as_ref(), "not a value of `match`", &[("all", false), ("any", true)]);
        if let Some(separator) = file.separator.as_ref().filter(|separator| separator.value.is_empty()) {
            self.problems.push(Problem::at(
                separator,
                "the separator is empty",
                "write a space, a comma or another text",
            ));
        }
        RequiredClaim {
            name: file.name.value.as_str().into(),
            values: file.values.iter().map(|value| self.template(value)).collect(),
            any,
            separator: file.separator.as_ref().map(|separator| separator.value.as_str().into()),
        }
    }
}
