//! Fills templates: the value of each hole is encoded for where it stands.

mod escape;

use std::borrow::Cow;

use cel::Value;

use super::call::Call;
use super::expression;
use super::fault::Fault;
use super::secrecy::MASK;
use crate::model::{Escaping, Part, Reason, Scanner, SecretKey, Template};

/// A filled template: its text, and what of it may be shown.
#[derive(Debug)]
pub(in crate::policy) struct Filled<'a> {
    pub(in crate::policy) text: Cow<'a, str>,
    /// The text with secrets masked, where it has any.
    masked: Option<String>,
    /// What is masked there, as it is and as it is encoded.
    secrets: Vec<String>,
}

impl Filled<'_> {
    /// Returns whether a secret is in it.
    pub(in crate::policy) fn is_secret(&self) -> bool {
        self.masked.is_some()
    }

    /// Returns the secrets that are in it.
    pub(in crate::policy) fn secrets(&self) -> impl Iterator<Item = String> + '_ {
        self.secrets.iter().filter(|secret| !secret.is_empty()).cloned()
    }

    /// Returns the text with secrets masked.
    pub(in crate::policy) fn shown(&self) -> &str {
        self.masked.as_deref().unwrap_or(&self.text)
    }
}

/// Fills a template.
///
/// # Errors
/// An expression failed, or a secret would be sent without TLS.
pub(in crate::policy) fn fill<'a>(template: &'a Template, call: &Call<'_>) -> Result<Filled<'a>, Box<Fault>> {
    if template.is_secret() && !call.message.secrecy.allowed {
        return Err(Fault::secret_in_clear());
    }
    unsent(template, call)
}

/// Fills a template that is used and never sent, as bytes. Its expressions see the secrets of the request.
///
/// # Errors
/// An expression failed; the message does not tell what it saw.
pub(in crate::policy) fn bytes(template: &Template, call: &mut Call<'_>) -> Result<Vec<u8>, Box<Fault>> {
    let mut bytes = Vec::new();
    for part in &template.0 {
        match part {
            Part::Text(literal) => bytes.extend_from_slice(literal.as_bytes()),
            Part::Named(value) => bytes.extend_from_slice(value.current().expose()),
            Part::Expression(expression, _) => {
                call.message.secrecy.unmasked = true;
                let value = expression::in_text(expression, call);
                call.message.secrecy.unmasked = false;
                let failed = |_| {
                    Fault::new(
                        Reason::Expression,
                        500,
                        format!("expression `{}` failed to evaluate", expression.source),
                    )
                };
                match value.map_err(failed)? {
                    Value::Bytes(said) => bytes.extend_from_slice(&said),
                    other => bytes.extend_from_slice(expression::spelled(&other).as_bytes()),
                }
            }
        }
    }
    Ok(bytes)
}

/// Returns a key that is used and never sent.
///
/// # Errors
/// An expression failed, or the key is empty or not encoded as the configuration says.
pub(in crate::policy) fn key(key: &SecretKey, call: &mut Call<'_>) -> Result<Vec<u8>, Box<Fault>> {
    let key = key.encoding.decode(&bytes(&key.value, call)?).filter(|key| !key.is_empty());
    key.ok_or_else(|| Fault::new(Reason::Expression, 500, "the key is empty, or not encoded as the configuration says"))
}

/// Fills a template that is used and never sent.
///
/// # Errors
/// An expression failed.
pub(in crate::policy) fn unsent<'a>(template: &'a Template, call: &Call<'_>) -> Result<Filled<'a>, Box<Fault>> {
    if let Some(literal) = template.literal() {
        return Ok(Filled { text: Cow::Borrowed(literal), masked: None, secrets: Vec::new() });
    }
    filled(template, call, None)
}

/// Fills a template that is put into a body at the place to which a scanner has come.
///
/// # Errors
/// An expression failed, no encoding is safe there, or a secret would be sent without TLS.
pub(in crate::policy) fn fill_at<'a>(
    template: &'a Template,
    place: Scanner,
    call: &Call<'_>,
) -> Result<Filled<'a>, Box<Fault>> {
    if template.is_secret() && !call.message.secrecy.allowed {
        return Err(Fault::secret_in_clear());
    }
    filled(template, call, Some(place))
}

fn filled<'a>(template: &'a Template, call: &Call<'_>, mut place: Option<Scanner>) -> Result<Filled<'a>, Box<Fault>> {
    let mut text = String::new();
    let (mut masked, mut secrets) = (template.is_secret().then(String::new), Vec::new());
    for part in &template.0 {
        let here = |place: &Option<Scanner>| match place.as_ref().map(Scanner::hole) {
            None => Ok(Escaping::None),
            Some(escaping) => escaping.map_err(|why| Fault::new(Reason::Expression, 500, why)),
        };
        let (added, shown) = match part {
            Part::Text(literal) => {
                if let Some(place) = &mut place {
                    place.read(literal.as_bytes());
                }
                (Cow::Borrowed(&**literal), None)
            }
            Part::Expression(expression, escaping) => {
                let escaping = if *escaping == Escaping::Later { here(&place)? } else { *escaping };
                let value = expression::in_text(expression, call)?;
                if expression.is_secret && escaping != Escaping::None {
                    secrets.push(expression::spelled(&value));
                }
                (Cow::Owned(escape::value(&value, escaping)), expression.is_secret.then_some(MASK))
            }
            Part::Named(value) => {
                let current = value.current();
                let added = String::from_utf8_lossy(current.expose()).into_owned();
                // Outside of quotes it may be a piece of JSON that its owner has written.
                let added = match here(&place)? {
                    escaping @ Escaping::JsonString => escape::text(&added, escaping),
                    _ => added,
                };
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
