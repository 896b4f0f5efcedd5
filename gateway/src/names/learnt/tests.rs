use super::*;
use crate::model::Wildcard;

const MINUTE: Duration = Duration::from_secs(60);

fn learnt(now: Instant) -> Learnt {
    let bounds = Bounds { addresses_of_a_name: 3, addresses: 40, names_of_an_owner: 5, names: 12 };
    Learnt::new(bounds, now)
}

fn source(owner: u8) -> Source {
    let wildcard = Wildcard::parse("*.partner.example").unwrap().unwrap();
    Source { owner: owner.to_string().into(), scope: Scope::Everybody, listing: Arc::new(Listing::Wildcard(wildcard)) }
}

fn ip(number: u8) -> IpAddr {
    [203, 0, 113, number].into()
}

fn names(learnt: &Learnt) -> Vec<String> {
    let names = learnt.taught.values().flat_map(|taught| taught.names.iter());
    let mut names: Vec<_> = names.map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn an_address_is_there_while_one_name_has_it() {
    let now = Instant::now();
    let mut learnt = learnt(now);
    assert_eq!(learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now), [ip(1)]);
    assert!(learnt.learn(&source(1), "b", &[ip(1)], MINUTE, now).is_empty(), "it is there");
    assert!(learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now).is_empty(), "nothing is new");
    assert_eq!(learnt.sources_at(ip(1)).len(), 1);
    assert_eq!(learnt.learn(&source(2), "a", &[ip(1)], MINUTE, now), [ip(1)]);
    assert_eq!(learnt.sources_at(ip(1)).len(), 2);
    learnt.learn(&source(1), "b", &[ip(2)], MINUTE, now + MINUTE);
    assert_eq!(learnt.sweep(HashSet::new(), now + MINUTE), [ip(1), ip(1)], "of both owners");
    assert!(learnt.sources_at(ip(1)).is_empty());
    assert_eq!((names(&learnt), learnt.names), (vec!["b".to_owned()], 1));
}

#[test]
fn a_name_keeps_its_newest_addresses() {
    let now = Instant::now();
    let mut learnt = learnt(now);
    learnt.learn(&source(1), "a", &[ip(1), ip(2)], MINUTE, now);
    let mut changed = learnt.learn(&source(1), "a", &[ip(3), ip(4)], MINUTE, now);
    changed.sort();
    assert_eq!(changed, [ip(2), ip(3), ip(4)]);
    assert!(learnt.sources_at(ip(2)).is_empty());
}

#[test]
fn expired_addresses_of_a_live_flow_stay() {
    let now = Instant::now();
    let mut learnt = learnt(now);
    learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now);
    assert!(learnt.sweep(HashSet::from([ip(1)]), now + MINUTE).is_empty());
    assert_eq!(learnt.sources_at(ip(1)).len(), 1);
    assert_eq!(learnt.sweep(HashSet::new(), now + MINUTE), [ip(1)]);
}

#[test]
fn the_oldest_name_without_a_live_flow_makes_room() {
    let now = Instant::now();
    let mut learnt = learnt(now);
    for number in 0..5 {
        learnt.learn(&source(1), &format!("name{number}"), &[ip(number)], MINUTE, now);
    }
    learnt.sweep(HashSet::from([ip(0)]), now);
    learnt.learn(&source(1), "new", &[ip(9)], MINUTE, now);
    assert_eq!(names(&learnt), ["name0", "name2", "name3", "name4", "new"]);
}

#[test]
fn no_owner_evicts_names_of_another() {
    let now = Instant::now();
    let mut learnt = learnt(now);
    learnt.learn(&source(1), "own", &[ip(1)], MINUTE, now);
    for number in 0..200 {
        learnt.learn(&source(number % 3 + 2), &format!("flood{number}"), &[ip(number)], MINUTE, now);
    }
    assert!(names(&learnt).contains(&"own".to_owned()));
    assert_eq!(learnt.names, 12);
    assert_eq!(learnt.at.values().map(Vec::len).sum::<usize>(), 12, "nothing is left behind");
}

#[test]
fn an_owner_with_many_addresses_leaves_room_for_others() {
    let now = Instant::now();
    let mut learnt =
        Learnt::new(Bounds { addresses_of_a_name: 4, addresses: 8, names_of_an_owner: 100, names: 1000 }, now);
    learnt.learn(&source(1), "own", &[ip(250)], MINUTE, now);
    for number in 0..100 {
        learnt.learn(&source(2), &format!("flood{number}"), &[ip(number), ip(number + 100)], MINUTE, now);
    }
    assert_eq!(learnt.at.len(), 3);
    assert_eq!(learnt.sources_at(ip(250)).len(), 1);
}

#[test]
fn what_may_not_be_known_any_more_is_forgotten() {
    let now = Instant::now();
    let mut learnt = learnt(now);
    learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now);
    learnt.learn(&source(1), "b", &[ip(2)], MINUTE, now);
    assert_eq!(learnt.retain(|_, address| address != ip(2)), [ip(2)]);
    assert_eq!(names(&learnt), ["a"]);
}
