//! Texts with holes, filled.

use std::borrow::Cow;

use cel::Value;

use super::call::{Call, Fault};
use super::expression;
use crate::model::{Part, Reason, SecretKey, Template};

/// What stands for a secret where people read.
pub const MASK: &str = "***";

/// A template, filled: as it is meant, and as it may be shown.
#[derive(Debug)]
pub(super) struct Filled<'a> {
    pub(super) text: Cow<'a, str>,
    /// If that is not the text.
    masked: Option<String>,
    /// What is masked there.
    secrets: Vec<String>,
}

impl Filled<'_> {
    /// Whether a secret is in it.
    pub(super) fn is_secret(&self) -> bool {
        self.masked.is_some()
    }

    /// The secrets that are in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = String> + '_ {
        self.secrets.iter().filter(|secret| !secret.is_empty()).cloned()
    }

    /// With secrets masked.
    pub(super) fn shown(&self) -> &str {
        self.masked.as_deref().unwrap_or(&self.text)
    }
}

/// Fills it.
///
/// # Errors
/// An expression cannot be said, or a secret would be sent without TLS.
pub(super) fn fill<'a>(template: &'a Template, call: &Call<'_>) -> Result<Filled<'a>, Box<Fault>> {
    if template.is_secret() && !call.may_be_secret {
        return Err(Fault::secret_in_clear());
    }
    unsent(template, call)
}

/// Fills what is used and never sent, as bytes. Expressions see secrets in it, as they are in the request.
///
/// # Errors
/// An expression cannot be said; what it saw is not told.
pub(super) fn bytes(template: &Template, call: &mut Call<'_>) -> Result<Vec<u8>, Box<Fault>> {
    let mut bytes = Vec::new();
    for part in &template.0 {
        match part {
            Part::Text(literal) => bytes.extend_from_slice(literal.as_bytes()),
            Part::Named(value) => bytes.extend_from_slice(value.current().expose()),
            Part::Expression(expression) => {
                call.unmasked = true;
                let value = expression::value(expression, call);
                call.unmasked = false;
                let failed = |_| Fault::new(Reason::Expression, 500, format!("`{}` cannot be said", expression.source));
                match value.map_err(failed)? {
                    Value::Bytes(said) => bytes.extend_from_slice(&said),
                    other => bytes.extend_from_slice(expression::spelled(&other).as_bytes()),
                }
            }
        }
    }
    Ok(bytes)
}

/// A key that is used and never sent.
///
/// # Errors
/// It cannot be said, is written in another way, or is empty.
pub(super) fn key(key: &SecretKey, call: &mut Call<'_>) -> Result<Vec<u8>, Box<Fault>> {
    let key = key.encoding.decode(&bytes(&key.value, call)?).filter(|key| !key.is_empty());
    key.ok_or_else(|| Fault::new(Reason::Expression, 500, "the key is empty, or written in another way"))
}

/// Fills what is used and never sent.
///
/// # Errors
/// An expression cannot be said.
pub(super) fn unsent<'a>(template: &'a Template, call: &Call<'_>) -> Result<Filled<'a>, Box<Fault>> {
    if let Some(literal) = template.literal() {
        return Ok(Filled { text: Cow::Borrowed(literal), masked: None, secrets: Vec::new() });
    }
    let mut text = String::new();
    let (mut masked, mut secrets) = (template.is_secret().then(String::new), Vec::new());
    for part in &template.0 {
        let (added, shown) = match part {
            Part::Text(literal) => (Cow::Borrowed(&**literal), None),
            Part::Expression(expression) => {
                (Cow::Owned(expression::text(expression, call)?), expression.is_secret.then_some(MASK))
            }
            Part::Named(value) => {
                let current = value.current();
                let added = String::from_utf8_lossy(current.expose()).into_owned();
                (Cow::Owned(added), value.is_secret().then_some(MASK))
            }
        };
        text.push_str(&added);
        if let Some(masked) = &mut masked {
            masked.push_str(shown.unwrap_or(&added));
            secrets.extend(shown.map(|_| added.into_owned()));
        }
    }
    Ok(Filled { text: Cow::Owned(text), masked, secrets })
}
