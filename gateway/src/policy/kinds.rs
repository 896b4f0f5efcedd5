//! One file, or one file and its folder, for each kind of policy.

pub(super) mod authentication_api_key;
pub(super) mod authentication_aws_sigv4;
pub(super) mod authentication_basic;
pub(super) mod authentication_hmac;
pub(super) mod authentication_oauth2;
pub(super) mod cache;
pub(super) mod check_header;
#[cfg(test)]
#[expect(unreachable_pub, reason = "it is the example of the guide, which no configuration can name")]
mod check_query_parameter;
pub(super) mod choose;
pub(super) mod emit_metric;
pub(super) mod find_and_replace;
pub(super) mod forward_request;
pub(super) mod ip_filter;
pub(super) mod json_to_xml;
pub(super) mod limit_concurrency;
pub(super) mod llm_emit_token_metric;
pub(super) mod llm_token_limit;
pub(super) mod log;
pub(super) mod mock_response;
pub(super) mod quota;
pub(super) mod rate_limit;
pub(super) mod replace_placeholder;
pub(super) mod retry;
pub(super) mod return_response;
pub(super) mod rewrite_uri;
pub(super) mod send_request;
pub(super) mod set_backend;
pub(super) mod set_body;
pub(super) mod set_header;
pub(super) mod set_method;
pub(super) mod set_query_parameter;
pub(super) mod set_status;
pub(super) mod set_variable;
pub(super) mod trace;
pub(super) mod validate_content;
pub(super) mod validate_headers;
pub(super) mod validate_jwt;
pub(super) mod validate_parameters;
pub(super) mod validate_status_code;
pub(super) mod wait;
pub(super) mod workload_filter;
pub(super) mod xml_to_json;
