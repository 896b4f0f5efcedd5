//! Policies as written, each in the file of its family.

mod cache;
mod conversion;
mod credentials;
mod filters;
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

pub(in crate::config) use cache::{
    CacheLookupFile, CacheLookupValueFile, CacheRemoveValueFile, CacheStoreFile, CacheStoreValueFile,
};
pub(in crate::config) use conversion::{JsonToXmlFile, XmlToJsonFile};
pub(in crate::config) use credentials::{
    ApiKeyFile, AwsSigv4File, BasicFile, HmacFile, INSTEAD, JwtKeyFile, ReplacePlaceholderFile, RequiredClaimFile,
    ValidateJwtFile,
};
pub(in crate::config) use filters::{CheckHeaderFile, IpFilterFile, WorkloadFile, WorkloadFilterFile};
pub(in crate::config) use flow::{BranchFile, ForwardFile, ReplyFile, RetryFile, SetVariableFile};
pub(in crate::config) use limits::{LimitConcurrencyFile, QuotaFile, RateLimitFile};
pub(in crate::config) use message::{FindAndReplaceFile, RewriteUriFile, SetHeaderFile, SetQueryParameterFile};
pub(in crate::config) use outside::{BreakerFile, HealthFile, Oauth2File, SendRequestFile, ServiceFile, WaitFile};
pub(in crate::config) use validation::{
    ContentFile, DescribedFile, ValidateContentFile, ValidateHeadersFile, ValidateParametersFile,
    ValidateStatusCodeFile,
};

/// What is done with the requests of a scope. A section that is not written is that of the wider scope; one that is written
/// takes its place, with the wider scope's policies where `base` stands.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct PoliciesFile {
    /// `enforce` (default), or `report`: what all of these would do is put on record, and not done; the request is sent.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) enabled: Option<Text>,
    /// Before the request leaves.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) inbound: Option<Vec<Spanned<Step>>>,
    /// How it is sent. Default: `forward-request`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) backend: Option<Vec<Spanned<Step>>>,
    /// Before the answer goes to the caller.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) outbound: Option<Vec<Spanned<Step>>>,
    /// After anything has failed. What it leaves without an answer is answered with the error, as JSON.
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

