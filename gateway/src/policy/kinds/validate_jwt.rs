//! `validate-jwt`: tokens of callers (RFC 7519).

mod compile;
pub(in crate::policy) mod compiled;
mod remote;
mod signature;
mod sources;
mod written;

#[cfg(test)]
mod fuzz;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::compiled::{RequiredClaim, ValidateJwt};
use self::signature::{Refused, keys, signed, token};
use crate::model::{Pending, Reason, Template};
use crate::policy::engine::expression::of_json;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, SometimesTimed, Traits, WhenReported, World,
    expressions, template,
};

impl Kind for ValidateJwt {
    const NAME: &'static str = "validate-jwt";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(self.templates()),
            conditions: Vec::new(),
            endpoints: self.endpoints().collect(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: true,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ValidateJwt {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

impl SometimesTimed for ValidateJwt {
    fn waits(&self) -> bool {
        self.endpoints().next().is_some()
    }

    fn run_timed<'a>(
        &'a self,
        _: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move {
            remote::fetch_keys(self, call, world).await;
            run(self, call).map(|()| Outcome::Continue)
        })
    }
}

/// Allows requests with a valid token (RFC 7519). The message of a refusal tells nothing of what is in the token.
fn run(validate: &ValidateJwt, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let refuse = |Refused(reason, what): Refused| {
        let message = validate.failed.message.as_deref().map_or(what, str::to_owned);
        Fault::new(reason, validate.failed.status, message)
    };
    let token = token(&validate.token, call)?.map_err(refuse)?;
    let keys = keys(&validate.keys, call)?;
    let written = signed(&token, &keys).map_err(refuse)?;
    let claims = written.clone().into_value();
    is_well_formed(&claims).map_err(refuse)?;
    in_time(&claims, call.context.time, validate.clock_skew, validate.require_expiration).map_err(refuse)?;
    let (issuers, audiences) = (texts(&validate.issuers, call)?, texts(&validate.audiences, call)?);
    for (name, allowed, reason) in
        [("iss", issuers, Reason::TokenIssuerNotAllowed), ("aud", audiences, Reason::TokenAudienceNotAllowed)]
    {
        let said = claims.get(name).map(|said| values(said, None)).unwrap_or_default();
        if !allowed.is_empty() && !allowed.iter().any(|allowed| said.iter().any(|said| said == allowed)) {
            return Err(refuse(Refused(reason, format!("the token's `{name}` is not one that is allowed"))));
        }
    }
    for required in &validate.claims {
        let wanted = texts(&required.values, call)?;
        has(&claims, required, &wanted).map_err(refuse)?;
    }
    call.note(|| match claims.get("sub").and_then(Value::as_str) {
        Some(subject) => format!("valid, of {subject}"),
        None => "valid".to_owned(),
    });
    if let Some(name) = &validate.output {
        call.message.variables.push((Arc::clone(name), of_json(written)));
    }
    Ok(())
}

/// RFC 7519 §4.1: the types of registered claims. An issuer is one text, not a list, of which each reader might take another.
fn is_well_formed(claims: &Value) -> Result<(), Refused> {
    let is_list = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    for name in ["iss", "sub", "jti", "aud"] {
        let is_right = |value: &Value| value.is_string() || (name == "aud" && is_list(value));
        if !claims.get(name).is_none_or(is_right) {
            return Err(Refused(
                Reason::TokenInvalid,
                format!("the token's `{name}` is not of its type (RFC 7519 §4.1)"),
            ));
        }
    }
    Ok(())
}

/// RFC 7519 §4.1.4, §4.1.5.
fn in_time(claims: &Value, now: SystemTime, skew: Duration, needs_end: bool) -> Result<(), Refused> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let skew = skew.as_secs_f64();
    let time = |name| match claims.get(name) {
        None => Ok(None),
        Some(said) => {
            let invalid = || Refused(Reason::TokenInvalid, format!("the token's `{name}` is no time"));
            said.as_f64().map(Some).ok_or_else(invalid)
        }
    };
    match time("exp")? {
        Some(end) if now >= end + skew => {
            return Err(Refused(Reason::TokenExpired, "the token has expired".to_owned()));
        }
        None if needs_end => {
            return Err(Refused(Reason::TokenClaimNotFound, "the token does not say when it expires (exp)".to_owned()));
        }
        _ => {}
    }
    if time("nbf")?.is_some_and(|start| now + skew < start) {
        return Err(Refused(Reason::TokenNotYetValid, "the token is not valid yet".to_owned()));
    }
    Ok(())
}

