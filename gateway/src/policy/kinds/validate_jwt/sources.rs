//! The keys that `validate-jwt` is written with: those in the configuration, those of files and those of servers.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_saphyr::Spanned;

use super::compiled::TokenKeys;
use super::written::{JwtKeyFile, ValidateJwtFile};
use crate::model::{Discovery, Endpoint, KeySource};
use crate::policy::kinds::authentication_hmac::written::secret_key;
use crate::syntax::{Reader, Text, TlsFile};

/// The keys that are written, those of files and those of servers.
pub(super) fn all(written: &Spanned<ValidateJwtFile>, issuers: &[Arc<str>], reader: &mut dyn Reader) -> Vec<TokenKeys> {
    let file = &written.value;
    let tls = file.tls.as_ref();
    let mut keys: Vec<_> = file.keys.iter().filter_map(|key| token_keys(key, reader)).collect();
    if let Some(jwks) = &file.jwks {
        keys.extend(reader.key_set(jwks, &KeySource::Jwks).map(TokenKeys::Public));
    }
    if let Some(url) = &file.jwks_url {
        let found = key_server(url, tls, reader);
        keys.extend(found.map(|(endpoint, target)| TokenKeys::Public(reader.remote_keys(endpoint, target, None))));
    }
    if let Some(url) = &file.openid_config
        && let Some((endpoint, target)) = key_server(url, tls, reader)
    {
        let keys_at = match &file.jwks_host {
            None => Some(Arc::clone(&endpoint)),
            Some(host) => named_server(host, tls, reader),
        };
        let discovery = keys_at.map(|keys_at| Discovery { keys_at, issuers: issuers.to_vec() });
        keys.extend(
            discovery.map(|discovery| TokenKeys::Public(reader.remote_keys(endpoint, target, Some(discovery)))),
        );
    }
    if let (Some(host), None) = (&file.jwks_host, &file.openid_config) {
        reader.wrong(
            host,
            "`jwks_host` has no effect without `openid_config`",
            "add `openid_config`, or remove `jwks_host`",
        );
    }
    let has_server = file.jwks_url.is_some() || file.openid_config.is_some();
    if let (Some(place), false) = (tls.and_then(TlsFile::place), has_server) {
        reader.wrong(
            place,
            "`tls` has no effect without a server for keys",
            "add `openid_config` or `jwks_url`, or remove it",
        );
    }
    if file.keys.is_empty() && file.jwks.is_none() && !has_server {
        let help = "add openid_config: URL, jwks_url: URL, jwks: PATH, or keys: [{algorithm: RS256, public_key: PATH}]";
        reader.wrong(written, "there are no keys to verify signatures with", help);
    }
    keys
}

fn token_keys(written: &Spanned<JwtKeyFile>, reader: &mut dyn Reader) -> Option<TokenKeys> {
    let file = &written.value;
    let id: Option<Arc<str>> = file.id.as_ref().map(|id| id.value.as_str().into());
    let Ok(algorithm) = file.algorithm.value.trim().parse::<Algorithm>() else {
        let help = match file.algorithm.value.trim() {
            "none" => "name an algorithm: without a signature anybody can make a token".to_owned(),
            "ES512" => "use ES384 or EdDSA: Egret does not verify signatures of the curve P-521".to_owned(),
            _ => {
                "choose HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA".to_owned()
            }
        };
        let rule = format!("Egret does not verify tokens that are signed with `{}`", file.algorithm.value);
        reader.wrong(&file.algorithm, rule, help);
        return None;
    };
    match (&file.value, &file.public_key, algorithm.family()) {
        (Some(value), None, AlgorithmFamily::Hmac) => {
            let key = secret_key(value, file.encoding.as_ref(), reader);
            Some(TokenKeys::Shared { id, algorithm, key })
        }
        (None, Some(path), AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed) => {
            if let Some(encoding) = &file.encoding {
                reader.wrong(encoding, "`encoding` has no effect on a PEM file", "remove it");
            }
            let source = |path| KeySource::Pem { path, id: id.clone(), algorithm };
            reader.key_set(path, &source).map(TokenKeys::Public)
        }
        (value, public_key, family) => {
            let (needs, help) = match family {
                AlgorithmFamily::Hmac => ("a `value`", "write value: \"{{named value}}\", and no public_key"),
                _ => ("a `public_key`", "write public_key: PATH, and no value"),
            };
            let rule = format!("{algorithm:?} needs {needs}, and nothing else");
            let place = value.as_ref().or(public_key.as_ref()).unwrap_or(&file.algorithm);
            reader.wrong(place, rule, help);
            None
        }
    }
}

/// Where a server has keys, or says who has.
fn key_server(written: &Text, tls: Option<&TlsFile>, reader: &mut dyn Reader) -> Option<(Arc<Endpoint>, Arc<str>)> {
    let (endpoint, target) = reader.endpoint(written, tls)?;
    match target.literal().filter(|_| endpoint.tls.is_some()) {
        Some(target) => Some((endpoint, target.into())),
        None => {
            let help = "write a URL like https://login.example/keys, without ${...}";
            reader.wrong(written, "keys cannot be trusted from this URL: it is not https, or has an expression", help);
            None
        }
    }
}

fn named_server(written: &Text, tls: Option<&TlsFile>, reader: &mut dyn Reader) -> Option<Arc<Endpoint>> {
    let name = written.value.trim();
    if name.contains(['/', '?', '#']) {
        reader.wrong(written, "this is not a name with or without a port", "write jwks_host: keys.login.example");
        return None;
    }
    reader.server(name, written, tls)
}
