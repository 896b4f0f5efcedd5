//! The kernel's table of captured destinations: rows for everybody, and rows for the callers of one owner. Each row is changed by
//! itself: one that cannot be changed keeps no other out.

use std::collections::HashMap as Rows;
use std::net::SocketAddr;
use std::sync::Mutex;

use aya::Ebpf;
use aya::maps::{HashMap, MapData, PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;
use egret_kernel::{ACTION_SCOPED, CaptureKey, CaptureRule, EVERYBODY, Hits, RowKey, map};

use super::maps::{age, lock, take};
use super::rows::{everybodys, is_own, listener_rows, redirect, row, row_key};
use super::{Error, chain, map_error};
use crate::model::{HookCounters, Redirect, Scope};

/// The maps of the table, behind one lock.
pub(super) struct Table(Mutex<Maps>);

struct Maps {
    everybody: HashMap<MapData, CaptureKey, CaptureRule>,
    owners: HashMap<MapData, RowKey, CaptureRule>,
    hits: PerCpuHashMap<MapData, RowKey, Hits>,
}

impl Table {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self(Mutex::new(Maps {
            everybody: take(object, map::REDIRECTS)?,
            owners: take(object, map::SCOPED)?,
            hits: take(object, map::HITS)?,
        })))
    }

    /// Makes the table hold these rows and no others.
    pub(super) fn publish(&self, redirects: &[Redirect]) -> Result<(), Error> {
        let wanted: Rows<RowKey, CaptureRule> = redirects.iter().map(row).collect();
        let mut maps = lock(&self.0);
        let there = maps.rows()?;
        let gone: Vec<_> = there.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        let changed: Vec<_> = wanted.into_iter().filter(|(key, rule)| there.get(key) != Some(rule)).collect();
        maps.change(changed, &gone)
    }

    /// Writes and removes some rows.
    pub(super) fn change(&self, redirects: &[Redirect], gone: &[(Scope, SocketAddr)]) -> Result<(), Error> {
        let gone: Vec<_> = gone.iter().map(|(scope, destination)| row_key(*scope, *destination)).collect();
        lock(&self.0).change(redirects.iter().map(row).collect(), &gone)
    }

    /// Returns the rows, but for those of Egret's own making, with how often each matched.
    pub(super) fn rows(&self) -> Result<Vec<(Redirect, HookCounters)>, Error> {
        let maps = lock(&self.0);
        let counters = |key| maps.hits.get(key, 0).map_or_else(|_| HookCounters::default(), |values| total(&values));
        Ok(maps.rows()?.iter().map(|(key, rule)| (redirect(key, rule), counters(key))).collect())
    }

    /// Returns the row of a destination for these callers, if there is one.
    pub(super) fn row(&self, scope: Scope, destination: SocketAddr) -> Option<(Redirect, HookCounters)> {
        let maps = lock(&self.0);
        let key = row_key(scope, destination);
        let rule = match scope {
            Scope::Everybody => maps.everybody.get(&key.destination, 0),
            Scope::Owner(_) => maps.owners.get(&key, 0),
        };
        let rule = rule.ok().filter(|rule| !is_own(rule))?;
        Some((
            redirect(&key, &rule),
            maps.hits.get(&key, 0).map_or_else(|_| HookCounters::default(), |values| total(&values)),
        ))
    }

    /// Replaces the rows of a former process's listeners with those of ours.
    pub(super) fn refuse_direct_connections(&self, port_v4: u16, port_v6: u16) -> Result<(), Error> {
        let wanted: Rows<_, _> = listener_rows(port_v4, port_v6).into_iter().collect();
        let rules = &mut lock(&self.0).everybody;
        let there = rules.iter().collect::<Result<Vec<_>, _>>().map_err(map_error(map::REDIRECTS))?;
        for (key, rule) in &wanted {
            rules.insert(key, rule, 0).map_err(map_error(map::REDIRECTS))?;
        }
        for (key, _) in there.iter().filter(|(key, rule)| is_own(rule) && !wanted.contains_key(key)) {
            rules.remove(key).map_err(map_error(map::REDIRECTS))?;
        }
        Ok(())
    }

    /// Writes one row for the proof of the hooks, beside the published table.
    pub(super) fn insert_rule(&self, redirect: &Redirect) -> Result<(), Error> {
        let (key, rule) = row(redirect);
        lock(&self.0).everybody.insert(key.destination, rule, 0).map_err(map_error(map::REDIRECTS))
    }

    /// Removes the proof's row.
    pub(super) fn remove_rule(&self, redirect: &Redirect) -> Result<(), Error> {
        lock(&self.0).everybody.remove(&row(redirect).0.destination).map_err(map_error(map::REDIRECTS))
    }
}

