use super::call::{Call, Fault};
use super::template;
use crate::model::{CheckHeader, Reason};

/// Refuses a request without the header, or whose header says something else.
pub(super) fn run(check: &CheckHeader, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let refuse = |reason, what: &str| {
        let message = check.failed.message.as_deref().map_or_else(|| format!("{} {what}", check.name), str::to_owned);
        Fault::new(reason, check.failed.status, message)
    };
    let found: Vec<_> =
        call.request.headers.get_all(&*check.name).iter().map(|value| value.as_bytes().to_vec()).collect();
    if found.is_empty() {
        return Err(refuse(Reason::HeaderNotFound, "is missing"));
    }
    if check.values.is_empty() {
        return Ok(());
    }
    for value in &check.values {
        let value = template::fill(value, call)?;
        let same = |found: &Vec<u8>| {
            let value = value.text.as_bytes();
            if check.ignore_case { found.eq_ignore_ascii_case(value) } else { found == value }
        };
        if found.iter().any(same) {
            return Ok(());
        }
    }
    Err(refuse(Reason::HeaderValueNotAllowed, "has a value that is not allowed"))
}
