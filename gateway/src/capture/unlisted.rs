//! What the hooks know of destinations that no rule captures: what happens to them, by the caller's cgroup, and the exceptions.

use std::collections::{HashMap as Table, HashSet};
use std::net::IpAddr;
use std::sync::Mutex;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData};
use egret_kernel::{
    Address, CgroupClass, EXCEPTION_HEAD, Exception, FAIL_CLOSED, FAIL_OPEN, MAX_CLASSES, Port, SET_OF_ALL,
    UNLISTED_ALLOW, UNLISTED_DENY, UNLISTED_REPORT, UnlistedClass, UnlistedSettings, map,
};

use super::maps::{lock, take};
use super::{Capture, Error, map_error};
use crate::model::{Classes, Destinations, FailMode, Generation, Unlisted, UnlistedAction};

/// The maps about unlisted destinations.
pub(super) struct UnlistedMaps {
    settings: Mutex<Array<MapData, UnlistedSettings>>,
    classes: Mutex<HashMap<MapData, u64, CgroupClass>>,
    exceptions: Mutex<LpmTrie<MapData, Exception, u32>>,
}

/// An exception as the kernel has it: the number of bits that count, and the bits.
type Row = (u32, Exception);

impl UnlistedMaps {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            settings: Mutex::new(take(object, map::UNLISTED)?),
            classes: Mutex::new(take(object, map::CLASSES)?),
            exceptions: Mutex::new(take(object, map::EXCEPTIONS)?),
        })
    }

    /// Makes the sets that `is_concerned` have these rows and no others.
    fn except(&self, wanted: &HashSet<Row>, is_concerned: impl Fn(u32) -> bool) -> Result<(), Error> {
        let mut map = lock(&self.exceptions);
        let failed = map_error(map::EXCEPTIONS);
        let there: HashSet<Row> = map
            .keys()
            .filter_map(Result::ok)
            .map(|key| (key.prefix_len(), key.data()))
            .filter(|(_, row)| is_concerned(row.set))
            .collect();
        for (bits, row) in wanted.difference(&there) {
            map.insert(&Key::new(*bits, *row), 1, 0).map_err(&failed)?;
        }
        for (bits, row) in there.difference(wanted) {
            map.remove(&Key::new(*bits, *row)).map_err(&failed)?;
        }
        Ok(())
    }

    fn set(&self, settings: UnlistedSettings) -> Result<(), Error> {
        lock(&self.settings).set(0, settings, 0).map_err(map_error(map::UNLISTED))
    }

    /// Makes the table of cgroups have these and no others.
    fn classify(&self, wanted: &Table<u64, CgroupClass>) -> Result<(), Error> {
        let mut map = lock(&self.classes);
        let failed = map_error(map::CLASSES);
        let there: Table<u64, CgroupClass> = map.iter().collect::<Result<_, _>>().map_err(&failed)?;
        for (cgroup, class) in wanted.iter().filter(|(cgroup, class)| there.get(*cgroup) != Some(class)) {
            map.insert(cgroup, class, 0).map_err(&failed)?;
        }
        for cgroup in there.keys().filter(|cgroup| !wanted.contains_key(cgroup)) {
            map.remove(cgroup).map_err(&failed)?;
        }
        Ok(())
    }
}

impl Capture {
    /// The most cgroups that [`Capture::publish_unlisted`] takes.
    pub const MOST_CLASSES: usize = MAX_CLASSES as usize;

    /// Tells the hooks what happens to unlisted destinations. At no moment does an old action meet new exceptions, or the reverse.
    pub fn publish_unlisted(
        &self,
        generation: Generation,
        unlisted: &Unlisted,
        classes: &Table<u64, Classes>,
    ) -> Result<(), Error> {
        let maps = &self.maps.unlisted;
        let sets = Sets { generation };
        let rows: HashSet<Row> =
            (0..).zip(unlisted.classes()).flat_map(|(index, class)| rows(sets.set(index), &class.except)).collect();
        // The sets of this generation beside those of the one before.
        maps.except(&rows, |set| sets.has(set))?;
        let settings = UnlistedSettings {
            is_on: u32::from(!unlisted.is_off()),
            fail: match unlisted.fail {
                FailMode::Closed => FAIL_CLOSED,
                FailMode::Open => FAIL_OPEN,
            }
            .into(),
            otherwise: class(&sets, unlisted, 0),
        };
        self.classify_unlisted(generation, unlisted, classes)?;
        maps.set(settings)?;
        maps.except(&rows, |set| set != SET_OF_ALL)
    }

