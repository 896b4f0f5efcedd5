//! Policies as written, each in the file of its family.

mod cache;
mod conversion;
mod credentials;
mod flow;
mod limits;
pub(in crate::config) mod llm;
mod message;
mod outside;
pub(in crate::config) mod telemetry;
mod validation;

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::Spanned;

use super::Text;
use crate::policy::{CheckHeaderFile, IpFilterFile, WorkloadFilterFile};

pub(in crate::config) use cache::{
    CacheLookupFile, CacheLookupValueFile, CacheRemoveValueFile, CacheStoreFile, CacheStoreValueFile,
};
pub(in crate::config) use conversion::{JsonToXmlFile, XmlToJsonFile};
pub(in crate::config) use credentials::{
    ApiKeyFile, AwsSigv4File, BasicFile, HmacFile, INSTEAD, JwtKeyFile, ReplacePlaceholderFile, RequiredClaimFile,
    ValidateJwtFile,
};
pub(in crate::config) use flow::{BranchFile, ForwardFile, ReplyFile, RetryFile, SetVariableFile};
pub(in crate::config) use limits::{LimitConcurrencyFile, QuotaFile, RateLimitFile};
pub(in crate::config) use message::{FindAndReplaceFile, RewriteUriFile, SetHeaderFile, SetQueryParameterFile};
pub(in crate::config) use outside::{BreakerFile, HealthFile, Oauth2File, SendRequestFile, ServiceFile, WaitFile};
pub(in crate::config) use validation::{
    ContentFile, DescribedFile, ValidateContentFile, ValidateHeadersFile, ValidateParametersFile,
    ValidateStatusCodeFile,
};

/// Policies of a scope, by section. A section that is not written is that of the wider scope. A section that is written
/// replaces it; `base` in its list stands for the policies of the wider scope.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct PoliciesFile {
    /// `enforce`: the policies apply. `report`: Egret records what the policies would do, and sends the request unchanged.
    /// Default: `enforce`. Example: `report`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) enabled: Option<Text>,
    /// Policies that run before the request is forwarded. Default: those of the wider scope. Example: `[base, {check-header:
    /// {name: X-Team}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) inbound: Option<Vec<Spanned<Step>>>,
    /// Policies that forward the request. Default: `forward-request`. Example: `[{retry: {count: 2}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) backend: Option<Vec<Spanned<Step>>>,
    /// Policies that run before the response is sent to the caller. Default: those of the wider scope. Example: `[{set-header:
    /// {name: X-Via, value: egret}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) outbound: Option<Vec<Spanned<Step>>>,
    /// Policies that run after a failure. If they set no response, the caller receives the error as JSON. Default: those of
    /// the wider scope. Example: `[{return-response: {status: 503}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) on_error: Option<Vec<Spanned<Step>>>,
}

/// `base`, or a policy.
#[derive(Debug)]
pub(in crate::config) enum Step {
    Base,
    Policy(Box<PolicyFile>),
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyStep;
        impl<'de> Visitor<'de> for AnyStep {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`base` or a policy")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Step, E> {
                if text == "base" { Ok(Step::Base) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
                PolicyFile::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(Step::Policy)
            }
        }
        deserializer.deserialize_any(AnyStep)
    }
}

impl JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let policy = generator.subschema_for::<PolicyFile>();
        schemars::json_schema!({"anyOf": [policy, {"const": "base"}]})
    }
}

