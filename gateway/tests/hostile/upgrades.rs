//! Upgrades: a tunnel past policies that need to see every request.

use http::StatusCode;

use crate::scripted::{Scene, get, with};

fn upgraded(api: &str, protocol: &str) -> (StatusCode, String) {
    let outcome = Scene::new(api).send(with(get("/"), &[("connection", "upgrade"), ("upgrade", protocol)]));
    (outcome.status, outcome.reason())
}

#[test]
fn policies_that_need_every_request_refuse_a_tunnel() {
    let refused = (StatusCode::FORBIDDEN, "upgrade_not_allowed".to_owned());
    for api in [
        "policies: {inbound: [rate-limit: {calls: 2, period: 1m}]}",
        "policies: {inbound: [quota: {calls: 2, period: 1d}]}",
        "policies: {inbound: [limit-concurrency: {max: 2}]}",
        "policies: {inbound: [{choose: [{when: 'request.method == \"GET\"', then: [{rate-limit: {calls: 2, period: 1m}}]}]}]}",
        "policies: {outbound: [find-and-replace: {from: a, to: b}]}",
        "only_operations: true\noperations: [{name: root, path: /}]",
        "operations: [{name: root, path: /, policies: {inbound: [set-header: {name: X-A, value: a}]}}]",
    ] {
        assert_eq!(upgraded(api, "websocket"), refused, "{api}");
        assert_eq!(upgraded(&format!("upgrades: [echo]\n{api}"), "WebSocket"), refused, "{api}");
        assert_eq!(upgraded(&format!("upgrades: [WebSocket]\n{api}"), "websocket").0, StatusCode::OK, "{api}");
        assert_eq!(upgraded(&format!("upgrades: [WebSocket]\n{api}"), "websocket, h2c"), refused, "{api}");
    }
    for api in [
        "policies: {inbound: [set-header: {name: X-A, value: a}]}",
        "policies: {inbound: [set-variable: {name: a, value: '1'}]}",
    ] {
        assert_eq!(upgraded(api, "websocket").0, StatusCode::OK, "{api}");
    }
}
