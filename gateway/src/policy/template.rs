//! Texts with holes, filled.

use std::borrow::Cow;

use super::call::{Call, Fault};
use super::expression;
use crate::model::{Part, Template};

/// What stands for a secret where people read.
pub const MASK: &str = "***";

/// A template, filled: as it is meant, and as it may be shown.
#[derive(Debug)]
pub(super) struct Filled<'a> {
    pub(super) text: Cow<'a, str>,
    /// If that is not the text.
    masked: Option<String>,
}

impl Filled<'_> {
    /// Whether a secret is in it.
    pub(super) fn is_secret(&self) -> bool {
        self.masked.is_some()
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
    if let Some(literal) = template.literal() {
        return Ok(Filled { text: Cow::Borrowed(literal), masked: None });
    }
    let mut text = String::new();
    let mut masked = template.is_secret().then(String::new);
    if masked.is_some() && !call.may_be_secret {
        return Err(Fault::secret_in_clear());
    }
    for part in &template.0 {
        let (added, shown) = match part {
            Part::Text(literal) => (Cow::Borrowed(&**literal), None),
            Part::Expression(expression) => (Cow::Owned(expression::text(expression, call)?), None),
            Part::Named(value) => {
                let current = value.current();
                let added = String::from_utf8_lossy(current.expose()).into_owned();
                (Cow::Owned(added), value.is_secret().then_some(MASK))
            }
        };
        text.push_str(&added);
        if let Some(masked) = &mut masked {
            masked.push_str(shown.unwrap_or(&added));
        }
    }
    Ok(Filled { text: Cow::Owned(text), masked })
}
