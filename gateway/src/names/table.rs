use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{Action, Api, ApiId, FailMode, Listing, Mode, Model, Redirect, Scope, Strangers};

/// The rows of the kernel's table, one per address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The rows of the kernel's table.
    pub rows: Vec<Redirect>,
    /// The APIs that have more rows than their share of the table, and how many of them are left out.
    pub left_out: Vec<(Arc<str>, usize)>,
}

/// Returns the rows that the model wants, at most so many.
///
/// Several APIs may share an address (a CDN): if they want the same, they get it; otherwise the connection is redirected and its
/// name decides. It fails closed if one of them does. If there are too many rows, APIs with few rows get all of theirs, and the
/// others get equal shares: no API can crowd out another.
pub fn table(model: &Model, most: usize, addresses: impl Fn(&Listing) -> Vec<IpAddr>) -> Table {
    let wanted: Vec<_> = model.apis.iter().map(|api| destinations(api, &addresses)).collect();
    let share = share(wanted.iter().map(Vec::len), most);
    let mut rows: BTreeMap<SocketAddr, Redirect> = BTreeMap::new();
    let mut left_out = Vec::new();
    for ((index, api), wanted) in (0..).zip(&model.apis).zip(&wanted) {
        if wanted.len() > share {
            left_out.push((Arc::clone(&api.name), wanted.len() - share));
        }
        for destination in wanted.iter().take(share) {
            add(&mut rows, row(model, ApiId(index), api, *destination));
        }
    }
    Table { rows: rows.into_values().collect(), left_out }
}

/// The APIs of each listing.
#[derive(Clone, Debug)]
pub struct Listings {
    apis: HashMap<Listing, Vec<ApiId>>,
    /// The ports that some API captures.
    pub ports: Vec<u16>,
}

impl Listings {
    /// Returns those of a model.
    pub fn of(model: &Model) -> Self {
        let mut apis: HashMap<Listing, Vec<ApiId>> = HashMap::new();
        for (id, api) in (0..).map(ApiId).zip(&model.apis) {
            for listing in api.listings() {
                apis.entry(listing).or_default().push(id);
            }
        }
        let mut ports: Vec<_> = model.apis.iter().flat_map(|api| api.ports.iter().copied()).collect();
        ports.sort_unstable();
        ports.dedup();
        Self { apis, ports }
    }
}

/// Returns the rows of one address, which these listings have: the same as [`table`] has for it.
pub fn rows_at(model: &Model, listings: &Listings, address: IpAddr, there: &[Listing]) -> Vec<Redirect> {
    let mut ids: Vec<_> = there.iter().flat_map(|listing| listings.apis.get(listing)).flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut rows: BTreeMap<SocketAddr, Redirect> = BTreeMap::new();
    for (id, api) in ids.into_iter().filter_map(|id| Some((id, model.api(id)?))) {
        for port in &api.ports {
            add(&mut rows, row(model, id, api, SocketAddr::new(address, *port)));
        }
    }
    rows.into_values().collect()
}

fn add(rows: &mut BTreeMap<SocketAddr, Redirect>, row: Redirect) {
    rows.entry(row.destination).and_modify(|there| *there = shared(there, &row)).or_insert(row);
}

/// Returns an API's addresses with its ports: the newest addresses of all of its hosts first.
fn destinations(api: &Api, addresses: impl Fn(&Listing) -> Vec<IpAddr>) -> Vec<SocketAddr> {
    let of_hosts: Vec<_> = api.listings().map(|listing| addresses(&listing)).collect();
    let longest = of_hosts.iter().map(Vec::len).max().unwrap_or(0);
    let mut there = std::collections::HashSet::new();
    (0..longest)
        .flat_map(|age| of_hosts.iter().filter_map(move |addresses| addresses.get(age)))
        .flat_map(|address| api.ports.iter().map(|port| SocketAddr::new(address.to_canonical(), *port)))
        .filter(|destination| there.insert(*destination))
        .collect()
}

/// Returns the largest share with which all wishes, none granted beyond it, fit.
pub(super) fn share(wishes: impl Iterator<Item = usize>, most: usize) -> usize {
    let mut wishes: Vec<_> = wishes.collect();
    wishes.sort_unstable();
    let (mut rest, mut left) = (most, wishes.len());
    for wish in wishes {
        if wish > rest / left {
            return rest / left;
        }
        rest -= wish;
        left -= 1;
    }
    most
}

fn row(model: &Model, id: ApiId, api: &Api, destination: SocketAddr) -> Redirect {
    Redirect {
        scope: Scope::Everybody,
        destination,
        action: action(model, api, destination.ip()),
        fail: api.fail,
        api: id,
        generation: model.generation,
    }
}

/// Returns the row of an address that two APIs share. What is denied stays denied while Egret is not there to see names.
fn shared(one: &Redirect, other: &Redirect) -> Redirect {
    let is_closed = |row: &Redirect| row.fail == FailMode::Closed || row.action == Action::Deny;
    Redirect {
        action: if one.action == other.action { one.action } else { Action::Redirect },
        fail: if is_closed(one) || is_closed(other) { FailMode::Closed } else { FailMode::Open },
        ..one.clone()
    }
}