/// A policy: one of these keys with its settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct PolicyFile {
    /// The name of the policy in records and errors. Default: none. Example: `partner-limit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) id: Option<Text>,
    /// `enforce`: the policy applies. `report`: Egret records what the policy would do, and does not do it. Default:
    /// `enforce`. Example: `report`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) enabled: Option<Text>,
    /// Adds an API key to a header or to the query of the request.
    /// Example: `{header: X-Api-Key, value: "{{partner-key}}"}`.
    #[serde(default)]
    pub(in crate::config) authentication_api_key: Option<ApiKeyFile>,
    /// Signs the request with AWS Signature Version 4. Policies that change the request must run before it.
    #[serde(default)]
    pub(in crate::config) authentication_aws_sigv4: Option<AwsSigv4File>,
    /// Sets `Authorization: Basic` on the request.
    #[serde(default)]
    pub(in crate::config) authentication_basic: Option<BasicFile>,
    /// Signs the request with a key that the third party has, too (HMAC). Policies that change the request must run before it.
    /// Example: `{header: X-Signature, key: "{{partner-key}}", string: "${int(now)}.${request.body_bytes}"}`.
    #[serde(default)]
    pub(in crate::config) authentication_hmac: Option<HmacFile>,
    /// Sets `Authorization: Bearer` on the request, with an access token for the gateway itself (RFC 6749). Egret fetches one
    /// token for all requests, and renews it before it expires and after a response with status 401.
    /// Example: `{client_id: egret, client_secret: "{{client-secret}}", token_url: https://login.example/oauth2/token}`.
    #[serde(default)]
    pub(in crate::config) authentication_oauth2: Option<Oauth2File>,
    /// Answers the request with a response that `cache-store` has cached. Only in inbound.
    /// Example: `{vary_by_header: [Accept-Language]}`.
    #[serde(default)]
    pub(in crate::config) cache_lookup: Option<CacheLookupFile>,
    /// Reads a value that `cache-store-value` has cached into a variable.
    #[serde(default)]
    pub(in crate::config) cache_lookup_value: Option<CacheLookupValueFile>,
    /// Removes a cached value.
    #[serde(default)]
    pub(in crate::config) cache_remove_value: Option<CacheRemoveValueFile>,
    /// Caches a response in memory, if RFC 9111 allows a shared cache to store it. Only in outbound.
    #[serde(default)]
    pub(in crate::config) cache_store: Option<CacheStoreFile>,
    /// Caches a value in memory.
    #[serde(default)]
    pub(in crate::config) cache_store_value: Option<CacheStoreValueFile>,
    /// Refuses requests that lack a header or have another value in it.
    #[serde(default)]
    pub(in crate::config) check_header: Option<CheckHeaderFile>,
    /// Runs the policies of the first branch whose condition holds. Example: `[{when: 'request.method == "POST"', then:
    /// [{set-method: PUT}]}]`.
    #[serde(default)]
    pub(in crate::config) choose: Option<Vec<BranchFile>>,
    /// Adds to a counter of the metrics.
    #[serde(default)]
    pub(in crate::config) emit_metric: Option<telemetry::EmitMetricFile>,
    /// Replaces a text in the body: of the request in inbound, of the response in outbound.
    #[serde(default)]
    pub(in crate::config) find_and_replace: Option<FindAndReplaceFile>,
    /// Forwards the request to the third party. Only in backend.
    #[serde(default)]
    pub(in crate::config) forward_request: Option<ForwardFile>,
    /// Runs the policies of a fragment in its place. Example: `limits`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) include_fragment: Option<Text>,
    /// Allows requests to some addresses of the third party, or forbids those to some; others are refused (403). The address
    /// is the one that the caller connected to. Only in inbound.
    #[serde(default)]
    #[schemars(with = "Option<IpFilterFile>")]
    pub(in crate::config) ip_filter: Option<Spanned<IpFilterFile>>,
    /// Converts a JSON body to XML, as Json.NET does: of the request in inbound, of the response in outbound and on-error.
    /// Numbers keep their digits.
    #[serde(default)]
    pub(in crate::config) json_to_xml: Option<JsonToXmlFile>,
    /// Refuses requests beyond a number of concurrent ones (429). A request counts until its response has ended. Only in
    /// inbound.
    #[serde(default)]
    pub(in crate::config) limit_concurrency: Option<LimitConcurrencyFile>,
    /// Counts the tokens that a language model uses in a metric. Only in inbound.
    #[serde(default)]
    pub(in crate::config) llm_emit_token_metric: Option<llm::LlmTokenMetricFile>,
    /// Refuses requests of callers that have used up their tokens of a language model. Only in inbound.
    /// Example: `{tokens_per_minute: 10000}`.
    #[serde(default)]
    #[schemars(with = "Option<llm::LlmTokenLimitFile>")]
    pub(in crate::config) llm_token_limit: Option<Spanned<llm::LlmTokenLimitFile>>,
    /// Writes a line with the request (in inbound and backend) or the response to the access log.
    #[serde(default)]
    #[schemars(with = "Option<telemetry::LogFile>")]
    pub(in crate::config) log: Option<Spanned<telemetry::LogFile>>,
    /// Responds without forwarding the request. Outbound runs as for a response of the third party.
    #[serde(default)]
    pub(in crate::config) mock_response: Option<ReplyFile>,
    /// Refuses requests of a workload beyond a number in a long period (403). Counts outlive a restart.
    #[serde(default)]
    #[schemars(with = "Option<QuotaFile>")]
    pub(in crate::config) quota: Option<Spanned<QuotaFile>>,
    /// Refuses requests beyond a number in a long period, counted by an expression (403). Counts outlive a restart.
    /// Example: `{calls: 10000, period: 1d, key: workload.unit}`.
    #[serde(default)]
    #[schemars(with = "Option<QuotaFile>")]
    pub(in crate::config) quota_by_key: Option<Spanned<QuotaFile>>,
    /// Refuses requests of a workload beyond a number in a period (429).
    #[serde(default)]
    pub(in crate::config) rate_limit: Option<RateLimitFile>,
    /// Refuses requests beyond a number in a period, counted by an expression (429).
    /// Example: `{calls: 100, period: 1m, key: workload.unit}`.
    #[serde(default)]
    pub(in crate::config) rate_limit_by_key: Option<RateLimitFile>,
    /// Puts a secret in the place of a placeholder, in the headers, the query or the body that `in` names, so that the caller never
    /// has it.
    /// Example: `{placeholder: PARTNER-KEY-HERE, value: "{{partner-key}}", in: [Authorization]}`.
    #[serde(default)]
    pub(in crate::config) replace_placeholder: Option<ReplacePlaceholderFile>,
    /// Runs its policies again while a condition holds. Only in backend.
    #[serde(default)]
    pub(in crate::config) retry: Option<RetryFile>,
    /// Responds to the caller and ends the policies.
    #[serde(default)]
    pub(in crate::config) return_response: Option<ReplyFile>,
    /// Sets the path that the third party receives.
    #[serde(default)]
    pub(in crate::config) rewrite_uri: Option<RewriteUriFile>,
    /// Sends a request and does not wait for the response, for example to an audit log.
    #[serde(default)]
    pub(in crate::config) send_one_way_request: Option<SendRequestFile>,
    /// Sends a request and stores the response in a variable.
    /// Example: `{url: "https://hooks.example/calls/${request.id}", variable: reply}`.
    #[serde(default)]
    pub(in crate::config) send_request: Option<SendRequestFile>,
    /// Forwards the request to a server of `backends` instead of the third party's own servers. Host and TLS name are those of
    /// the server. Example: `sandbox`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) set_backend: Option<Text>,
    /// Sets the body: of the request in inbound and backend, of the response in outbound and on-error. Values are encoded for where
    /// they stand. A body that begins with `{` or `[` is JSON: within quotes a value is a part of the string, elsewhere it is a
    /// whole value. One that begins with `<` is XML or HTML, and one that begins with `name=` and has no blanks is a form. In other
    /// text nothing is encoded. `${raw(...)}` is inserted as it is, and so is a value that is the whole body. Example: `'{"id":
    /// "${request.id}", "order": ${json(request.body)}}'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) set_body: Option<Text>,
    /// Sets a header: of the request in inbound and backend, of the response in outbound and on-error.
    /// Example: `{name: X-Team, value: billing}`.
    #[serde(default)]
    pub(in crate::config) set_header: Option<SetHeaderFile>,
    /// Sets the method of the request. Example: `PUT`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) set_method: Option<Text>,
    /// Sets a parameter of the request's query.
    /// Example: `{name: page, value: "1"}`.
    #[serde(default)]
    pub(in crate::config) set_query_parameter: Option<SetQueryParameterFile>,
    /// Sets the status of the response. Example: `503`.
    #[serde(default)]
    #[schemars(with = "Option<u16>", range(min = 200, max = 599))]
    pub(in crate::config) set_status: Option<Spanned<u16>>,
    /// Stores a value for later expressions.
    #[serde(default)]
    pub(in crate::config) set_variable: Option<SetVariableFile>,
    /// Writes a message to the access log, to `egret tail` and to Egret's own log.
    #[serde(default)]
    pub(in crate::config) trace: Option<telemetry::TraceFile>,
    /// Validates the body: of the request in inbound (400 if it is invalid), of the response in outbound (502).
    #[serde(default)]
    pub(in crate::config) validate_content: Option<ValidateContentFile>,
    /// Validates the headers of the response by the API's `openapi` document; invalid responses are refused (502). Only in
    /// outbound.
    #[serde(default)]
    pub(in crate::config) validate_headers: Option<ValidateHeadersFile>,
    /// Allows requests with a valid token (JWT); others are refused (401). Only in inbound.
    /// Example: `{openid_config: https://login.example/.well-known/openid-configuration, audiences: [orders]}`.
    #[serde(default)]
    #[schemars(with = "Option<ValidateJwtFile>")]
    pub(in crate::config) validate_jwt: Option<Spanned<ValidateJwtFile>>,
    /// Validates the headers, the query and the path of the request by the API's `openapi` document; invalid requests are
    /// refused (400). Cookies are not validated. Only in inbound.
    #[serde(default)]
    pub(in crate::config) validate_parameters: Option<ValidateParametersFile>,
    /// Validates the status of the response: one that the API's `openapi` document does not name is refused (502). Only in
    /// outbound.
    #[serde(default)]
    pub(in crate::config) validate_status_code: Option<ValidateStatusCodeFile>,
    /// Sends several requests at once and waits for their responses.
    #[serde(default)]
    pub(in crate::config) wait: Option<WaitFile>,
    /// Allows some workloads, or forbids some; others are refused (403).
    #[serde(default)]
    #[schemars(with = "Option<WorkloadFilterFile>")]
    pub(in crate::config) workload_filter: Option<Spanned<WorkloadFilterFile>>,
    /// Converts an XML body (UTF-8, without a document type) to JSON: of the request in inbound, of the response in outbound
    /// and on-error.
    #[serde(default)]
    pub(in crate::config) xml_to_json: Option<XmlToJsonFile>,
}