/// A policy: one of these names, with what it needs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct PolicyFile {
    /// Its name in records and errors.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) id: Option<Text>,
    /// `enforce` (default), or `report`: what it would do is put on record, and not done.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) enabled: Option<Text>,
    /// A key of the owner's, in a header or in the query of the request.
    #[serde(default)]
    pub(in crate::config) authentication_api_key: Option<ApiKeyFile>,
    /// Signs the request as AWS wants it (Signature Version 4). After what changes the request.
    #[serde(default)]
    pub(in crate::config) authentication_aws_sigv4: Option<AwsSigv4File>,
    /// `Authorization: Basic` of the request.
    #[serde(default)]
    pub(in crate::config) authentication_basic: Option<BasicFile>,
    /// Signs the request with a key that the third party has, too (HMAC). After what changes the request.
    #[serde(default)]
    pub(in crate::config) authentication_hmac: Option<HmacFile>,
    /// `Authorization: Bearer` of the request, with a token for the gateway itself (RFC 6749 §4.4), which is fetched once
    /// for all requests, and anew before it expires or after an answer of 401.
    #[serde(default)]
    pub(in crate::config) authentication_oauth2: Option<Oauth2File>,
    /// Answers from what `cache-store` has kept. Only in inbound.
    #[serde(default)]
    pub(in crate::config) cache_lookup: Option<CacheLookupFile>,
    /// Reads a value that `cache-store-value` has kept into a variable.
    #[serde(default)]
    pub(in crate::config) cache_lookup_value: Option<CacheLookupValueFile>,
    /// Forgets such a value.
    #[serde(default)]
    pub(in crate::config) cache_remove_value: Option<CacheRemoveValueFile>,
    /// Keeps an answer of 200 to a GET, in memory, if RFC 9111 lets a shared cache keep it. Only in outbound.
    #[serde(default)]
    pub(in crate::config) cache_store: Option<CacheStoreFile>,
    /// Keeps a value, in memory.
    #[serde(default)]
    pub(in crate::config) cache_store_value: Option<CacheStoreValueFile>,
    /// Refuses requests without a header.
    #[serde(default)]
    pub(in crate::config) check_header: Option<CheckHeaderFile>,
    /// The policies of the first of these whose condition holds.
    #[serde(default)]
    pub(in crate::config) choose: Option<Vec<BranchFile>>,
    /// Adds to a counter of the metrics.
    #[serde(default)]
    pub(in crate::config) emit_metric: Option<telemetry::EmitMetricFile>,
    /// Replaces a text in the body: of the request in inbound, of the answer in outbound.
    #[serde(default)]
    pub(in crate::config) find_and_replace: Option<FindAndReplaceFile>,
    /// Sends the request to the third party.
    #[serde(default)]
    pub(in crate::config) forward_request: Option<ForwardFile>,
    /// The policies of a fragment, in its place.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) include_fragment: Option<Text>,
    /// Lets calls to some addresses of the third party through, or all but those to some; others are refused (403). It is
    /// the address that the caller connected to. Only in inbound.
    #[serde(default)]
    #[schemars(with = "Option<IpFilterFile>")]
    pub(in crate::config) ip_filter: Option<Spanned<IpFilterFile>>,
    /// Makes XML of a body in JSON, as Json.NET does: of the request in inbound, of the answer in outbound and on-error.
    #[serde(default)]
    pub(in crate::config) json_to_xml: Option<JsonToXmlFile>,
    /// Refuses requests beyond so many at once (429). Only in inbound; it holds until the answer has come to its end.
    #[serde(default)]
    pub(in crate::config) limit_concurrency: Option<LimitConcurrencyFile>,
    /// Counts the tokens that a language model uses, in a metric. Only in inbound.
    #[serde(default)]
    pub(in crate::config) llm_emit_token_metric: Option<llm::LlmTokenMetricFile>,
    /// Refuses requests of those who have used their tokens of a language model up. Only in inbound.
    #[serde(default)]
    #[schemars(with = "Option<llm::LlmTokenLimitFile>")]
    pub(in crate::config) llm_token_limit: Option<Spanned<llm::LlmTokenLimitFile>>,
    /// Puts the request (in inbound and backend) or the answer on record: a line of the access log.
    #[serde(default)]
    #[schemars(with = "Option<telemetry::LogFile>")]
    pub(in crate::config) log: Option<Spanned<telemetry::LogFile>>,
    /// Answers without asking the third party. Outbound runs as for its answer.
    #[serde(default)]
    pub(in crate::config) mock_response: Option<ReplyFile>,
    /// Refuses calls of a workload beyond so many in a long period (403); a restart forgets none.
    #[serde(default)]
    #[schemars(with = "Option<QuotaFile>")]
    pub(in crate::config) quota: Option<Spanned<QuotaFile>>,
    /// Refuses calls beyond so many in a long period, counted by an expression (403); a restart forgets none.
    #[serde(default)]
    #[schemars(with = "Option<QuotaFile>")]
    pub(in crate::config) quota_by_key: Option<Spanned<QuotaFile>>,
    /// Refuses calls of a workload beyond so many in a period (429).
    #[serde(default)]
    pub(in crate::config) rate_limit: Option<RateLimitFile>,
    /// Refuses calls beyond so many in a period, counted by an expression (429).
    #[serde(default)]
    pub(in crate::config) rate_limit_by_key: Option<RateLimitFile>,
    /// Puts a secret in the place of a placeholder, in headers and query, so that the caller never has it. For bodies there is
    /// `find-and-replace`.
    #[serde(default)]
    pub(in crate::config) replace_placeholder: Option<ReplacePlaceholderFile>,
    /// Does its policies again while a condition holds. Only in backend.
    #[serde(default)]
    pub(in crate::config) retry: Option<RetryFile>,
    /// Answers, and runs no other policy.
    #[serde(default)]
    pub(in crate::config) return_response: Option<ReplyFile>,
    /// Sets the path that the third party sees.
    #[serde(default)]
    pub(in crate::config) rewrite_uri: Option<RewriteUriFile>,
    /// Sends a request, of which nobody waits for the answer: to an audit log, say.
    #[serde(default)]
    pub(in crate::config) send_one_way_request: Option<SendRequestFile>,
    /// Sends a request, and keeps the answer in a variable.
    #[serde(default)]
    pub(in crate::config) send_request: Option<SendRequestFile>,
    /// Sends the request to one of `backends`, by its name, not to the third party's own servers. Host and TLS name are that
    /// server's.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) set_backend: Option<Text>,
    /// Sets the body: of the request in inbound and backend, of the answer in outbound and on-error.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) set_body: Option<Text>,
    /// Sets a header: of the request in inbound and backend, of the answer in outbound and on-error.
    #[serde(default)]
    pub(in crate::config) set_header: Option<SetHeaderFile>,
    /// Sets the request's method.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) set_method: Option<Text>,
    /// Sets a parameter of the request's query.
    #[serde(default)]
    pub(in crate::config) set_query_parameter: Option<SetQueryParameterFile>,
    /// Sets the answer's status.
    #[serde(default)]
    #[schemars(with = "Option<u16>", range(min = 200, max = 599))]
    pub(in crate::config) set_status: Option<Spanned<u16>>,
    /// Keeps a value for later expressions.
    #[serde(default)]
    pub(in crate::config) set_variable: Option<SetVariableFile>,
    /// Says something: a line of the access log, of `egret tail` and of Egret's own log.
    #[serde(default)]
    pub(in crate::config) trace: Option<telemetry::TraceFile>,
    /// Looks at the body: of the request in inbound (400 where it is not as it should be), of the answer in outbound (502).
    #[serde(default)]
    pub(in crate::config) validate_content: Option<ValidateContentFile>,
    /// Looks at the headers of the answer, as the API's `openapi` describes them; others are refused (502). Only in outbound.
    #[serde(default)]
    pub(in crate::config) validate_headers: Option<ValidateHeadersFile>,
    /// Lets requests through whose token (JWT) is valid; others are refused (401). Only in inbound.
    #[serde(default)]
    #[schemars(with = "Option<ValidateJwtFile>")]
    pub(in crate::config) validate_jwt: Option<Spanned<ValidateJwtFile>>,
    /// Looks at the headers, the query and the path of the request, as the API's `openapi` describes them; others are refused
    /// (400). Only in inbound.
    #[serde(default)]
    pub(in crate::config) validate_parameters: Option<ValidateParametersFile>,
    /// Looks at the status of the answer: what the API's `openapi` does not name is refused (502). Only in outbound.
    #[serde(default)]
    pub(in crate::config) validate_status_code: Option<ValidateStatusCodeFile>,
    /// Sends several requests at once.
    #[serde(default)]
    pub(in crate::config) wait: Option<WaitFile>,
    /// Lets some workloads through, or all but some; others are refused (403).
    #[serde(default)]
    #[schemars(with = "Option<WorkloadFilterFile>")]
    pub(in crate::config) workload_filter: Option<Spanned<WorkloadFilterFile>>,
    /// Makes JSON of a body in XML (UTF-8, without a document type): of the request in inbound, of the answer in outbound and
    /// on-error.
    #[serde(default)]
    pub(in crate::config) xml_to_json: Option<XmlToJsonFile>,
}
