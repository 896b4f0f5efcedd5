//! Policies: rules that look at messages and change them. [`policies!`] lists all kinds; each is in its own file of `kinds`, and
//! `engine` runs them without knowing them. Pure: what a policy needs beside the request comes from [`World`].

mod engine;
mod kinds;
mod state;

use std::sync::Arc;

use self::engine::{Compiled, Next, Now, Site, SometimesTimed, Timed};
use self::kinds::cache;
use crate::model::{Rules, Section, WorkloadFilter};

pub use self::engine::mask::fields as mask_fields;
pub use self::engine::meter::{Meters, Passed, Usage};
pub use self::engine::subscription::Used;
pub use self::engine::uses::{CacheUse, LimitUse};
pub use self::engine::{
    Account, Asked, Call, Change, Context, Dry, Effects, Fault, Held, Kind, MASK, Message, NeedsDescription, Outcome,
    Peeked, Reads, Recorded, Responds, Secrecy, Sections, Side, Signature, Source, State, Step, Trailers, Traits,
    Unanswerable, Want, WhenReported, Within, World, Written,
};
pub use self::kinds::authentication_oauth2::RefreshRow;
pub use self::kinds::forward_request::backends::BackendRow;
pub use self::kinds::quota::QuotaRow;
pub use self::kinds::quota::written::QuotaByKey;
pub use self::kinds::rate_limit::written::RateLimitByKey;
pub use self::kinds::send_request::written::SendOneWayRequest;

/// A policy, and where it is written.
pub type Policy = engine::Policy<Statement>;
/// The four sections, wider scopes included, in the order in which they run.
pub type Policies = engine::Policies<Statement>;
/// Policies under a condition.
pub type Branch = kinds::choose::Branch<Statement>;
/// Runs the policies of the first branch whose condition holds.
pub type Choose = kinds::choose::Choose<Statement>;
/// Runs its policies again while a condition holds.
pub type Retry = kinds::retry::Retry<Statement>;

