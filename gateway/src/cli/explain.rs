use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde::Serialize;

use super::{Failure, Output};
use crate::config;
use crate::model::{Api, Generation, Host, Mode, Model, Workload};
use crate::policy::{self, Call, Dry, Step};
use crate::route;

/// Says what would be done with a request, and sends nothing: limits are those of a gateway that has just begun, and the
/// third party's answer is assumed.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The request's URL.
    url: Uri,
    /// The request's method.
    #[arg(long, short = 'X', value_name = "METHOD")]
    request: Option<Method>,
    /// A header of the request, `Name: value`.
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// A file with the request's body.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Name of the calling workload.
    #[arg(long, value_name = "NAME", default_value = "somebody")]
    workload: String,
    /// Its systemd unit.
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// The id of its container.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// The uid of its pod.
    #[arg(long, value_name = "UID")]
    pod: Option<String>,
    /// What it runs.
    #[arg(long, value_name = "PATH")]
    executable: Option<String>,
    /// User of the calling workload.
    #[arg(long, value_name = "UID", default_value_t = 0)]
    uid: u32,
    /// The user's name.
    #[arg(long, value_name = "NAME", default_value = "root")]
    user: String,
    /// Status of the third party's assumed answer.
    #[arg(long, value_name = "STATUS", default_value = "200")]
    answer: StatusCode,
    /// The configuration: a YAML file, or a directory of them.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// How to print it.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

/// What would be done.
#[derive(Debug, Default, Serialize)]
struct Explained {
    api: Option<String>,
    mode: Option<&'static str>,
    operation: Option<String>,
    parameters: BTreeMap<String, String>,
    leaves_from: Vec<String>,
    steps: Vec<Row>,
    sent: Option<Message>,
    answered: Option<Message>,
    /// What nobody would see otherwise.
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    section: &'static str,
    scope: String,
    policy: &'static str,
    id: Option<String>,
    report: bool,
    did: String,
}

#[derive(Debug, Serialize)]
struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let compiled =
            config::load(&self.config, Generation::default()).map_err(|errors| Failure::Invalid(errors.to_string()))?;
        let explained = self.explain(&compiled.model)?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&explained).map_err(anyhow::Error::from)?),
            Output::Table => print!("{}", shown(&explained)),
        }
        Ok(())
    }

    fn explain(&self, model: &Model) -> anyhow::Result<Explained> {
        let scheme = self.url.scheme_str().unwrap_or("https");
        let name = self.url.host().context("the URL names no host: https://api.partner.example/")?;
        let host = Host::parse(name).map_err(|invalid| anyhow::anyhow!("{name}: {invalid}"))?;
        let port = self.url.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
        let listed = model.apis.iter().find(|api| api.hosts.contains(&host) && api.ports.contains(&port));
        let Some(api) = listed else {
            let note = format!("no API lists {host} and port {port}: the connection goes as it always went");
            return Ok(Explained { note: Some(note), ..Explained::default() });
        };
        let mut explained = Explained {
            api: Some(api.name.to_string()),
            mode: Some(api.mode.label()),
            leaves_from: model.egress_of(api).addresses.iter().map(ToString::to_string).collect(),
            ..Explained::default()
        };
        let seen = scheme == "http" || api.mode == Mode::Intercept;
        explained.note = match (&api.rules, api.mode) {
            (_, Mode::Deny) => Some("mode deny: the connection is refused".to_owned()),
            (_, Mode::Bind) => Some("mode bind: the kernel sets the source address, and sees no requests".to_owned()),
            (None, _) if !seen => Some("mode passthrough: bytes are carried as they are".to_owned()),
            (None, _) => Some("there are no policies: the request is sent as it is".to_owned()),
            (Some(_), _) if !seen => Some("the policies see only plain HTTP: such a connection is refused".to_owned()),
            (Some(_), _) => None,
        };
        if explained.note.is_none() {
            self.run_policies(api, &host, scheme == "http", &mut explained)?;
        }
        Ok(explained)
    }

    fn run_policies(&self, api: &Api, host: &Host, plain: bool, explained: &mut Explained) -> anyhow::Result<()> {
        let Some(rules) = &api.rules else { return Ok(()) };
        let body = self.body.as_ref().map(|path| {
            std::fs::read(path).map(Bytes::from).with_context(|| format!("{} cannot be read", path.display()))
        });
        let body = body.transpose()?.unwrap_or_default();
        let workload = Workload {
            name: self.workload.as_str().into(),
            cgroup: format!("/{}", self.workload).into(),
            unit: self.unit.as_deref().map(Arc::from),
            container: self.container.as_deref().map(Arc::from),
            pod: self.pod.as_deref().map(Arc::from),
            pid: 0,
            uid: self.uid,
            user: self.user.as_str().into(),
            command: self.workload.clone(),
            executable: self.executable.as_deref().map(Arc::from),
        };
        let head = self.head(host, body.len())?;
        let matched = route::operation(rules, head.method.as_str(), head.uri.path());
        let (operation, parameters) = matched.map_or((None, Vec::new()), |(found, with)| (Some(found), with));
        explained.operation = operation.map(|found| format!("{} ({})", found.name, found.path));
        explained.parameters = parameters.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let policies = operation.map_or(&rules.otherwise, |operation| &operation.policies);
        let mut call = Call::new(head, &workload, api, host, SystemTime::now(), Duration::ZERO);
        call.scheme = if plain { "http" } else { "https" };
        call.may_be_secret = !plain || api.backend.is_some() || rules.plain_secrets;
        call.operation = operation;
        call.parameters = parameters;
        call.id = (0, 1);
        call.steps = Some(Vec::new());
        let mut world = Dry::new(body, self.answer);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        // It fails only where the third party does.
        let _ = runtime.block_on(policy::run(&mut call, rules, policies, &mut world));
        if world.asked > 0 {
            let body = call.request_body.as_ref().filter(|_| !call.has_secret_body());
            explained.sent = Some(Message {
                start: format!("{} {}", call.request.method, call.shown_target()),
                headers: fields(&call.request.headers),
                body: body.map(|body| String::from_utf8_lossy(body).into_owned()),
            });
        }
        explained.answered = call.response.as_ref().map(|response| Message {
            start: response.status.to_string(),
            headers: fields(&response.headers),
            body: call.response_body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned()),
        });
        explained.steps = call.steps.take().unwrap_or_default().into_iter().map(row).collect();
        Ok(())
    }

    fn head(&self, host: &Host, length: usize) -> anyhow::Result<http::request::Parts> {
        let method = self.request.clone().unwrap_or(if self.body.is_some() { Method::POST } else { Method::GET });
        let target = self.url.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder().method(method).uri(target);
        let headers = request.headers_mut().context("the URL is none")?;
        headers.insert(http::header::HOST, HeaderValue::from_str(host.as_str())?);
        if self.body.is_some() {
            headers.insert(http::header::CONTENT_LENGTH, length.into());
        }
        for header in &self.headers {
            let (name, value) =
                header.split_once(':').with_context(|| format!("{header}: a header is `Name: value`"))?;
            headers.append(HeaderName::from_bytes(name.trim().as_bytes())?, HeaderValue::from_str(value.trim())?);
        }
        Ok(request.body(())?.into_parts().0)
    }
}