fn has(claims: &Value, required: &RequiredClaim, wanted: &[String]) -> Result<(), Refused> {
    let name = &required.name;
    let said = claims.get(&**name).filter(|said| !said.is_null());
    let said = said.ok_or_else(|| Refused(Reason::TokenClaimNotFound, format!("the token has no `{name}`")))?;
    let said = values(said, required.separator.as_deref());
    let says = |wanted: &String| said.iter().any(|said| said == wanted);
    let is_so = wanted.is_empty() || if required.any { wanted.iter().any(says) } else { wanted.iter().all(says) };
    let refused =
        || Refused(Reason::TokenClaimValueNotAllowed, format!("the token's `{name}` is not one that is allowed"));
    if is_so { Ok(()) } else { Err(refused()) }
}

/// A claim of one value, or of several.
fn values<'a>(claim: &'a Value, separator: Option<&str>) -> Vec<Cow<'a, str>> {
    match (claim, separator) {
        (Value::Array(items), _) => items.iter().flat_map(|item| values(item, None)).collect(),
        (Value::String(text), Some(separator)) => text.split(separator).map(Cow::Borrowed).collect(),
        (Value::String(text), None) => vec![Cow::Borrowed(text)],
        (other, _) => vec![Cow::Owned(other.to_string())],
    }
}

fn texts(templates: &[Template], call: &Call<'_>) -> Result<Vec<String>, Box<Fault>> {
    templates.iter().map(|text| template::unsent(text, call).map(|filled| filled.text.into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn registered_claims_have_their_types() {
        for (claims, expected) in [
            (r#"{"iss": "https://a.example", "sub": "a", "aud": ["b", "c"], "jti": "1", "exp": 1}"#, true),
            (r#"{"aud": "b"}"#, true),
            (r#"{"iss": ["https://a.example"]}"#, false),
            (r#"{"iss": ["https://a.example", "https://b.example"]}"#, false),
            (r#"{"iss": {"a": "https://a.example"}}"#, false),
            (r#"{"iss": null}"#, false),
            (r#"{"iss": 1}"#, false),
            (r#"{"sub": ["a"]}"#, false),
            (r#"{"jti": 1}"#, false),
            (r#"{"aud": ["b", 1]}"#, false),
            (r#"{"aud": {"b": true}}"#, false),
        ] {
            let outcome = is_well_formed(&serde_json::from_str(claims).unwrap()).map_err(|Refused(reason, _)| reason);
            assert_eq!(outcome, if expected { Ok(()) } else { Err(Reason::TokenInvalid) }, "{claims}");
        }
    }

    #[test]
    fn a_token_is_valid_for_its_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let check = |claims: Value, skew| {
            in_time(&claims, now, Duration::from_secs(skew), true).map_err(|Refused(reason, _)| reason)
        };
        assert_eq!(check(json!({"exp": 1001}), 0), Ok(()));
        assert_eq!(check(json!({"exp": 1000}), 0), Err(Reason::TokenExpired));
        assert_eq!(check(json!({"exp": 1000}), 1), Ok(()));
        assert_eq!(check(json!({"exp": 999.5}), 0), Err(Reason::TokenExpired));
        assert_eq!(check(json!({"exp": 2000, "nbf": 1001}), 0), Err(Reason::TokenNotYetValid));
        assert_eq!(check(json!({"exp": 2000, "nbf": 1001}), 1), Ok(()));
        assert_eq!(check(json!({"exp": "2000"}), 0), Err(Reason::TokenInvalid));
        assert_eq!(check(json!({}), 0), Err(Reason::TokenClaimNotFound));
        assert_eq!(in_time(&json!({}), now, Duration::ZERO, false), Ok(()));
    }

    #[test]
    fn claims_say_what_they_must() {
        let claims = json!({"scope": "read write", "roles": ["a", "b"], "level": 3, "nothing": null});
        let check = |name: &str, wanted: &[&str], any, separator: Option<&str>| {
            let separator = separator.map(Arc::from);
            let required = RequiredClaim { name: name.into(), values: Vec::new(), any, separator };
            let wanted: Vec<_> = wanted.iter().map(|text| (*text).to_owned()).collect();
            has(&claims, &required, &wanted).map_err(|Refused(reason, _)| reason)
        };
        assert_eq!(check("scope", &["write"], false, Some(" ")), Ok(()));
        assert_eq!(check("scope", &["write"], false, None), Err(Reason::TokenClaimValueNotAllowed));
        assert_eq!(check("roles", &["a", "b"], false, None), Ok(()));
        assert_eq!(check("roles", &["a", "c"], false, None), Err(Reason::TokenClaimValueNotAllowed));
        assert_eq!(check("roles", &["a", "c"], true, None), Ok(()));
        assert_eq!(check("level", &["3"], false, None), Ok(()));
        assert_eq!(check("level", &[], false, None), Ok(()));
        assert_eq!(check("nothing", &[], false, None), Err(Reason::TokenClaimNotFound));
    }
}
