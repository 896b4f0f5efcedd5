//! The list of all kinds of policies as the engine sees it: it does not know them.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::call::Call;
use super::fault::Fault;
use super::kind::{Outcome, Reads, Sections, Traits, Want, Within};
use super::policy::{Needs, Policies, Policy, Written};
use super::state::State;
use super::world::World;
use crate::model::{CarriedPolicies, CompiledPolicies, Endpoint, Expression, Section};

/// The kinds of policies that there are. `policies!` implements it for the enumeration of them.
pub trait Compiled: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Returns the name in the configuration, in logs and in the CLI.
    fn name(&self) -> &'static str;
    /// Returns the sections in which it works.
    fn sections(&self) -> Sections;
    /// Returns what is to be known of it before it runs.
    fn traits(&self) -> Traits<'_>;
    /// Returns what must be there before it runs.
    fn wants(&self, call: &Call<'_>) -> Want;
    /// Returns the lists of policies in it, and when each runs.
    fn inner(&self) -> Vec<(Within<'_>, &[Arc<Policy<Self>>])>;
    /// Returns the same policy without the policies in it.
    fn shallow(&self) -> Self;

    /// Runs a policy, unless it needs time.
    fn now<'a>(
        policy: &'a Policy<Self>,
        call: &mut Call<'_>,
        world: &dyn World,
    ) -> Option<Result<Next<'a, Self>, Box<Fault>>>;

    /// Runs a policy that needs time.
    fn timed<'a>(
        policy: &'a Policy<Self>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> impl Future<Output = Result<Outcome, Box<Fault>>> + Send + 'a;

    /// Is told that a request begins its policies, and that it is about to be forwarded as they have changed it.
    fn before(section: Section, call: &mut Call<'_>, state: &State);

    /// Is told that the request was forwarded, or that this failed. Returns whether another response has taken the place of what came.
    fn forwarded(failed: bool, call: &mut Call<'_>, state: &State) -> bool;

    /// Is told that the response of the third party is used.
    fn accepted(call: &mut Call<'_>, state: &State);
}

/// Returns whether something holds for a policy, or for one in it.
pub(in crate::policy) fn any<K: Compiled>(kind: &K, holds: &dyn Fn(&K) -> bool) -> bool {
    holds(kind)
        || kind.inner().into_iter().flat_map(|(_, policies)| policies).any(|policy| any(&policy.statement, holds))
}

/// How a policy goes on: it has ended, or it goes on with the policies of a branch.
#[derive(Debug)]
pub enum Next<'a, K> {
    /// The policy has ended.
    Ended(Outcome),
    /// These policies run in its place.
    Branch(&'a [Arc<Policy<K>>]),
}

impl<K: Compiled> Policy<K> {
    /// Returns the policy with what the configuration says of it.
    #[must_use]
    pub fn written(self, written: Written) -> Self {
        Self { written, ..self }
    }

    /// Returns a policy of this scope.
    pub fn new(id: Option<Arc<str>>, scope: Arc<str>, report: bool, statement: K) -> Self {
        let traits = statement.traits();
        let mut text = [traits.reads == Reads::RequestText, false];
        let mut request_bytes = traits.reads == Reads::RequestBytes;
        for expression in &traits.expressions {
            text[0] |= expression.reads_request_body;
            text[1] |= expression.reads_response_body;
            request_bytes |= expression.reads_request_bytes;
        }
        let asks = traits.reads == Reads::AsTheMessageSays;
        let anything = request_bytes || asks || text.contains(&true);
        let needs = Needs { text, request_bytes, asks, anything, when_reported: traits.when_reported };
        drop(traits);
        Self { id, scope, report, statement, written: Written::default(), needs }
    }
}

impl<K: Compiled> Policies<K> {
    /// Returns lists of policies in their order.
    pub fn new([inbound, backend, outbound, on_error]: [Vec<Arc<Policy<K>>>; 4]) -> Self {
        let waits =
            |policy: &Arc<Policy<K>>| any(&policy.statement, &|statement| statement.traits().waits_for_response);
        let reads_sent_request = [&backend, &outbound, &on_error].into_iter().any(|list| list_reads_request(list))
            || inbound.iter().any(waits);
        Self { inbound, backend, outbound, on_error, reads_sent_request }
    }

    /// Returns the policies that the model carries. They are none where it carries nothing.
    pub fn of(carried: &CarriedPolicies) -> Option<&Self> {
        let carried: &dyn Any = carried.get()?;
        carried.downcast_ref()
    }

    /// Returns all four sections.
    pub fn sections(&self) -> [&[Arc<Policy<K>>]; 4] {
        [&self.inbound, &self.backend, &self.outbound, &self.on_error]
    }
}

/// Returns whether one of these policies reads the request where it may have been sent already.
fn list_reads_request<K: Compiled>(policies: &[Arc<Policy<K>>]) -> bool {
    policies.iter().any(|policy| {
        let traits = policy.statement.traits();
        let in_expression = |expression: &&Expression| expression.program.references().has_variable("request");
        traits.reads_sent_request
            || traits.expressions.iter().any(in_expression)
            || policy.statement.inner().into_iter().any(|(_, inner)| list_reads_request(inner))
    })
}

impl<K: Compiled> CompiledPolicies for Policies<K> {
    fn is_equal(&self, other: &dyn CompiledPolicies) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>() == Some(self)
    }

    fn each_endpoint(&self, see: &mut dyn FnMut(&Endpoint)) {
        self.sections().into_iter().for_each(|policies| each_endpoint(policies, see));
    }
}

fn each_endpoint<K: Compiled>(policies: &[Arc<Policy<K>>], see: &mut dyn FnMut(&Endpoint)) {
    for policy in policies {
        policy.statement.traits().endpoints.into_iter().for_each(&mut *see);
        policy.statement.inner().into_iter().for_each(|(_, inner)| each_endpoint(inner, see));
    }
}
