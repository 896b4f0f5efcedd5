//! Policies as written.

mod conversion;
mod credentials;
mod ip_filter;
pub(in crate::config) mod llm;
mod outside;
pub(in crate::config) mod telemetry;
mod validation;

use std::collections::BTreeMap;
use std::fmt;

pub(in crate::config) use credentials::{
    ApiKeyFile, AwsSigv4File, HmacFile, INSTEAD, JwtKeyFile, RequiredClaimFile, ValidateJwtFile,
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::Spanned;

pub(in crate::config) use self::conversion::{JsonToXmlFile, XmlToJsonFile};
pub(in crate::config) use self::ip_filter::IpFilterFile;
pub(in crate::config) use self::validation::{
    ContentFile, DescribedFile, ValidateContentFile, ValidateHeadersFile, ValidateParametersFile,
    ValidateStatusCodeFile,
};
pub(in crate::config) use outside::{
    BreakerFile, HealthFile, Oauth2File, SendRequestFile, ServiceFile, TlsFile, WaitFile,
};

type Text = Spanned<String>;

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

/// `Authorization: Basic`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BasicFile {
    /// Who; without a colon.
    #[schemars(with = "String")]
    pub(in crate::config) username: Text,
    /// Proof, as a rule `{{named value}}`.
    #[schemars(with = "String")]
    pub(in crate::config) password: Text,
}

/// Answers from what is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupFile {
    /// Headers of the request by which answers differ, beside those that the third party names (Vary).
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) vary_by_header: Vec<Text>,
    /// The parameters of the query by which answers differ. Default: all.
    #[serde(default)]
    pub(in crate::config) vary_by_query_parameter: Option<Vec<String>>,
    /// Whether workloads do not share answers. Default false.
    #[serde(default)]
    pub(in crate::config) vary_by_workload: bool,
    /// Whether also requests with an Authorization of the caller's are looked up. Default false.
    #[serde(default)]
    pub(in crate::config) share_authorized: bool,
}

/// Keeps the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreFile {
    /// How long it is fresh. Default: as long as the third party says.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) duration: Option<Text>,
    /// How long after that it is given where the third party gives none, or one of 500 and more. Default 0s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) stale_if_error: Option<Text>,
}

/// Reads a value that was kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// The variable that it goes to.
    #[schemars(with = "String")]
    pub(in crate::config) variable: Text,
    /// An expression: what it is if there is none. Default: null.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) default: Option<Text>,
}

/// Keeps a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// How long, like 5m.
    #[schemars(with = "String")]
    pub(in crate::config) duration: Text,
}

/// Forgets a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheRemoveValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
}

/// Refuses requests without a header.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CheckHeaderFile {
    /// The header.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// What it may say. Default: anything.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
    /// Whether `A` is `a`. Default false.
    #[serde(default)]
    pub(in crate::config) ignore_case: bool,
    /// What is answered. Default 401.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub(in crate::config) failed_status: Option<u16>,
    /// In the answer.
    #[serde(default)]
    pub(in crate::config) failed_message: Option<String>,
}

/// A condition and its policies.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BranchFile {
    /// An expression.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) when: Option<Text>,
    /// What is done where it holds.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) then: Option<Vec<Spanned<Step>>>,
    /// What is done where none before it holds; the last of the list.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) otherwise: Option<Vec<Spanned<Step>>>,
}

/// Replaces a text in the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct FindAndReplaceFile {
    /// What is looked for.
    #[schemars(with = "String")]
    pub(in crate::config) from: Text,
    /// What comes in its place.
    #[schemars(with = "String")]
    pub(in crate::config) to: Text,
}

/// Sends the request to the third party.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ForwardFile {
    /// Longest wait for the head of the answer; beyond, error `upstream_timeout` (504). Default: none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// Whether an answer of 400 or more is an error, for on-error. Default false.
    #[serde(default)]
    pub(in crate::config) fail_on_error_status: bool,
    /// How many redirects to the third party itself are followed; those that lead elsewhere go to the caller. What has a body is
    /// only sent again if a policy looks at it. Default 0.
    #[serde(default)]
    #[schemars(range(max = 20))]
    pub(in crate::config) follow_redirects: u32,
}

/// Refuses requests beyond so many at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LimitConcurrencyFile {
    /// How many.
    #[schemars(with = "u32", range(min = 1))]
    pub(in crate::config) max: Spanned<u32>,
    /// An expression: what is counted on its own. Default: everything together.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
}

/// An answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ReplyFile {
    /// Default 200.
    #[serde(default)]
    #[schemars(range(min = 200, max = 599))]
    pub(in crate::config) status: Option<u16>,
    /// Name and value.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) headers: BTreeMap<String, Text>,
    /// What it says. Default: nothing.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) body: Option<Text>,
}

/// Refuses calls beyond so many in a long period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct QuotaFile {
    /// How many calls. This, `bytes`, or both.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) calls: Option<u64>,
    /// How many bytes, of the bodies of requests and answers. What is under way when they are used up goes on to its end.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) bytes: Option<u64>,
    /// A time like 1d, at least 1m; periods follow one another from the start of 1970 (UTC). Default: for ever.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) period: Option<Text>,
    /// An expression: what is counted on its own. For `quota-by-key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// An expression: whether a call counts. Default: each does.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// Header of the answer that says how many calls are left.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
}

/// Refuses calls beyond so many in a period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RateLimitFile {
    /// How many.
    #[schemars(with = "u32", range(min = 1))]
    pub(in crate::config) calls: Spanned<u32>,
    /// In any time of this length, like 1m; at most 1h.
    #[schemars(with = "String")]
    pub(in crate::config) period: Text,
    /// An expression: what is counted on its own. For `rate-limit-by-key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// An expression: whether a call counts. Default: each does.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// Header of the answer that says how many calls are left.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
    /// Header of the answer that says how many calls there are in all.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) total_header: Option<Text>,
}

