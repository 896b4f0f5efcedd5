//! What `validate-jwt` is compiled from.

use std::sync::Arc;

use serde_saphyr::Spanned;

use super::compiled::{RequiredClaim, TokenPlace, ValidateJwt};
use super::sources::all;
use super::written::{RequiredClaimFile, ValidateJwtFile};
use crate::model::{Part, Refusal, Template};
use crate::syntax::{Form, Reader, Text};

/// Where an issuer's OpenID configuration is, below the issuer's own URL (OpenID Connect Discovery 1.0 §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

impl Form for ValidateJwt {
    type File = ValidateJwtFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Allows requests with a valid token (JWT); others are refused (401). Only in inbound.\n\
        Example: `{openid_config: https://login.example/.well-known/openid-configuration, audiences: [orders]}`.";

    fn compile(written: &Spanned<ValidateJwtFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let token = token(written, reader);
        let issuers = match &file.openid_config {
            Some(url) if file.issuers.is_empty() => own_issuers(url, reader),
            _ => Vec::new(),
        };
        let keys = all(written, &issuers, reader);
        let own = issuers.into_iter().map(|issuer| Template(vec![Part::Text(issuer)]));
        Some(Self {
            token: token?,
            keys,
            require_expiration: file.require_expiration.unwrap_or(true),
            clock_skew: reader.optional_duration(file.clock_skew.as_ref()).unwrap_or_default(),
            issuers: own.chain(file.issuers.iter().map(|issuer| reader.template(issuer))).collect(),
            audiences: file.audiences.iter().map(|audience| reader.template(audience)).collect(),
            claims: file.required_claims.iter().map(|written| claim(written, reader)).collect(),
            output: file.output_variable.as_ref().map(|name| reader.variable(name)),
            failed: Refusal {
                status: file.failed_status.unwrap_or(401),
                message: file.failed_message.as_deref().map(Arc::from),
            },
        })
    }

    fn variables(file: &ValidateJwtFile) -> Vec<(&Text, bool)> {
        file.output_variable.iter().map(|name| (name, false)).collect()
    }
}

fn token(written: &Spanned<ValidateJwtFile>, reader: &mut dyn Reader) -> Option<TokenPlace> {
    let file = &written.value;
    let scheme = file.require_scheme.as_ref();
    if let (Some(scheme), true) = (scheme, file.query_parameter.is_some() || file.token.is_some()) {
        reader.wrong(scheme, "only a token in a header has a scheme", "remove `require_scheme`");
    }
    match (&file.header, &file.query_parameter, &file.token) {
        (name, None, None) => {
            let name = match name {
                Some(name) => reader.header_name(name)?,
                None => http::header::AUTHORIZATION,
            };
            Some(TokenPlace::Header { name, scheme: scheme.map(|scheme| scheme.value.trim().into()) })
        }
        (None, Some(name), None) => Some(TokenPlace::QueryParameter(name.value.as_str().into())),
        (None, None, Some(text)) => Some(TokenPlace::Text(reader.template(text))),
        _ => {
            let rule = "`header`, `query_parameter` and `token` exclude each other";
            reader.wrong(written, rule, "keep one of them");
            None
        }
    }
}

/// The issuer that an OpenID configuration is of, where none is written; a slash at its end is none of its URL's.
fn own_issuers(written: &Text, reader: &mut dyn Reader) -> Vec<Arc<str>> {
    if let Some(issuer) = written.value.trim().strip_suffix(WELL_KNOWN) {
        return vec![issuer.into(), format!("{issuer}/").into()];
    }
    let help = format!("add `issuers: [...]`, or a URL that ends in {WELL_KNOWN}");
    reader.wrong(written, "the issuer is unknown: it is neither written nor part of the URL", help);
    Vec::new()
}

fn claim(file: &RequiredClaimFile, reader: &mut dyn Reader) -> RequiredClaim {
    let any = reader.one_of(file.matching.as_ref(), "not a value of `match`", &[("all", false), ("any", true)]);
    if let Some(separator) = file.separator.as_ref().filter(|separator| separator.value.is_empty()) {
        reader.wrong(separator, "the separator is empty", "write a space, a comma or another text");
    }
    RequiredClaim {
        name: file.name.value.as_str().into(),
        values: file.values.iter().map(|value| reader.template(value)).collect(),
        any,
        separator: file.separator.as_ref().map(|separator| separator.value.as_str().into()),
    }
}