    /// Tells the hooks the classes of cgroups, and of no others.
    pub fn classify_unlisted(
        &self,
        generation: Generation,
        unlisted: &Unlisted,
        classes: &Table<u64, Classes>,
    ) -> Result<(), Error> {
        let sets = Sets { generation };
        let class = |index| class(&sets, unlisted, index);
        let classes = classes
            .iter()
            .map(|(cgroup, Classes { own, below })| (*cgroup, CgroupClass { own: class(*own), below: class(*below) }));
        self.maps.unlisted.classify(&classes.collect())
    }

    /// Tells the hooks which destinations every caller reaches: those of the node, and its DNS servers.
    pub fn publish_reachable(&self, destinations: &[Destinations]) -> Result<(), Error> {
        let rows = rows(SET_OF_ALL, destinations).collect();
        self.maps.unlisted.except(&rows, |set| set == SET_OF_ALL)
    }
}

fn class(sets: &Sets, unlisted: &Unlisted, index: usize) -> UnlistedClass {
    UnlistedClass {
        action: unlisted.classes().nth(index).map_or(UNLISTED_ALLOW, |class| code(class.action)),
        set: sets.set(u32::try_from(index).unwrap_or(u32::MAX)),
    }
}

/// The numbers of the sets of exceptions, different for each generation.
struct Sets {
    generation: Generation,
}

impl Sets {
    /// Rules that a configuration can have, and one.
    const EACH: u32 = 256;

    /// Returns the number of the set of a class.
    fn set(&self, index: u32) -> u32 {
        // Never that of all: the last set of a generation belongs to no class.
        self.generation.0.wrapping_mul(Self::EACH).wrapping_add(index.min(Self::EACH - 2))
    }

    fn has(&self, set: u32) -> bool {
        set != SET_OF_ALL && set / Self::EACH == self.set(0) / Self::EACH
    }
}

fn code(action: UnlistedAction) -> u32 {
    match action {
        UnlistedAction::Allow => UNLISTED_ALLOW,
        UnlistedAction::Report => UNLISTED_REPORT,
        UnlistedAction::Deny => UNLISTED_DENY,
    }
}

fn rows(set: u32, destinations: &[Destinations]) -> impl Iterator<Item = Row> {
    destinations.iter().map(move |Destinations { net, port }| {
        let bits = match net.addr() {
            // IPv4 is `::ffff:a.b.c.d` there.
            IpAddr::V4(_) => 96 + u32::from(net.prefix_len()),
            IpAddr::V6(_) => u32::from(net.prefix_len()),
        };
        let port = Port::from(port.unwrap_or(0));
        (EXCEPTION_HEAD + bits, Exception { set, port, pad: [0; 2], address: Address::from(net.network()) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_one_generation_after_the_other_are_different() {
        let [old, new] = [1, 2].map(|number| Sets { generation: Generation(number) });
        assert!(old.has(old.set(0)) && old.has(old.set(254)) && !old.has(new.set(0)) && !new.has(old.set(254)));
        let last = Sets { generation: Generation(u32::MAX) };
        assert!((0..300).all(|index| last.set(index) != SET_OF_ALL));
    }

    #[test]
    fn prefixes_of_ipv4_count_their_bits_in_the_mapped_address() {
        let row = |net: &str, port| {
            let destinations = [Destinations { net: net.parse().unwrap(), port }];
            rows(7, &destinations).next().unwrap()
        };
        let (bits, exception) = row("10.0.0.0/8", Some(53));
        assert_eq!((bits, u16::from(exception.port), exception.set), (64 + 96 + 8, 53, 7));
        assert_eq!(exception.address, Address::from("10.0.0.0".parse::<IpAddr>().unwrap()));
        assert_eq!(row("2001:db8::/32", None).0, 64 + 32);
        // All of IPv4 is not all of IPv6.
        assert_eq!((row("0.0.0.0/0", None).0, row("::/0", None).0), (64 + 96, 64));
    }
}
