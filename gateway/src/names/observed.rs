use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::model::Host;

/// Owners whose DNS responses are remembered.
const OWNERS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Addresses that are remembered for each owner.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The names of hosts that no API lists, from callers' DNS responses. They are shown to people and decide nothing: an owner chooses
/// what its own DNS servers say. The size is bounded: each owner evicts its own oldest addresses.
pub(super) struct Observed(Mutex<LruCache<Arc<str>, LruCache<IpAddr, Host>>>);

impl Observed {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(OWNERS)))
    }

    pub(super) fn note(&self, owner: &Arc<str>, host: &Host, addresses: &[IpAddr]) {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = owners.get_or_insert_mut(Arc::clone(owner), || LruCache::new(ADDRESSES));
        for address in addresses {
            own.put(address.to_canonical(), host.clone());
        }
    }

    /// Returns the name for which an owner got this address last.
    pub(super) fn name(&self, owner: &str, address: IpAddr) -> Option<Host> {
        let owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owners.peek(owner)?.peek(&address).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_names_addresses_for_itself_and_evicts_its_own() {
        let (observed, host) = (Observed::new(), Host::parse("host.example").unwrap());
        let [one, other] = ["one", "other"].map(Arc::<str>::from);
        let address: IpAddr = [203, 0, 113, 7].into();
        observed.note(&one, &host, &["::ffff:203.0.113.7".parse().unwrap()]);
        assert_eq!(observed.name("one", address), Some(host.clone()));
        assert_eq!(observed.name("other", address), None);
        for number in 0..2000_u16 {
            observed.note(&other, &host, &[[10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]].into()]);
        }
        assert_eq!(observed.name("one", address), Some(host));
        assert_eq!(observed.name("other", [10, 0, 0, 0].into()), None);
    }
}
