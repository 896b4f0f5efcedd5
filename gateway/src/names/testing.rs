//! Configurations that the tests of this room need.

use std::time::Duration;

use crate::model::{
    Api, Drain, Egress, FailMode, Generation, Host, Limits, Mode, Model, OnRefusal, Pool, Strangers, Unlisted, Wildcard,
};

/// An API with the host `NAME.example`.
pub(super) fn api(name: &str, mode: Mode, fail: FailMode) -> Api {
    Api {
        name: name.into(),
        hosts: vec![Host::parse(&format!("{name}.example")).unwrap()],
        wildcards: Vec::new(),
        ports: vec![443],
        opaque_ports: Vec::new(),
        workloads: None,
        mode,
        fail,
        egress: None,
        backend: None,
        pool: Pool::default(),
        on_refusal: OnRefusal::default(),
        strangers: if mode == Mode::Deny { Strangers::Refuse } else { Strangers::Carry },
        allow_addresses: Vec::new(),
        on_refusal_workloads: Vec::new(),
        upgrades: Vec::new(),
        rules: None,
    }
}

/// A configuration with these APIs.
pub(super) fn model_of(apis: Vec<Api>) -> Model {
    Model {
        generation: Generation(4),
        egress: Egress { addresses: vec!["192.0.2.10".parse().unwrap()], ..Egress::default() },
        apis,
        values: Vec::new(),
        backends: Vec::new(),
        counters: None,
        otlp: None,
        keys: Vec::new(),
        unlisted: Unlisted::default(),
        limits: Limits::default(),
        drain: Drain { hand_over: Duration::ZERO, stop: Duration::ZERO },
        warnings: Vec::new(),
    }
}

/// A configuration with one API that lists these names.
pub(super) fn model(names: &[&str]) -> Model {
    let wildcards = names.iter().filter_map(|name| Wildcard::parse(name)).collect::<Result<_, _>>().unwrap();
    let hosts = names.iter().filter(|name| !name.starts_with('*')).map(|name| Host::parse(name).unwrap()).collect();
    model_of(vec![Api { hosts, wildcards, ..api("partner", Mode::Passthrough, FailMode::Closed) }])
}
