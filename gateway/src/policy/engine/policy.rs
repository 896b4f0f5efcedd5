//! A policy where it is written, and the lists of policies for a request.

use std::sync::Arc;

use super::kind::WhenReported;

/// A policy, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy<K> {
    /// The `id` of the policy.
    pub id: Option<Arc<str>>,
    /// The scope in which the policy is written: `global`, `api partner`, `operation get-price`.
    pub scope: Arc<str>,
    /// Whether the policy only reports what it would do.
    pub report: bool,
    /// What the policy does.
    pub statement: K,
    /// What the configuration says of the policy.
    pub written: Written,
    /// What the engine needs to know while it runs.
    pub(in crate::policy) needs: Needs,
}

/// What the engine needs to know of a policy while it runs: what of [`super::kind::Traits`] is asked for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Needs {
    /// Whether it reads the body of the request, and of the response, as texts.
    pub(in crate::policy) text: [bool; 2],
    /// Whether it takes the body of the request as it is.
    pub(in crate::policy) request_bytes: bool,
    /// Whether its kind says for each message what it needs.
    pub(in crate::policy) asks: bool,
    /// Whether anything must, or may have to, be there before it runs.
    pub(in crate::policy) anything: bool,
    pub(in crate::policy) when_reported: WhenReported,
}

/// The keys of a policy and their values in YAML, for people. A policy without keys has one value, with an empty key.
#[derive(Clone, Debug, Default)]
pub struct Written(pub Vec<(String, String)>);

/// Two texts may mean the same, so what is written makes no difference between policies.
impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// The four sections, wider scopes included, in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies<K> {
    /// The policies that run before the request is forwarded.
    pub inbound: Vec<Arc<Policy<K>>>,
    /// The policies that forward the request.
    pub backend: Vec<Arc<Policy<K>>>,
    /// The policies that run before the response is sent to the caller.
    pub outbound: Vec<Arc<Policy<K>>>,
    /// The policies that run after a failure.
    pub on_error: Vec<Arc<Policy<K>>>,
    /// Whether a policy reads the request after it was sent.
    pub reads_sent_request: bool,
}

impl<K> Default for Policies<K> {
    fn default() -> Self {
        let [inbound, backend, outbound, on_error] = [const { Vec::new() }; 4];
        Self { inbound, backend, outbound, on_error, reads_sent_request: false }
    }
}
