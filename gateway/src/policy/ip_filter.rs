use super::call::{Call, Fault};
use crate::model::{IpFilter, Reason};

/// Refuses calls by the address that the caller connected to.
pub(super) fn run(filter: &IpFilter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let Some(original) = call.original_dst else {
        let message = "the address that the caller connects to is not known: egret explain takes it as --address";
        return Err(refused(message.to_owned()));
    };
    let address = original.0.ip().to_canonical();
    let matched = filter.addresses.iter().any(|known| known.contains(&address));
    call.note(|| format!("{address} {}", if matched { "matches" } else { "does not match" }));
    if matched == filter.allow {
        return Ok(());
    }
    Err(refused(format!("{} may not be called at {address}", call.api.name)))
}

fn refused(message: String) -> Box<Fault> {
    Fault::new(Reason::AddressNotAllowed, 403, message)
}
