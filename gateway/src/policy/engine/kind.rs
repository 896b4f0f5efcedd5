//! What each kind of policy says of itself, and how it runs.

use std::fmt::Debug;
use std::sync::Arc;

use super::call::Call;
use super::fault::Fault;
use super::world::World;
use crate::model::{CredentialPlace, Endpoint, Expression, Pending, Section, Service, Template};

/// A kind of policy. What it says here, the engine and the room `config` need to know of it.
pub trait Kind: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The name in the configuration, in logs and in the CLI.
    const NAME: &'static str;
    /// The sections in which it works.
    const SECTIONS: Sections;

    /// Returns the name under which this one is written, where the kind has several names.
    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// Returns the sections in which it works.
    fn sections(&self) -> Sections {
        Self::SECTIONS
    }

    /// Returns what is to be known of it before it runs.
    fn traits(&self) -> Traits<'_>;

    /// Returns what must be there before it runs. Only asked where [`Traits::reads`] is [`Reads::AsTheMessageSays`].
    fn wants(&self, _: &Call<'_>) -> Want {
        Want::Nothing
    }
}

/// A kind that needs no time: it runs as a plain call.
pub(in crate::policy) trait Now: Kind {
    /// Runs the policy.
    ///
    /// # Errors
    /// The request fails.
    fn run(&self, site: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>>;
}

/// A kind that waits for something.
pub(in crate::policy) trait Timed: Kind {
    /// Runs the policy.
    ///
    /// # Errors
    /// The request fails.
    fn run<'a>(
        &'a self,
        site: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>>;
}

/// A kind of which some policies wait for something and others do not.
pub(in crate::policy) trait SometimesTimed: Now {
    /// Returns whether this policy waits for something.
    fn waits(&self) -> bool;

    /// Runs the policy where it waits.
    ///
    /// # Errors
    /// The request fails.
    fn run_timed<'a>(
        &'a self,
        site: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>>;
}

/// The policy that runs, as far as its kind may know it.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Site<'a> {
    /// The `id` of the policy.
    pub(in crate::policy) id: Option<&'a Arc<str>>,
    /// Whether the policy only reports.
    pub(in crate::policy) report: bool,
}

/// How a policy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The policies after it run.
    Continue,
    /// There is a response; the request is not forwarded, and outbound runs.
    Mocked,
    /// There is a response, and no further policy runs.
    Respond,
}

/// Where a kind of policy works, and what is said where it does not.
#[derive(Clone, Copy, Debug)]
pub struct Sections {
    /// The sections in which it works.
    pub places: &'static [Section],
    /// What is wrong in the others.
    pub rule: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

impl Sections {
    /// It works in all sections.
    pub const ALL: Self =
        Self { places: &[Section::Inbound, Section::Backend, Section::Outbound, Section::OnError], rule: "", help: "" };
    /// It works before the request is forwarded, and only there.
    pub const INBOUND: Self =
        Self { places: &[Section::Inbound], rule: "works only in the inbound section", help: "move it to inbound" };
    /// It forwards the request.
    pub const BACKEND: Self =
        Self { places: &[Section::Backend], rule: "works only in the backend section", help: "move it to backend" };
    /// It works on the response of the third party.
    pub const OUTBOUND: Self =
        Self { places: &[Section::Outbound], rule: "works only in the outbound section", help: "move it to outbound" };
    /// It changes the request.
    pub const REQUEST: Self = Self {
        places: &[Section::Inbound, Section::Backend],
        rule: "cannot change a request that has been forwarded",
        help: "move it to inbound",
    };
}

/// What is to be known of a policy before it runs. There is no default, so that each kind says all of it.
#[derive(Debug)]
pub struct Traits<'a> {
    /// Its own expressions, those of its templates included, and those of the policies in it excluded.
    pub expressions: Vec<&'a Expression>,
    /// Those of them that decide which policies run.
    pub conditions: Vec<&'a Expression>,
    /// The servers that it may send requests to.
    pub endpoints: Vec<&'a Endpoint>,
    /// The backend that it chooses for the request.
    pub backend: Option<&'a Service>,
    /// Which bodies it reads, beside those that its expressions read.
    pub reads: Reads,
    /// Whether it reads the request where that may have been sent already, beside what its expressions read.
    pub reads_sent_request: bool,
    /// Whether it depends on the response although it stands before it.
    pub waits_for_response: bool,
    /// Whether a connection that becomes a tunnel after one request would get past it: it counts requests, or looks at what they say.
    pub needs_every_request: bool,
    /// What it changes in the request.
    pub changes: Vec<Change<'a>>,
    /// Whether it puts a secret into the request.
    pub puts_secret: bool,
    /// What it signs of the request.
    pub signs: Option<Signature<'a>>,
    /// How it answers the request, if it does.
    pub responds: Responds,
    /// Those of its expressions by which it counts requests, or repeats them.
    pub counts_by: Vec<&'a Expression>,
    /// What it needs of the description of the API, with the bodies that it lets through.
    pub described: Option<NeedsDescription>,
    /// Whether it can name files, whose contents can differ although the policy is written in the same way.
    pub names_files: bool,
    /// What happens where the policy only reports.
    pub when_reported: WhenReported,
}

