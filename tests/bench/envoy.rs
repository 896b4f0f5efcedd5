//! Pieces of a configuration of Envoy, which is JSON.

use egret_tests::{EGRESS, Lab};
use serde_json::{Value, json};

use crate::gateway::{Contestant, THIRD_PARTY};

/// All of it, as text. No `admin`: nobody asks it.
pub(crate) fn config(listeners: &[Value], clusters: &[Value]) -> String {
    json!({ "static_resources": { "listeners": listeners, "clusters": clusters } }).to_string()
}

/// Listens for a port of the third party. A chain is chosen by the SNI where it has `filter_chain_match`.
pub(crate) fn listener(port: u16, chain: Value) -> Value {
    let inspector = extension(
        "envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        json!({}),
    );
    let by_sni = chain.get("filter_chain_match").is_some();
    json!({
        "name": format!("for-{port}"),
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": Contestant::Envoy.port(port) } },
        "tcp_backlog_size": 4096,
        "listener_filters": if by_sni { json!([inspector]) } else { json!([]) },
        "filter_chains": [chain],
    })
}

/// The third party at this port, from the egress address.
pub(crate) fn cluster(name: &str, port: u16) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "upstream_bind_config": { "source_address": { "address": EGRESS, "port_value": 0 } },
        "circuit_breakers": {
            "thresholds": [{ "max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000 }],
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": { "address": THIRD_PARTY, "port_value": port } },
            } }] }],
        },
    })
}

/// Carries HTTP/1.1 by these routes, after these filters. Neither adds what the others do not: request ids, and headers that
/// say who carried it.
pub(crate) fn http(lab: &Lab, mut filters: Vec<Value>, routes: &[Value]) -> Value {
    filters.push(extension(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({ "suppress_envoy_headers": true }),
    ));
    extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "http",
            "codec_type": "HTTP1",
            "generate_request_id": false,
            "skip_xff_append": true,
            "server_header_transformation": "PASS_THROUGH",
            "access_log": [access_log(lab)],
            "http_filters": filters,
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
        }),
    )
}

/// A line for each request or connection.
pub(crate) fn access_log(lab: &Lab) -> Value {
    extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        json!({ "path": lab.directory().join("envoy-access.log") }),
    )
}

/// Every path to this cluster.
pub(crate) fn route(cluster: &str) -> Value {
    json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } })
}

pub(crate) fn extension(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{kind}").into();
    json!({ "name": name, "typed_config": config })
}
