//! What would be done with a request, or what was, and what happens to connections to a destination, for a person who asks.

mod destination;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, request};

use crate::admin::{Explained, MessageRow, Question, StepRow};
use crate::connection::{self, Rooms, Sample, Sampled};
use crate::model::{
    Admission, Api, ApiId, Host, Mode, Model, OriginalDst, Reason, Rules, Strangers, UnlistedAction, UnlistedClass,
    Workload,
};
use crate::permit;
use crate::policy::{self, Account, Call, Dry, Recorded, State, Step};

pub use destination::{Destination, Live, PlaceOf, Row, destination};

/// What policies remember before the request, and the time on their clock.
#[derive(Debug, Default)]
pub struct Before {
    /// Counts of limits. They are a copy: the request changes nothing.
    pub state: State,
    /// The time, as [`connection::clock`] gives it.
    pub at: Duration,
}

/// Returns what would be done with a request under a configuration. Nothing is sent, and the third party's response is assumed to
/// have this status.
///
/// # Errors
/// The question is not a request.
pub async fn dry(question: &Question, model: &Model, status: StatusCode, before: Before) -> anyhow::Result<Explained> {
    let asked = Asked::read(question)?;
    let Some((_, api)) = asked.api(model) else {
        return Ok(Explained { note: Some(asked.unlisted(model)), ..Explained::default() });
    };
    let explained = begun(model, api, &asked.host);
    if let Some(why) = asked.not_admitted(api) {
        return Ok(Explained { note: Some(why), ..explained });
    }
    match (asked.unseen(model, api), &api.rules) {
        (Some(why), _) => Ok(Explained { note: Some(why), ..explained }),
        (None, None) => Ok(Explained { note: Some(NO_POLICIES.to_owned()), ..explained }),
        (None, Some(rules)) => Ok(told(asked.run(api, rules, status, before).await, explained)),
    }
}

/// Sends it, and says what was done.
///
/// # Errors
/// It is no request, or none that the gateway would see: nothing was sent then.
pub async fn send(question: &Question, model: Arc<Model>, rooms: Arc<Rooms>) -> anyhow::Result<Explained> {
    let asked = Asked::read(question)?;
    let (id, api) = asked.api(&model).with_context(|| format!("nothing was sent: {}", asked.unlisted(&model)))?;
    if let Some(why) = asked.not_admitted(api).or_else(|| asked.unseen(&model, api)) {
        anyhow::bail!("nothing was sent: {why}");
    }
    let explained = begun(&model, api, &asked.host);
    let no_policies = api.rules.is_none().then(|| NO_POLICIES.to_owned());
    let address = asked.address.or_else(|| (rooms.addresses)(&asked.host).first().copied());
    let sample = Sample {
        original_dst: OriginalDst(SocketAddr::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), asked.port)),
        head: asked.head,
        body: asked.body,
        plain: asked.plain,
        host: asked.host,
        api: id,
        workload: asked.workload,
    };
    let sampled = connection::sample(sample, Arc::clone(&model), rooms).await;
    let Sampled { account, path, broken } = sampled.map_err(|reason| anyhow::anyhow!("nothing was sent: {reason}"))?;
    let broken = broken.map(|reason| format!("no response: {reason}; a caller's connection would be broken"));
    Ok(Explained {
        note: broken.or(no_policies),
        left_from: path.map(|path| path.local),
        went_to: path.map(|path| path.remote),
        ..told(account, explained)
    })
}

const NO_POLICIES: &str = "there are no policies: the request is sent as it is";

/// A question that makes sense.
struct Asked {
    plain: bool,
    host: Host,
    port: u16,
    address: Option<IpAddr>,
    head: request::Parts,
    body: Bytes,
    workload: Workload,
}

impl Asked {
    fn read(question: &Question) -> anyhow::Result<Self> {
        let url: Uri = question.url.parse().with_context(|| format!("{}: no URL", question.url))?;
        let plain = match url.scheme_str() {
            Some("http") => true,
            Some("https") => false,
            _ => anyhow::bail!("{url}: a URL is https://api.partner.example/ or http://api.partner.example/"),
        };
        let name = url.host().context("the URL names no host: https://api.partner.example/")?;
        let host = Host::parse(name).map_err(|invalid| anyhow::anyhow!("{name}: {invalid}"))?;
        let body = question.body.as_ref().map(|body| BASE64_STANDARD.decode(body)).transpose()?;
        Ok(Self {
            plain,
            port: url.port_u16().unwrap_or(if plain { 80 } else { 443 }),
            address: question.caller.original_destination.map(|address| address.ip()),
            head: head(question, &url, &host, body.as_ref().map(Vec::len))?,
            body: body.unwrap_or_default().into(),
            workload: question.caller.workload.clone(),
            host,
        })
    }