/// Returns the expressions of templates.
pub(in crate::policy) fn expressions<'a>(templates: impl IntoIterator<Item = &'a Template>) -> Vec<&'a Expression> {
    templates.into_iter().flat_map(Template::expressions).collect()
}

/// Which bodies a policy reads as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It reads no body.
    Nothing,
    /// It reads the body of the request as a text.
    RequestText,
    /// It reads the body of the request as it is, compressed or not.
    RequestBytes,
    /// It depends on the message: [`Kind::wants`] says it.
    AsTheMessageSays,
}

/// What must be there before a policy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing is needed.
    Nothing,
    /// The body that the section is about, as a text.
    Text,
    /// The body of the request, as it is.
    Request,
    /// The body of the response, unless it is longer than policies may read.
    ResponseIfShort,
    /// At most this many bytes of the beginning of the response's body.
    Peek(usize),
}

/// A part of the request that a policy changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Change<'a> {
    Body,
    Header(&'a str),
    Host,
    Method,
    Path,
    Query,
}

impl<'a> Change<'a> {
    /// The changes of a policy that replaces the body.
    pub const BODY: [Change<'static>; 3] =
        [Change::Body, Change::Header("content-length"), Change::Header("content-encoding")];

    /// Returns the change that a credential makes.
    pub fn of(place: &'a CredentialPlace) -> Self {
        match place {
            CredentialPlace::Header(name) => Self::Header(name.as_str()),
            CredentialPlace::QueryParameter(_) => Self::Query,
        }
    }
}

/// What a policy signs of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The name of the policy.
    pub by: &'static str,
    /// Where the signature stands, where a policy of this kind can sign for several places.
    pub at: Option<&'a CredentialPlace>,
    /// The parts of the request that it covers.
    pub covers: Vec<Change<'a>>,
    /// What the names of further header fields begin with that it covers.
    pub covers_headers_like: Option<&'static str>,
}

impl Signature<'_> {
    /// Returns whether the signature is worth nothing after a change.
    pub fn is_broken_by(&self, change: Change<'_>) -> bool {
        let is_like = |name: &str| self.covers_headers_like.is_some_and(|beginning| name.starts_with(beginning));
        self.covers.contains(&change) || matches!(change, Change::Header(name) if is_like(name))
    }

    /// Returns whether this signature takes the place of an earlier one.
    pub fn replaces(&self, earlier: &Signature<'_>) -> bool {
        (self.by, self.at) == (earlier.by, earlier.at)
    }
}

/// When the policies in another policy run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within<'a> {
    /// They run if this condition holds, and none before it.
    When(&'a Expression),
    /// They run if no condition holds.
    Otherwise,
    /// They run, perhaps again.
    Repeated,
}

/// How a policy answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responds {
    /// It never does.
    Never,
    /// It may have a response from an earlier request.
    FromCache,
    /// It always has a response of its own.
    Itself,
    /// It forwards the request.
    Forwards,
    /// It repeats policies that forward the request.
    Repeats,
}

/// What a policy needs of the API's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedsDescription {
    /// The bodies of the section's messages, where it does not bring all schemas itself; the largest body that it lets through.
    Bodies {
        /// Whether it needs the schemas of the description.
        needed: bool,
        /// In bytes; 0 where it says nothing.
        most: usize,
    },
    /// The header fields of responses.
    ResponseHeaders,
    /// The parameters of requests.
    Parameters,
    /// The statuses of responses.
    Statuses,
}

/// What happens to a policy with `enabled: report`. [`super::effects`] says the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenReported {
    /// It runs as it does without: it only decides which other policies run, and those report themselves.
    Runs,
    /// It is evaluated: its counts stay, its changes of the message and its records do not.
    Evaluated,
    /// It does not run: it would send something, or keep something for other requests.
    Withheld,
}