/// Makes the enumeration of all kinds, and calls each in its manner:
/// - `now`: it needs no time, and is a plain call;
/// - `timed`: it waits for something, in a box of its own;
/// - `sometimes`: the policy says whether it waits;
/// - `forward`: it waits, and its future is a part of the caller's, because nearly every request has one;
/// - `branches` and `repeats`: it has other policies in it.
macro_rules! policies {
    ($(
        $kind:ident($type:ty) $(from $($part:ident)::+)? $(as $($key:ident $(by $form:ty)?),+)?: $manner:ident,
    )*) => {
        $($(
            #[allow(unreachable_pub, unused_imports, reason = "kinds of one family are in one file")]
            pub use self::kinds::$($part)::+::*;
        )?)*

        /// What a policy does: one of all kinds.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are the policies'")]
        pub enum Statement {
            $($kind($type),)*
        }

        impl Compiled for Statement {
            fn name(&self) -> &'static str {
                match self { $(Self::$kind(kind) => kind.name(),)* }
            }

            fn sections(&self) -> Sections {
                match self { $(Self::$kind(kind) => kind.sections(),)* }
            }

            fn traits(&self) -> Traits<'_> {
                match self { $(Self::$kind(kind) => kind.traits(),)* }
            }

            fn wants(&self, call: &Call<'_>) -> Want {
                match self { $(Self::$kind(kind) => kind.wants(call),)* }
            }

            fn inner(&self) -> Vec<(Within<'_>, &[Arc<Policy>])> {
                match self { $(Self::$kind(kind) => policies!(@inner $manner, kind),)* }
            }

            fn shallow(&self) -> Self {
                match self { $(Self::$kind(kind) => Self::$kind(policies!(@shallow $manner, kind)),)* }
            }

            fn now<'a>(
                policy: &'a Policy,
                call: &mut Call<'_>,
                world: &dyn World,
            ) -> Option<Result<Next<'a, Self>, Box<Fault>>> {
                let site = Site { id: policy.id.as_ref(), report: policy.report };
                match &policy.statement { $(Self::$kind(kind) => policies!(@now $manner, kind, site, call, world),)* }
            }

            fn timed<'a>(
                policy: &'a Policy,
                call: &'a mut Call<'_>,
                world: &'a mut dyn World,
            ) -> impl Future<Output = Result<Outcome, Box<Fault>>> + Send + 'a {
                let site = Site { id: policy.id.as_ref(), report: policy.report };
                async move {
                    match &policy.statement {
                        $(Self::$kind(kind) => policies!(@timed $manner, kind, site, call, world),)*
                    }
                }
            }

            fn before(section: Section, call: &mut Call<'_>, state: &State) {
                cache::before(section, call, state);
            }

            fn forwarded(failed: bool, call: &mut Call<'_>, state: &State) -> bool {
                cache::forwarded(failed, call, state)
            }

            fn accepted(call: &mut Call<'_>, state: &State) {
                cache::accepted(call, state);
            }
        }
    };
    (@inner branches, $kind:ident) => { $kind.inner() };
    (@inner repeats, $kind:ident) => { vec![(Within::Repeated, &*$kind.policies)] };
    (@inner $manner:ident, $kind:ident) => {{ let _ = $kind; Vec::new() }};
    (@shallow branches, $kind:ident) => { $kind.shallow() };
    (@shallow repeats, $kind:ident) => { $kind.shallow() };
    (@shallow $manner:ident, $kind:ident) => { $kind.clone() };
    (@now now, $kind:ident, $site:ident, $call:ident, $world:ident) => {
        Some($kind.run($site, $call, $world).map(Next::Ended))
    };
    (@now sometimes, $kind:ident, $site:ident, $call:ident, $world:ident) => {
        if $kind.waits() { None } else { Some($kind.run($site, $call, $world).map(Next::Ended)) }
    };
    (@now branches, $kind:ident, $site:ident, $call:ident, $world:ident) => { Some($kind.run($call).map(Next::Branch)) };
    (@now $manner:ident, $kind:ident, $site:ident, $call:ident, $world:ident) => {{ let _ = $kind; None }};
    (@timed timed, $kind:ident, $site:ident, $call:ident, $world:ident) => { $kind.run($site, $call, $world).await };
    (@timed sometimes, $kind:ident, $site:ident, $call:ident, $world:ident) => {
        $kind.run_timed($site, $call, $world).await
    };
    (@timed repeats, $kind:ident, $site:ident, $call:ident, $world:ident) => { $kind.run($call, $world).await };
    (@timed forward, $kind:ident, $site:ident, $call:ident, $world:ident) => {
        kinds::forward_request::run($kind, $call, $world).await.map(|()| Outcome::Continue)
    };
    // These have run already: they need no time.
    (@timed $manner:ident, $kind:ident, $site:ident, $call:ident, $world:ident) => {{
        let _ = $kind;
        Ok(Outcome::Continue)
    }};
}

