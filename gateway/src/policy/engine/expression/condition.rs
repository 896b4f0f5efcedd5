//! Conditions that need no interpreter. They see what expressions see: what is not there is empty, what is not known decides nothing, and
//! secrets are masked.

use std::borrow::Cow;

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};

use crate::model::{Condition, Field, HeadersOf, Known, Like, Order};
use crate::policy::engine::call::Call;
use crate::policy::engine::secrecy::MASK;

/// Returns whether a condition holds; nothing if that depends on a fact that is not known.
pub(in crate::policy) fn holds(condition: &Condition, call: &Call<'_>) -> Option<bool> {
    // As CEL has it: one part that decides is enough.
    let unless = |parts: &[Condition], decides: bool| {
        let mut found = Some(!decides);
        for part in parts {
            match holds(part, call) {
                Some(part) if part == decides => return Some(decides),
                Some(_) => {}
                None => found = None,
            }
        }
        found
    };
    Some(match condition {
        Condition::All(parts) => return unless(parts, false),
        Condition::Any(parts) => return unless(parts, true),
        Condition::Not(inner) => !holds(inner, call)?,
        Condition::Text(Field::Workload(fact), ..) if call.context.workload.fact(*fact) == Known::Unknown => {
            return None;
        }
        Condition::Text(field, like, text) => {
            let said = said(field, call);
            match like {
                Like::Is => *said == **text,
                Like::Begins => said.starts_with(&**text),
                Like::Ends => said.ends_with(&**text),
                Like::Contains => said.contains(&**text),
            }
        }
        Condition::Status(order, number) => {
            let status = call.message.response.as_ref().map_or(0, |response| i64::from(response.status.as_u16()));
            match order {
                Order::Equal => status == *number,
                Order::Greater => status > *number,
                Order::GreaterOrEqual => status >= *number,
                Order::Less => status < *number,
                Order::LessOrEqual => status <= *number,
            }
        }
        Condition::Has(whose, name) => headers(*whose, call).is_some_and(|headers| headers.contains_key(name)),
    })
}

fn said<'a>(field: &Field, call: &'a Call<'_>) -> Cow<'a, str> {
    let text: &str = match field {
        Field::ApiName => &call.context.api.name,
        Field::Header(whose, name) => {
            let headers = headers(*whose, call);
            return headers.and_then(|headers| one(headers, name, call.message.secrecy.unmasked)).unwrap_or_default();
        }
        Field::Host => call.context.host.as_str(),
        Field::Method => call.message.request.method.as_str(),
        Field::OperationName => call.context.operation.map_or("", |operation| &operation.name),
        Field::Path => return call.path(),
        Field::ProductName => call.context.product,
        Field::Scheme => call.context.scheme,
        Field::SubscriptionName => call.context.subscription,
        Field::Workload(fact) => call.context.workload.text(*fact),
    };
    Cow::Borrowed(text)
}

fn headers<'a>(whose: HeadersOf, call: &'a Call<'_>) -> Option<&'a HeaderMap> {
    match whose {
        HeadersOf::Request => Some(&call.message.request.headers),
        HeadersOf::Response => call.message.response.as_ref().map(|response| &response.headers),
    }
}

/// Returns the value of a header field; several fields of one name are joined with commas (RFC 9110 §5.3).
pub(in crate::policy) fn one<'a>(
    headers: &'a HeaderMap,
    name: impl AsHeaderName,
    unmasked: bool,
) -> Option<Cow<'a, str>> {
    let shown = |value: &'a HeaderValue| match value.is_sensitive() && !unmasked {
        true => Cow::Borrowed(MASK),
        false => String::from_utf8_lossy(value.as_bytes()),
    };
    headers.get_all(name).iter().map(shown).reduce(|all, value| all + ", " + value)
}