    fn api<'a>(&self, model: &'a Model) -> Option<(ApiId, &'a Api)> {
        model.listing(&self.host, self.port)
    }

    /// Says what happens to a connection to a host that no API lists.
    fn unlisted(&self, model: &Model) -> String {
        let (number, class) = permit::unlisted_class(&model.unlisted, &self.workload);
        let rule = match number {
            0 => "`capture.unlisted`".to_owned(),
            number => format!("rule {number} of `capture.unlisted`"),
        };
        let is_excepted = |class: &UnlistedClass| {
            let has = |address| class.except.iter().any(|except| except.contains(address, self.port));
            self.address.is_some_and(has)
        };
        let what = match class.action {
            UnlistedAction::Allow => "Egret does not touch the connection".to_owned(),
            _ if is_excepted(class) => format!("Egret does not touch the connection: {rule} excepts its address"),
            UnlistedAction::Report => format!("the connection passes and is reported ({rule})"),
            UnlistedAction::Deny => format!("the connection is refused with EPERM ({rule})"),
        };
        format!(
            "no API lists {} and port {}: {what}, unless it goes to an address of an API, whose `strangers` decides then",
            self.host, self.port
        )
    }

    /// What happens to the workload where the API is not for it.
    fn not_admitted(&self, api: &Api) -> Option<String> {
        let (name, api_name) = (&self.workload.identity.name, &api.name);
        match permit::admission(api, &self.workload) {
            Admission::Admitted => None,
            Admission::Denied => Some(format!(
                "`workloads` of API `{api_name}` does not admit {name}: the connection is refused (`{}`)",
                Reason::WorkloadNotAllowed
            )),
            Admission::Untouched => Some(format!(
                "`workloads` of API `{api_name}` leaves {name} untouched: the connection goes to its original destination from the \
                 address that the kernel chooses, and no policy sees it"
            )),
        }
    }

    /// Why nobody looks at a request of this API, if so.
    fn unseen(&self, model: &Model, api: &Api) -> Option<String> {
        let why = match api.mode {
            Mode::Deny if api.strangers == Strangers::Carry => {
                "mode deny: a connection that names this host is refused; others at its addresses are judged by their names"
            }
            Mode::Deny => "mode deny: the connection is refused",
            Mode::Bind => "mode bind: the kernel sets the source address, and sees no requests",
            Mode::Intercept => return None,
            Mode::Passthrough if self.plain => return None,
            Mode::Passthrough if api.rules.is_some() => {
                "the policies see only plain HTTP: such a connection is refused"
            }
            Mode::Passthrough => "mode passthrough: bytes are carried as they are",
        };
        let guards = |other: &&Api| {
            !api.is_seen() && api.mode != Mode::Deny && other.guards_addresses() && other.ports.contains(&self.port)
        };
        Some(match model.apis.iter().find(guards) {
            Some(guard) => format!(
                "{why}, but not to an address that API `{}` (`strangers: refuse`) has, too (`shared_address`)",
                guard.name
            ),
            None => why.to_owned(),
        })
    }

    /// Runs policies where nothing is sent.
    async fn run(self, api: &Api, rules: &Rules, status: StatusCode, before: Before) -> Account {
        let Before { state, at } = before;
        let mut call = Call::new(self.head, &self.workload, api, &self.host, SystemTime::now(), at);
        call.context.original_dst = self.address.map(|address| OriginalDst(SocketAddr::new(address, self.port)));
        call.context.scheme = if self.plain { "http" } else { "https" };
        call.message.secrecy.allowed = !self.plain || api.backend.is_some() || rules.plain_secrets;
        call.context.id = (0, 1);
        call.effects.steps = Some(Vec::new());
        let mut world = Dry::begun(self.body, status, state, at);
        // It fails only where the third party does.
        let _ = policy::run(&mut call, rules, &mut world).await;
        Account::of(&mut call, world.asked > 0)
    }
}

fn head(question: &Question, url: &Uri, host: &Host, length: Option<usize>) -> anyhow::Result<request::Parts> {
    let method = match &question.method {
        Some(method) => Method::from_bytes(method.as_bytes()).with_context(|| format!("{method}: no method"))?,
        None if length.is_some() => Method::POST,
        None => Method::GET,
    };
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder().method(method).uri(target);
    let headers = request.headers_mut().context("the URL is none")?;
    let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
    headers.insert(HOST, HeaderValue::from_str(&authority)?);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    for (name, value) in &question.headers {
        let header = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = header else { anyhow::bail!("{name}: {value}: no header") };
        anyhow::ensure!(!matches!(name, HOST | CONTENT_LENGTH), "{name}: it comes from the URL and the body");
        headers.append(name, value);
    }
    Ok(request.body(())?.into_parts().0)
}

fn begun(model: &Model, api: &Api, host: &Host) -> Explained {
    let egress = model.egress_of(api);
    Explained {
        api: Some(api.name.to_string()),
        mode: Some(api.mode.label().to_owned()),
        leaves_from: egress.addresses.clone(),
        through: egress.proxy_for(Some(host)).map(ToString::to_string),
        ..Explained::default()
    }
}

fn told(account: Account, explained: Explained) -> Explained {
    let Account { operation, parameters, subscription, steps, sent, answered } = account;
    let steps = steps.into_iter().map(step_row).collect();
    let (sent, answered) = (sent.map(message_row), answered.map(message_row));
    Explained { operation, parameters, subscription, steps, sent, answered, ..explained }
}

fn step_row(step: Step) -> StepRow {
    StepRow {
        section: step.section.label().to_owned(),
        scope: step.scope.to_string(),
        policy: step.policy.to_owned(),
        id: step.id.as_deref().map(str::to_owned),
        report: step.report,
        did: step.did,
    }
}

fn message_row(Recorded { start, headers, body, cut }: Recorded) -> MessageRow {
    let body = body.map(|body| String::from_utf8_lossy(&body).into_owned());
    MessageRow { start, headers, body, cut }
}