/// The registry of policies, which it hands to a macro: the name of the kind and its type; the file of `kinds` that it is from; the
/// keys under which it is written, each by its [`Form`](crate::syntax::Form), where that is another type; and how it runs.
/// `choose` and `retry` have no key here: they contain policies, and the configuration compiles lists of policies.
macro_rules! registry {
    ($make:ident) => {
        $make! {
            AuthenticationApiKey(ApiKey) from authentication_api_key as authentication_api_key: now,
            AuthenticationAwsSigv4(Box<AwsSigv4>) from authentication_aws_sigv4 as authentication_aws_sigv4: now,
            AuthenticationBasic(Basic) from authentication_basic as authentication_basic: now,
            AuthenticationHmac(Box<Hmac>) from authentication_hmac as authentication_hmac: now,
            AuthenticationOauth2(Oauth2) from authentication_oauth2 as authentication_oauth2: timed,
            CacheLookup(CacheLookup) from cache::compiled as cache_lookup: sometimes,
            CacheLookupValue(CacheLookupValue) from cache::compiled as cache_lookup_value: now,
            CacheRemoveValue(CacheRemoveValue) from cache::compiled as cache_remove_value: now,
            CacheStore(CacheStore) from cache::compiled as cache_store: now,
            CacheStoreValue(CacheStoreValue) from cache::compiled as cache_store_value: now,
            CheckHeader(CheckHeader) from check_header as check_header: now,
            Choose(Choose): branches,
            EmitMetric(EmitMetric) from emit_metric as emit_metric: now,
            FindAndReplace(FindAndReplace) from find_and_replace as find_and_replace: now,
            ForwardRequest(Forward) from forward_request as forward_request: forward,
            IpFilter(IpFilter) from ip_filter as ip_filter: now,
            JsonToXml(JsonToXml) from json_to_xml as json_to_xml: now,
            LimitConcurrency(LimitConcurrency) from limit_concurrency as limit_concurrency: now,
            LlmEmitTokenMetric(LlmTokenMetric) from llm_emit_token_metric as llm_emit_token_metric: now,
            LlmTokenLimit(LlmTokenLimit) from llm_token_limit as llm_token_limit: now,
            Log(Log) from log as log: now,
            MockResponse(MockResponse) from mock_response as mock_response: now,
            Quota(Quota) from quota as quota, quota_by_key by QuotaByKey: sometimes,
            RateLimit(RateLimit) from rate_limit as rate_limit, rate_limit_by_key by RateLimitByKey: sometimes,
            ReplacePlaceholder(ReplacePlaceholder) from replace_placeholder as replace_placeholder: now,
            Retry(Retry): repeats,
            ReturnResponse(ReturnResponse) from return_response as return_response: now,
            RewriteUri(RewriteUri) from rewrite_uri as rewrite_uri: now,
            SendRequest(SendRequest) from send_request as send_one_way_request by SendOneWayRequest, send_request: timed,
            SetBackend(SetBackend) from set_backend as set_backend: now,
            SetBody(SetBody) from set_body as set_body: now,
            SetHeader(SetHeader) from set_header as set_header: now,
            SetMethod(SetMethod) from set_method as set_method: now,
            SetQueryParameter(SetQueryParameter) from set_query_parameter as set_query_parameter: now,
            SetStatus(SetStatus) from set_status as set_status: now,
            SetVariable(SetVariable) from set_variable as set_variable: now,
            Trace(Trace) from trace as trace: now,
            ValidateContent(ValidateContent) from validate_content as validate_content: now,
            ValidateHeaders(ValidateHeaders) from validate_headers as validate_headers: now,
            ValidateJwt(Box<ValidateJwt>) from validate_jwt::compiled as validate_jwt: sometimes,
            ValidateParameters(ValidateParameters) from validate_parameters as validate_parameters: now,
            ValidateStatusCode(ValidateStatusCode) from validate_status_code as validate_status_code: now,
            Wait(Wait) from wait as wait: timed,
            WorkloadFilter(WorkloadFilter) from workload_filter as workload_filter: now,
            XmlToJson(XmlToJson) from xml_to_json as xml_to_json: now,
        }
    };
}
pub(crate) use registry;

registry!(policies);

impl Statement {
    /// Returns the name in the configuration, in logs and in the CLI.
    pub fn label(&self) -> &'static str {
        self.name()
    }

    /// Returns what is to be known of it before it runs.
    pub fn properties(&self) -> Traits<'_> {
        self.traits()
    }

    /// Returns the sections in which it works.
    pub fn places(&self) -> Sections {
        self.sections()
    }

    /// Returns the lists of policies in it: one for each branch.
    pub fn branches(&self) -> Vec<(Within<'_>, &[Arc<Policy>])> {
        Compiled::inner(self)
    }

    /// Returns the policies in it.
    pub fn inner(&self) -> impl Iterator<Item = &Arc<Policy>> {
        Compiled::inner(self).into_iter().flat_map(|(_, policies)| policies)
    }

    /// Returns the same policy without the policies in it.
    pub fn without_inner(&self) -> Self {
        self.shallow()
    }

    /// Returns whether something holds for it, or for a policy in it.
    pub fn any(&self, holds: &dyn Fn(&Self) -> bool) -> bool {
        engine::any(self, holds)
    }
}

impl Policies {
    /// Returns whether there is nothing to do but to forward the request.
    pub fn is_empty(&self) -> bool {
        let Self { inbound, backend, outbound, on_error, .. } = self;
        [inbound, outbound, on_error].iter().all(|section| section.is_empty())
            && backend.iter().all(|policy| policy.statement == Statement::ForwardRequest(Forward::default()))
    }
}

/// Finds the operation of a request and runs its policies. The response is in the call then.
///
/// # Errors
/// The third party gave no response and on-error has none: the caller sees what it would have seen without Egret.
pub async fn run<'a>(call: &mut Call<'a>, rules: &'a Rules, world: &mut dyn World) -> Result<(), Box<Fault>> {
    engine::run::<Statement>(call, rules, world).await
}
