use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::call::{Call, Fault};
use super::{mask, template};
use crate::model::{Basic, Reason};

/// RFC 7617.
pub(super) fn run(basic: &Basic, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let (username, password) = (template::fill(&basic.username, call)?, template::fill(&basic.password, call)?);
    // RFC 7617 §2: what follows the first colon is the password.
    if username.text.contains(':') {
        return Err(Fault::new(Reason::Expression, 500, "the name of the user has a colon in it"));
    }
    call.note(|| format!("{}:***", username.shown()));
    password.secrets().for_each(|secret| mask::add(call, secret));
    let encoded = BASE64_STANDARD.encode(format!("{}:{}", username.text, password.text));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|_| Fault::new(Reason::Expression, 500, "these credentials are no header"))?;
    value.set_sensitive(true);
    call.request.headers.insert(AUTHORIZATION, value);
    Ok(())
}
