use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::model::{Action, Api, ApiId, FailMode, Host, Mode, Model, Redirect};

/// The rows of the kernel's table: one per address and port.
///
/// Several APIs may share an address (a CDN): if they want the same, they get it; otherwise the connection is
/// redirected and its name decides. It fails closed if one of them does.
pub fn table(model: &Model, addresses: impl Fn(&Host) -> Vec<IpAddr>) -> Vec<Redirect> {
    let mut rows: BTreeMap<SocketAddr, Redirect> = BTreeMap::new();
    for (index, api) in (0..).zip(&model.apis) {
        for address in api.hosts.iter().flat_map(&addresses) {
            let address = address.to_canonical();
            for port in &api.ports {
                let destination = SocketAddr::new(address, *port);
                let action = action(model, api, address);
                rows.entry(destination)
                    .and_modify(|row| {
                        if row.action != action {
                            row.action = Action::Redirect;
                        }
                        if api.fail == FailMode::Closed {
                            row.fail = FailMode::Closed;
                        }
                    })
                    .or_insert_with(|| Redirect {
                        destination,
                        action,
                        fail: api.fail,
                        api: ApiId(index),
                        generation: model.generation,
                    });
            }
        }
    }
    rows.into_values().collect()
}

fn action(model: &Model, api: &Api, destination: IpAddr) -> Action {
    match api.mode {
        Mode::Deny => Action::Deny,
        Mode::Intercept | Mode::Passthrough => Action::Redirect,
        // Without an address of the family the connection could only leave from a wrong one.
        Mode::Bind => model.egress_of(api).source_for(destination).map_or(Action::Deny, Action::Bind),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Drain, Egress, Generation};

    fn api(name: &str, mode: Mode, fail: FailMode) -> Api {
        Api {
            name: name.into(),
            hosts: vec![Host::parse(&format!("{name}.example")).unwrap()],
            ports: vec![443],
            opaque_ports: Vec::new(),
            mode,
            fail,
            egress: None,
            backend: None,
            pool: crate::model::Pool::default(),
            on_refusal: crate::model::OnRefusal::default(),
            rules: None,
        }
    }

    fn rows(apis: Vec<Api>, address: &str) -> Vec<Redirect> {
        let drain = Drain { hand_over: Duration::ZERO, stop: Duration::ZERO };
        let egress = Egress { addresses: vec!["192.0.2.10".parse().unwrap()], ..Egress::default() };
        let model = Model {
            generation: Generation(4),
            egress,
            apis,
            values: Vec::new(),
            backends: Vec::new(),
            counters: None,
            keys: Vec::new(),
            limits: crate::model::Limits::default(),
            drain,
            warnings: Vec::new(),
        };
        table(&model, |_| vec![address.parse().unwrap()])
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
}