fn row(step: Step) -> Row {
    Row {
        section: step.section.label(),
        scope: step.scope.to_string(),
        policy: step.policy,
        id: step.id.as_deref().map(str::to_owned),
        report: step.report,
        did: step.did,
    }
}

/// With secrets masked.
fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = |value: &HeaderValue| match value.is_sensitive() {
        true => policy::MASK.to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, field)| (name.to_string(), value(field))).collect()
}

fn shown(explained: &Explained) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    if let (Some(api), Some(mode)) = (&explained.api, explained.mode) {
        line("API", &format!("{api} (mode {mode})"));
        line("leaves from", &explained.leaves_from.join(", "));
    }
    if let Some(operation) = &explained.operation {
        let parameters: Vec<_> = explained.parameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        line("operation", &[vec![operation.clone()], parameters].concat().join(", "));
    } else if explained.note.is_none() {
        line("operation", "none");
    }
    if let Some(note) = &explained.note {
        line("", note);
    }
    let mut section = "";
    for step in &explained.steps {
        if step.section != section {
            section = step.section;
            let _ = writeln!(text, "\n{section}");
        }
        let name = step.id.as_ref().map_or_else(|| step.policy.to_owned(), |id| format!("{} ({id})", step.policy));
        let report = if step.report { "report only: " } else { "" };
        let _ = writeln!(text, "  {:<24}{name:<24}{report}{}", step.scope, step.did);
    }
    let answered = if explained.sent.is_some() { "answered, if the third party does as assumed" } else { "answered" };
    let messages = [("sent", &explained.sent), (answered, &explained.answered)];
    for (what, message) in messages.into_iter().filter_map(|(what, message)| Some((what, message.as_ref()?))) {
        let _ = writeln!(text, "\n{what}\n  {}", message.start);
        for (name, value) in &message.headers {
            let _ = writeln!(text, "  {name}: {value}");
        }
        if let Some(body) = message.body.as_ref().filter(|body| !body.is_empty()) {
            let _ = writeln!(text, "\n  {}", body.trim_end().replace('\n', "\n  "));
        }
    }
    text
}
