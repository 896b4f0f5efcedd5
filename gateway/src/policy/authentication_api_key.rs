use std::iter;
use std::sync::Arc;

use super::call::{Call, Fault};
use super::{set_header, set_query_parameter, template};
use crate::model::{ApiKey, CredentialPlace};

/// Says who the third party is called by.
pub(super) fn run(key: &ApiKey, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let value = template::fill(&key.value, call)?;
    put(&key.place, &value.text, call)
}

/// Puts a credential where it belongs, in the place of any that is there. It is a secret from then on.
pub(super) fn put(place: &CredentialPlace, credential: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    match place {
        CredentialPlace::Header(name) => {
            call.note(|| format!("{name}: {}", template::MASK));
            let mut value = set_header::value(name, credential)?;
            value.set_sensitive(true);
            call.request.headers.insert(name, value);
            Ok(())
        }
        CredentialPlace::QueryParameter(name) => {
            call.note(|| format!("{name}={}", template::MASK));
            call.secret_parameters.push(Arc::clone(name));
            set_query_parameter::put(name, iter::once(credential), false, call)
        }
    }
}
