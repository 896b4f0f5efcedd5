//! Rows for the callers of one owner, at addresses that only this owner knows a listed host by.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::table::{Listings, rows_at, share};
use crate::model::{Action, Listing, Model, Redirect, Scope};

/// The rows of one address, by whose they are and by port.
pub type RowsAt = BTreeMap<(Scope, u16), Redirect>;

/// Returns the rows of owners at an address, which these listings have for each owner.
///
/// The owner chose the address, so nothing may leave there from an egress address: where another row would set the source address
/// and let the connection go (mode `bind`), this one sends it to Egret, which dials its own resolution of the name.
pub fn scoped_rows_at(
    model: &Model,
    listings: &Listings,
    address: IpAddr,
    owners: &BTreeMap<Scope, Vec<Listing>>,
) -> Vec<Redirect> {
    let of_owner = |(scope, there): (&Scope, &Vec<Listing>)| {
        let scope = *scope;
        rows_at(model, listings, address, there).into_iter().map(move |row| Redirect {
            scope,
            action: match row.action {
                Action::Deny => Action::Deny,
                Action::Bind(_) | Action::Redirect | Action::Scoped => Action::Redirect,
            },
            ..row
        })
    };
    owners.iter().flat_map(of_owner).collect()
}

/// Leaves rows out where owners have more than there is room for: owners with few rows keep all of theirs, and the others get equal
/// shares. Returns how many are left out.
pub fn fit(rows: &mut Vec<Redirect>, most: usize) -> usize {
    let all = rows.len();
    if all <= most {
        return 0;
    }
    let mut wishes: HashMap<Scope, usize> = HashMap::new();
    for row in &*rows {
        *wishes.entry(row.scope).or_default() += 1;
    }
    let share = share(wishes.into_values(), most);
    let mut granted: HashMap<Scope, usize> = HashMap::new();
    rows.retain(|row| {
        let granted = granted.entry(row.scope).or_default();
        *granted += 1;
        *granted <= share
    });
    all - rows.len()
}

/// Joins the rows of one address: those that hold for everybody, those of owners, and those that a former process left, which count
/// where the others say nothing. What holds for everybody goes before what holds for an owner; where only owners have rows, a row for
/// everybody says so.
pub fn joined(
    everybody: impl IntoIterator<Item = Redirect>,
    owners: impl IntoIterator<Item = Redirect>,
    left: &[Redirect],
) -> RowsAt {
    let is_everybodys = |row: &&Redirect| row.scope == Scope::Everybody;
    let key = |row: Redirect| ((row.scope, row.destination.port()), row);
    let mut rows: RowsAt = left.iter().filter(is_everybodys).cloned().map(key).collect();
    rows.extend(everybody.into_iter().map(key));
    let of_owners = left.iter().filter(|row| !is_everybodys(row)).cloned().chain(owners);
    let mut scoped: RowsAt = of_owners.map(key).collect();
    scoped.retain(|(_, port), _| !rows.contains_key(&(Scope::Everybody, *port)));
    for ((_, port), row) in &scoped {
        let marker = Redirect { scope: Scope::Everybody, action: Action::Scoped, ..row.clone() };
        rows.entry((Scope::Everybody, *port)).or_insert(marker);
    }
    rows.extend(scoped);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiId, FailMode, Generation, Mode};
    use crate::names::testing::{api, model_of};

    fn row(scope: Scope, action: Action, generation: u32) -> Redirect {
        let destination = "203.0.113.7:443".parse().unwrap();
        Redirect {
            scope,
            destination,
            action,
            fail: FailMode::Closed,
            api: ApiId(0),
            generation: Generation(generation),
        }
    }

    fn shown(rows: &RowsAt) -> Vec<(Scope, Action, u32)> {
        rows.iter().map(|((scope, _), row)| (*scope, row.action, row.generation.0)).collect()
    }

    #[test]
    fn what_holds_for_everybody_goes_before_rows_of_owners() {
        use Action::{Redirect, Scoped};
        use Scope::{Everybody, Owner};
        let (everybody, owner, other) =
            (row(Everybody, Redirect, 2), row(Owner(7), Redirect, 2), row(Owner(8), Redirect, 2));
        assert_eq!(shown(&joined([everybody.clone()], [owner.clone()], &[])), [(Everybody, Redirect, 2)]);
        let rows = joined([], [owner.clone(), other.clone()], &[]);
        let expected = [(Everybody, Scoped, 2), (Owner(7), Redirect, 2), (Owner(8), Redirect, 2)];
        assert_eq!(shown(&rows), expected);
        let left = [row(Owner(7), Redirect, 1), row(Owner(9), Redirect, 1)];
        let rows = joined([], [owner.clone()], &left);
        assert_eq!(shown(&rows), [(Everybody, Scoped, 2), (Owner(7), Redirect, 2), (Owner(9), Redirect, 1)]);
        let left = [row(Everybody, Redirect, 1)];
        assert_eq!(shown(&joined([], [owner], &left)), [(Everybody, Redirect, 1)]);
        assert_eq!(shown(&joined([everybody], [other], &left)), [(Everybody, Redirect, 2)]);
    }

    #[test]
    fn no_row_of_an_owner_sets_an_egress_address() {
        let model = model_of(vec![api("a", Mode::Bind, FailMode::Open), api("b", Mode::Deny, FailMode::Closed)]);
        let address = "203.0.113.7".parse().unwrap();
        let of = |api: usize| BTreeMap::from([(Scope::Owner(7), model.apis[api].listings().collect::<Vec<_>>())]);
        let actions = |api| {
            let rows = scoped_rows_at(&model, &Listings::of(&model), address, &of(api));
            rows.into_iter().map(|row| (row.scope, row.action)).collect::<Vec<_>>()
        };
        assert_eq!(actions(0), [(Scope::Owner(7), Action::Redirect)]);
        assert_eq!(actions(1), [(Scope::Owner(7), Action::Deny)]);
    }

    #[test]
    fn an_owner_with_many_rows_leaves_room_for_others() {
        let of = |owner, count| std::iter::repeat_n(row(Scope::Owner(owner), Action::Redirect, 1), count);
        let mut rows: Vec<_> = of(1, 200).chain(of(2, 10)).chain(of(3, 5)).collect();
        assert_eq!(fit(&mut rows, 1000), 0);
        assert_eq!(fit(&mut rows, 50), 165);
        let count = |owner| rows.iter().filter(|row| row.scope == Scope::Owner(owner)).count();
        assert_eq!([count(1), count(2), count(3)], [35, 10, 5]);
    }
}
