use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::mask;
use super::template::{self, Filled};
use crate::model::{Exists, Reason, SetHeader};

/// Sets, adds or removes a field of the head that the section is about.
pub(super) fn run(set: &SetHeader, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let name = &set.name;
    call.decides(name);
    if let (Exists::Override, Some([value])) = (set.exists, set.fixed.as_deref()) {
        call.note(|| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        if let Some(headers) = call.headers() {
            headers.insert(name, value.clone());
        }
        return Ok(());
    }
    let there = call.headers().is_some_and(|headers| headers.contains_key(name));
    if set.exists == Exists::Skip && there {
        call.note(|| format!("{name} is there"));
        return Ok(());
    }
    let filled = set.values.iter().map(|value| template::fill(value, call)).collect::<Result<Vec<_>, _>>()?;
    for value in &filled {
        call.note(|| format!("{name}: {}", value.shown()));
    }
    for value in filled.iter().filter(|value| value.is_secret()) {
        value.secrets().for_each(|secret| mask::add(call, secret));
    }
    let value = |filled: &Filled<'_>| {
        let mut value = self::value(name, &filled.text)?;
        value.set_sensitive(filled.is_secret());
        Ok::<_, Box<Fault>>(value)
    };
    let values = filled.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let Some(headers) = call.headers() else { return Ok(()) };
    if set.exists != Exists::Append {
        headers.remove(name);
    }
    for value in values {
        headers.append(name, value);
    }
    if set.exists == Exists::Delete {
        call.note(|| format!("{name} removed"));
    }
    Ok(())
}

/// A text as a field's value.
pub(super) fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, Box<Fault>> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| bad(name.as_str()))
}

/// What it is, is not said: it may be a secret.
fn bad(name: &str) -> Box<Fault> {
    Fault::new(
        Reason::Expression,
        500,
        format!("what {name} would say is no header: a line break, or a control character"),
    )
}