/// Does its policies again while a condition holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RetryFile {
    /// An expression. Default: there was no answer, or one of 502, 503 or 504.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// How many times more.
    #[schemars(with = "u32", range(min = 1, max = 50))]
    pub(in crate::config) count: Spanned<u32>,
    /// The first pause; each further one is twice as long, less up to a half by chance. An answer's `Retry-After` is
    /// waited for instead, if it is not longer than `max_interval`. Default 100ms.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// The longest pause. Default 10s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) max_interval: Option<Text>,
    /// Whether also requests that are not safe to be sent twice (POST, PATCH). Default false.
    #[serde(default)]
    pub(in crate::config) any_method: bool,
    /// Of a hundred requests so many may be sent again, beside ten at any time: a third party that is down is not asked many
    /// times as often. 0 is no bound. Default 20.
    #[serde(default)]
    #[schemars(range(max = 5000))]
    pub(in crate::config) budget: Option<u32>,
    /// What is done. Default: `forward-request`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) policies: Option<Vec<Spanned<Step>>>,
}

/// Puts a secret where the caller has written a placeholder.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ReplacePlaceholderFile {
    /// What callers are configured with instead of the secret: at least 8 letters, digits, `-` and `_`.
    #[schemars(with = "String")]
    pub(in crate::config) placeholder: Text,
    /// `{{named value}}`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
}

/// Sets the path that the third party sees.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RewriteUriFile {
    /// A path, perhaps with a query: `/v2/prices/${request.parameters.id}`.
    #[schemars(with = "String")]
    pub(in crate::config) template: Text,
    /// Whether the request's query goes along. Default true.
    #[serde(default)]
    pub(in crate::config) copy_query: Option<bool>,
}

/// Sets a header.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetHeaderFile {
    /// The header.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Where there is one: `override` (default), `skip`, `append` or `delete`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) exists_action: Option<Text>,
    /// What it says.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Instead of `value`: one header for each of these.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
}

/// Sets a parameter of the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetQueryParameterFile {
    /// Its name.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Where there is one: `override` (default), `skip`, `append` or `delete`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) exists_action: Option<Text>,
    /// What it is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Instead of `value`: one parameter for each of these.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
}

/// Keeps a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetVariableFile {
    /// Expressions say `variables.NAME`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
}

/// Lets some workloads through, or all but some.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WorkloadFilterFile {
    /// Those that are let through.
    #[serde(default)]
    pub(in crate::config) allow: Option<Vec<WorkloadFile>>,
    /// Those that are refused.
    #[serde(default)]
    pub(in crate::config) forbid: Option<Vec<WorkloadFile>>,
}

/// APIs for those who have subscribed.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProductFile {
    /// Unique.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Names of APIs.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(in crate::config) apis: Vec<Text>,
    /// Whether requests of others to these APIs are refused (401). Default true.
    #[serde(default)]
    pub(in crate::config) subscription_required: Option<bool>,
    /// Who has subscribed; a caller has the first subscription that it is like.
    #[serde(default)]
    pub(in crate::config) subscriptions: Vec<SubscriptionFile>,
    /// What is done with the requests of those who have: between the policies of all APIs and those of the API.
    #[serde(default)]
    pub(in crate::config) policies: Option<PoliciesFile>,
}

/// Callers of a product: `workloads`, `key`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SubscriptionFile {
    /// Unique.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Any of these.
    #[serde(default)]
    pub(in crate::config) workloads: Vec<WorkloadFile>,
    /// What they say in the header `Egret-Subscription-Key`, as a rule `{{named value}}`; the third party does not see it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
}

/// What a workload is known by; all that is said must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WorkloadFile {
    /// Its name, as `egret inspect flows` shows it; `*` stands for anything.
    #[serde(default)]
    pub(in crate::config) name: Option<String>,
    /// The path of its cgroup; `*` stands for anything.
    #[serde(default)]
    pub(in crate::config) cgroup: Option<String>,
    /// The unit of the node's systemd; `*` stands for anything, but not for none, here and below.
    #[serde(default)]
    pub(in crate::config) unit: Option<String>,
    /// The id of its container, in full. Whoever may make cgroups calls his own as he likes: say also whose it is.
    #[serde(default)]
    pub(in crate::config) container: Option<String>,
    /// The uid of its Kubernetes pod.
    #[serde(default)]
    pub(in crate::config) pod: Option<String>,
    /// The path of what it runs. Others can call theirs so in a container: say also whose.
    #[serde(default)]
    pub(in crate::config) executable: Option<String>,
    /// Its user's number.
    #[serde(default)]
    pub(in crate::config) uid: Option<u32>,
    /// Its user's name on the node, or the number.
    #[serde(default)]
    pub(in crate::config) user: Option<String>,
}

/// A value that is kept elsewhere: templates say `{{name}}`. One of `file`, `env`, `credential` and `value`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct NamedValueFile {
    /// Path of a file with it; read again when it changes. A secret.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) file: Option<Text>,
    /// Variable of Egret's environment. A secret.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) env: Option<Text>,
    /// Name of a systemd credential (`LoadCredential=`). A secret.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) credential: Option<Text>,
    /// Itself, for all to see.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
}

/// What a third party offers to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct OperationFile {
    /// Unique in its API.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Default: any.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) method: Option<Text>,
    /// Like `/prices/{id}`; `*` as the last segment stands for any rest. Default: that of the operation of this name in
    /// `openapi`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) path: Option<Text>,
    /// What is done with its requests.
    #[serde(default)]
    pub(in crate::config) policies: Option<PoliciesFile>,
}
