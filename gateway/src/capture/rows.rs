//! Rows of the kernel's table, in the ABI's words and in the model's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use egret_kernel::{
    ACTION_BIND, ACTION_DENY, ACTION_LISTENER, ACTION_REDIRECT, ACTION_SCOPED, Address, CaptureKey, CaptureRule,
    EVERYBODY, FAIL_CLOSED, FAIL_OPEN, Port, RowKey,
};

use super::proof;
use crate::model::{Action, ApiId, FailMode, Generation, Origin, OriginalDst, Redirect, Scope};

const TCP: u8 = 6;

/// The API of rows for Egret's own listener; no configuration has so many.
const LISTENER: ApiId = ApiId(u32::MAX - 1);

/// Whether a row is of Egret's own making, not of the configuration's.
pub(super) fn is_own(rule: &CaptureRule) -> bool {
    rule.api == proof::API.0 || rule.action == ACTION_LISTENER
}

pub(super) fn row(redirect: &Redirect) -> (RowKey, CaptureRule) {
    let (action, source) = match redirect.action {
        Action::Bind(source) => (ACTION_BIND, Address::from(source)),
        Action::Deny => (ACTION_DENY, Address::default()),
        Action::Redirect => (ACTION_REDIRECT, Address::default()),
        Action::Scoped => (ACTION_SCOPED, Address::default()),
    };
    let fail = match redirect.fail {
        FailMode::Closed => FAIL_CLOSED,
        FailMode::Open => FAIL_OPEN,
    };
    let rule =
        CaptureRule { generation: redirect.generation.0, api: redirect.api.0, action, fail, pad: [0; 2], source };
    (row_key(redirect.scope, redirect.destination), rule)
}

/// Returns the key of a destination that is captured for everybody, as a key of a row.
pub(super) fn everybodys(destination: CaptureKey) -> RowKey {
    RowKey { scope: EVERYBODY, destination, pad: 0 }
}

pub(super) fn row_key(scope: Scope, destination: SocketAddr) -> RowKey {
    let scope = match scope {
        Scope::Everybody => EVERYBODY,
        Scope::Owner(cgroup) => cgroup,
    };
    RowKey { scope, destination: key(destination), pad: 0 }
}

fn scope(scope: u64) -> Scope {
    if scope == EVERYBODY { Scope::Everybody } else { Scope::Owner(scope) }
}

/// Returns the rows that refuse direct connections to the listeners, by each address that leads to one of them: the
/// kernel takes a connection to the unspecified address for one to the loopback.
pub(super) fn listener_rows(v4: u16, v6: u16) -> Vec<(CaptureKey, CaptureRule)> {
    let rule = CaptureRule { api: LISTENER.0, action: ACTION_LISTENER, ..CaptureRule::default() };
    let addresses: [(IpAddr, u16); 5] = [
        (Ipv4Addr::LOCALHOST.into(), v4),
        (Ipv4Addr::UNSPECIFIED.into(), v4),
        (Ipv6Addr::UNSPECIFIED.into(), v4),
        (Ipv6Addr::LOCALHOST.into(), v6),
        (Ipv6Addr::UNSPECIFIED.into(), v6),
    ];
    let listening = addresses.into_iter().filter(|(_, port)| *port != 0);
    listening.map(|address| (key(address.into()), rule)).collect()
}

fn key(destination: SocketAddr) -> CaptureKey {
    CaptureKey { address: Address::from(destination.ip()), port: Port::from(destination.port()), protocol: TCP, pad: 0 }
}

pub(super) fn redirect(key: &RowKey, rule: &CaptureRule) -> Redirect {
    Redirect {
        scope: scope(key.scope),
        destination: SocketAddr::new(IpAddr::from(key.destination.address), key.destination.port.into()),
        action: match rule.action {
            ACTION_BIND => Action::Bind(rule.source.into()),
            ACTION_DENY => Action::Deny,
            ACTION_SCOPED => Action::Scoped,
            _ => Action::Redirect,
        },
        fail: if rule.fail == FAIL_OPEN { FailMode::Open } else { FailMode::Closed },
        api: ApiId(rule.api),
        generation: Generation(rule.generation),
    }
}

pub(super) fn origin(record: &egret_kernel::Origin) -> Origin {
    Origin {
        original_dst: OriginalDst(SocketAddr::new(record.address.into(), record.port.into())),
        cgroup: record.cgroup,
        scope: scope(record.scope),
        pid: record.pid,
        uid: record.uid,
        command: String::from_utf8_lossy(&record.command).trim_end_matches('\0').into(),
        time: Duration::from_nanos(record.time),
        generation: Generation(record.generation),
        api: ApiId(record.api),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_the_way_to_the_kernel_and_back() {
        let actions = [Action::Redirect, Action::Deny, Action::Scoped, Action::Bind("192.0.2.10".parse().unwrap())];
        for (action, scope) in actions.into_iter().zip([Scope::Owner(7), Scope::Everybody].into_iter().cycle()) {
            let redirect = Redirect {
                scope,
                destination: "[2001:db8::1]:443".parse().unwrap(),
                action,
                fail: FailMode::Open,
                api: ApiId(3),
                generation: Generation(7),
            };
            let (key, rule) = row(&redirect);
            assert_eq!(super::redirect(&key, &rule), redirect);
            assert!(!is_own(&rule));
        }
    }

    #[test]
    fn a_listener_is_refused_by_every_address_that_leads_to_it() {
        let addresses = |rows: Vec<(CaptureKey, CaptureRule)>| -> Vec<String> {
            assert!(rows.iter().all(|(_, rule)| is_own(rule)));
            let everybodys = |(key, rule): (CaptureKey, CaptureRule)| redirect(&everybodys(key), &rule);
            rows.into_iter().map(|row| everybodys(row).destination.to_string()).collect()
        };
        assert_eq!(addresses(listener_rows(7, 0)), ["127.0.0.1:7", "0.0.0.0:7", "[::]:7"]);
        assert_eq!(addresses(listener_rows(7, 8)), ["127.0.0.1:7", "0.0.0.0:7", "[::]:7", "[::1]:8", "[::]:8"]);
    }
}
