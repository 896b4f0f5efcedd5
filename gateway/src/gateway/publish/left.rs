use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::{Action, Redirect, Scope};

/// Returns whether there is no cgroup with this id any more.
pub(in crate::gateway) type IsGone = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// Rows that a former process left in the kernel's table. Connections that it captured must not go directly because this process
/// does not know their addresses yet, or because a caller has cached one that DNS does not name now: each row stays for as long as an
/// address that DNS has dropped, or until the cgroup that it is for is gone.
pub(in crate::gateway) struct Left {
    rows: HashMap<IpAddr, Vec<Redirect>>,
    until: Instant,
    is_gone: IsGone,
    /// Whether listed hosts were not resolved yet.
    waits: bool,
}

impl Left {
    /// Takes the rows and how long they stay.
    pub(in crate::gateway) fn new(rows: Vec<Redirect>, stay: Duration, is_gone: IsGone) -> Self {
        let mut of: HashMap<IpAddr, Vec<Redirect>> = HashMap::new();
        // Where only owners have rows is found out anew.
        for row in rows.into_iter().filter(|row| row.action != Action::Scoped) {
            of.entry(row.destination.ip()).or_default().push(row);
        }
        Self { rows: of, until: Instant::now() + stay, is_gone, waits: true }
    }

    /// Returns the rows of an address.
    pub(super) fn at(&self, address: IpAddr) -> &[Redirect] {
        self.rows.get(&address).map_or(&[], |rows| rows)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.rows.keys().copied()
    }

    /// Returns how many rows for everybody there may be because of these.
    pub(super) fn everybodys(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    /// Whether rows do what the former process wanted.
    pub(super) fn waits(&self) -> bool {
        self.waits && !self.rows.is_empty()
    }

    /// Sends connections to Egret, which goes by the name in each. Which API a row was for counts until this process knows the addresses
    /// of its own APIs.
    pub(super) fn let_names_decide(&mut self) {
        self.waits = false;
        for row in self.rows.values_mut().flatten() {
            row.action = Action::Redirect;
        }
    }

    /// Forgets rows whose time is over; returns whether there were some.
    pub(super) fn expire(&mut self) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let before = self.everybodys();
        if Instant::now() >= self.until {
            self.rows.clear();
        }
        let is_gone = &self.is_gone;
        let stays = |row: &Redirect| match row.scope {
            Scope::Everybody => true,
            Scope::Owner(cgroup) => !is_gone(cgroup),
        };
        self.rows.values_mut().for_each(|rows| rows.retain(stays));
        self.rows.retain(|_, rows| !rows.is_empty());
        self.everybodys() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiId, FailMode, Generation};

    fn row(scope: Scope, action: Action) -> Redirect {
        let destination = "203.0.113.7:443".parse().unwrap();
        Redirect { scope, destination, action, fail: FailMode::Closed, api: ApiId(0), generation: Generation(1) }
    }

    #[test]
    fn rows_that_a_former_process_left_stay_for_their_time_or_until_their_cgroup_is_gone() {
        let rows = || {
            vec![
                row(Scope::Everybody, Action::Scoped),
                row(Scope::Owner(1), Action::Redirect),
                row(Scope::Owner(2), Action::Deny),
            ]
        };
        let mut left = Left::new(rows(), Duration::from_secs(60), Box::new(|cgroup| cgroup == 1));
        assert_eq!(left.everybodys(), 2, "the marker is made anew");
        assert!(left.waits());
        left.let_names_decide();
        assert!(!left.waits());
        assert!(left.expire());
        assert_eq!(left.at("203.0.113.7".parse().unwrap()), [row(Scope::Owner(2), Action::Redirect)]);
        assert!(!left.expire());
        let mut left = Left::new(rows(), Duration::ZERO, Box::new(|_| false));
        assert!(left.expire());
        assert_eq!(left.addresses().count(), 0);
    }
}
