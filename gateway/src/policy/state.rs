//! What people see of what policies remember, and what outlives the process.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use super::engine::State;
use super::engine::counters::Seen;
use super::engine::subscription::{Subscriptions, Used};
use super::engine::uses::{CacheUse, LimitUse};
use super::kinds::authentication_oauth2::rotated::{RefreshRow, Rotated};
use super::kinds::cache::Caches;
use super::kinds::forward_request::backends::{BackendRow, Backends};
use super::kinds::limit_concurrency::Concurrency;
use super::kinds::llm_token_limit::Spent;
use super::kinds::quota::{QuotaRow, Quotas};
use super::kinds::rate_limit::Rates;
use crate::model::Service;

impl State {
    /// Returns a state with a copy of what was counted, in which nothing is cached: what happens in it stays in it.
    pub fn counts(&self, now: SystemTime) -> Self {
        let counts = Self::default().with(self.of::<Rates>().copied()).with(self.of::<Spent>().copied());
        counts.restore_quotas(self.quotas(now), now);
        counts
    }

    /// Returns at most this many of the counts of quotas that have changed since they were returned.
    pub fn changed_quotas(&self, most: usize) -> Vec<QuotaRow> {
        self.of::<Quotas>().changed(most)
    }

    /// Returns all counts of quotas whose period is not over.
    pub fn quotas(&self, now: SystemTime) -> Vec<QuotaRow> {
        self.of::<Quotas>().rows(now)
    }

    /// Restores these counts, of which a later one replaces an earlier one.
    pub fn restore_quotas(&self, rows: Vec<QuotaRow>, now: SystemTime) {
        self.of::<Quotas>().restore(rows, now);
    }

    /// Returns how often a subscription was used, if it was.
    pub fn subscription(&self, name: &str) -> Option<Used> {
        self.of::<Subscriptions>().used(name)
    }

    /// Returns how the servers of a backend are.
    pub fn backend(&self, service: &Service, at: Duration) -> Vec<BackendRow> {
        self.of::<Backends>().rows(service, at)
    }

    /// Records the result of a server's health check: why it is not well, if it is not.
    pub fn checked(&self, service: &Service, member: usize, ill: Option<String>) {
        self.of::<Backends>().checked(service, member, ill);
    }

    /// Returns the refresh tokens that servers have given, if they have changed since this was asked.
    pub fn changed_refresh_tokens(&self) -> Option<Vec<RefreshRow>> {
        self.of::<Rotated>().changed()
    }

    /// Restores these refresh tokens.
    pub fn restore_refresh_tokens(&self, rows: Vec<RefreshRow>) {
        self.of::<Rotated>().restore(rows);
    }

    /// Returns at most so many of the limits that are used, the most used first, and how many there are in all.
    pub fn limits(&self, now: SystemTime, at: Duration, most: usize) -> (Vec<LimitUse>, usize) {
        let mut uses = [
            self.of::<Rates>().uses(at),
            self.of::<Quotas>().uses(now),
            self.of::<Concurrency>().uses(),
            self.of::<Seen>().uses(at),
        ]
        .concat();
        uses.sort_by_cached_key(|one| {
            (Reverse((one.share(), one.used)), one.kind, one.scope.clone(), one.id.clone(), one.key.clone())
        });
        first(uses, most)
    }

    /// Returns at most so many of the responses and values that are cached, the most used first, and how many there are in all.
    pub fn caches(&self, at: Duration, most: usize) -> (Vec<CacheUse>, usize) {
        let mut uses = self.of::<Caches>().uses(at);
        uses.sort_by_cached_key(|one| (Reverse((one.hits, one.bytes)), one.api.clone(), one.key.clone()));
        first(uses, most)
    }
}

fn first<T>(mut uses: Vec<T>, most: usize) -> (Vec<T>, usize) {
    let all = uses.len();
    uses.truncate(most);
    (uses, all)
}