impl Maps {
    fn rows(&self) -> Result<Rows<RowKey, CaptureRule>, Error> {
        let everybody = self.everybody.iter().filter(|row| !row.as_ref().is_ok_and(|(_, rule)| is_own(rule)));
        let everybody = everybody.map(|row| row.map(|(key, rule)| (everybodys(key), rule)));
        let mut rows = everybody.collect::<Result<Rows<_, _>, _>>().map_err(map_error(map::REDIRECTS))?;
        for row in self.owners.iter() {
            let (key, rule) = row.map_err(map_error(map::SCOPED))?;
            rows.insert(key, rule);
        }
        Ok(rows)
    }

    /// What makes room for others comes first. A destination that changes between everybody and some owners is captured all the time
    /// for those who had it before and have it after.
    fn change(&mut self, changed: Vec<(RowKey, CaptureRule)>, gone: &[RowKey]) -> Result<(), Error> {
        let is_everybodys = |key: &RowKey| key.scope == EVERYBODY;
        let mut failed = Failed::default();
        for key in gone.iter().filter(|key| is_everybodys(key)) {
            failed.note(self.everybody.remove(&key.destination).map_err(map_error(map::REDIRECTS)));
        }
        let (everybodys, owners): (Vec<_>, Vec<_>) = changed.into_iter().partition(|(key, _)| is_everybodys(key));
        for (key, rule) in owners.iter().chain(&everybodys) {
            if rule.action != ACTION_SCOPED && self.hits.get(key, 0).is_err() {
                failed.note(none_yet().and_then(|none| self.hits.insert(key, none, 0).map_err(map_error(map::HITS))));
            }
            failed.note(match is_everybodys(key) {
                true => self.everybody.insert(key.destination, rule, 0).map_err(map_error(map::REDIRECTS)),
                false => self.owners.insert(key, rule, 0).map_err(map_error(map::SCOPED)),
            });
        }
        for key in gone.iter().filter(|key| !is_everybodys(key)) {
            failed.note(self.owners.remove(key).map_err(map_error(map::SCOPED)));
        }
        for key in gone {
            // The count of a row that is gone; a marker of owners' rows has none.
            let _ = self.hits.remove(key);
        }
        failed.into_result()
    }
}

/// Rows that could not be changed.
#[derive(Default)]
struct Failed {
    rows: usize,
    first: Option<Error>,
}

impl Failed {
    fn note(&mut self, changed: Result<(), Error>) {
        if let Err(error) = changed {
            self.rows += 1;
            self.first.get_or_insert(error);
        }
    }

    fn into_result(self) -> Result<(), Error> {
        match self.first {
            None => Ok(()),
            Some(first) => Err(Error::Rows { failed: self.rows, cause: chain(&first) }),
        }
    }
}

fn none_yet() -> Result<PerCpuValues<Hits>, Error> {
    let failed = |cause: String| Error::Map { map: map::HITS, cause };
    let cpus = nr_cpus().map_err(|(path, error)| failed(format!("{path}: {error}")))?;
    PerCpuValues::try_from(vec![Hits::default(); cpus]).map_err(|error| failed(error.to_string()))
}

fn total(values: &PerCpuValues<Hits>) -> HookCounters {
    HookCounters {
        hits: values.iter().map(|hits| hits.count).sum(),
        last: values.iter().map(|hits| hits.last).max().filter(|last| *last > 0).map(age),
    }
}