fn action(model: &Model, api: &Api, destination: IpAddr) -> Action {
    match api.mode {
        // The kernel does not know who may use the API.
        Mode::Deny | Mode::Bind if api.workloads.is_some() => Action::Redirect,
        // Names decide who is a stranger.
        Mode::Deny if api.strangers == Strangers::Carry => Action::Redirect,
        Mode::Deny => Action::Deny,
        Mode::Intercept | Mode::Passthrough => Action::Redirect,
        // Without an address of the family the connection could only leave from a wrong one.
        Mode::Bind => model.egress_of(api).source_for(destination).map_or(Action::Deny, Action::Bind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Audience, Generation, Others, WorkloadFilter, WorkloadMatch};
    use crate::names::testing::{api, model_of as model};

    fn rows(apis: Vec<Api>, address: &str) -> Vec<Redirect> {
        table(&model(apis), 100, |_| vec![address.parse().unwrap()]).rows
    }

    #[test]
    fn an_address_of_one_api_is_as_it_wants() {
        let rows = rows(vec![api("a", Mode::Bind, FailMode::Open)], "203.0.113.7");
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].action, Action::Bind("192.0.2.10".parse().unwrap()));
        assert_eq!((rows[0].fail, rows[0].generation), (FailMode::Open, Generation(4)));
    }

    #[test]
    fn a_shared_address_is_redirected_and_fails_closed() {
        let apis = vec![api("a", Mode::Deny, FailMode::Open), api("b", Mode::Passthrough, FailMode::Closed)];
        let rows = rows(apis, "203.0.113.7");
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].action, rows[0].fail, rows[0].api), (Action::Redirect, FailMode::Closed, ApiId(0)));
    }

    #[test]
    fn bind_without_an_address_of_the_family_is_refused() {
        assert_eq!(rows(vec![api("a", Mode::Bind, FailMode::Open)], "2001:db8::7")[0].action, Action::Deny);
    }

    #[test]
    fn the_kernel_decides_alone_only_where_the_api_is_for_all_workloads() {
        let audience = || Audience {
            filter: WorkloadFilter { allow: true, matches: vec![WorkloadMatch::default()] },
            others: Others::Untouched,
        };
        for mode in [Mode::Bind, Mode::Deny] {
            let selective = Api { workloads: Some(audience()), ..api("a", mode, FailMode::Open) };
            assert_eq!(rows(vec![selective], "203.0.113.7")[0].action, Action::Redirect, "{mode:?}");
        }
    }

    #[test]
    fn a_denied_address_that_is_shared_stays_closed_without_egret() {
        let apis = vec![api("a", Mode::Deny, FailMode::Open), api("b", Mode::Passthrough, FailMode::Open)];
        let rows = rows(apis, "203.0.113.7");
        assert_eq!((rows[0].action, rows[0].fail), (Action::Redirect, FailMode::Closed));
    }

    #[test]
    fn an_api_with_many_addresses_crowds_out_no_other() {
        let model = model(["flood", "a", "b"].map(|name| api(name, Mode::Passthrough, FailMode::Closed)).into());
        let addresses = |listing: &Listing| {
            let (net, count) = match listing.to_string().as_str() {
                "flood.example" => ("203.0.113", 200),
                "a.example" => ("198.51.100", 30),
                _ => ("192.0.2", 5),
            };
            (0..count).map(|number| format!("{net}.{number}").parse().unwrap()).collect()
        };
        let table = table(&model, 100, addresses);
        let of = |id| table.rows.iter().filter(|row| row.api == ApiId(id)).count();
        assert_eq!([of(0), of(1), of(2)], [65, 30, 5]);
        assert_eq!(table.left_out, [("flood".into(), 135)]);
        assert!(
            table.rows.iter().any(|row| row.destination.ip() == "203.0.113.0".parse::<IpAddr>().unwrap()),
            "newest"
        );
    }

    #[test]
    fn the_rows_of_one_address_are_those_of_the_table() {
        let apis = vec![api("a", Mode::Deny, FailMode::Open), api("b", Mode::Bind, FailMode::Open)];
        let model = model(apis);
        let address = "203.0.113.7".parse().unwrap();
        let there: Vec<_> = model.apis.iter().flat_map(Api::listings).collect();
        let whole = table(&model, 100, |_| vec![address]).rows;
        assert_eq!(rows_at(&model, &Listings::of(&model), address, &there), whole);
        assert_eq!(whole.len(), 1);
        assert_eq!(rows_at(&model, &Listings::of(&model), address, &there[1..])[0].api, ApiId(1));
        assert!(rows_at(&model, &Listings::of(&model), address, &[]).is_empty());
    }

    #[test]
    fn shares_are_fair() {
        for (wishes, most, expected) in [
            (vec![1, 2, 3], 100, 100),
            (vec![10, 10], 10, 5),
            (vec![1, 50, 50], 21, 10),
            (vec![], 5, 5),
            (vec![7], 3, 3),
        ] {
            assert_eq!(share(wishes.iter().copied(), most), expected, "{wishes:?} {most}");
        }
    }
}
