use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use http::StatusCode;

use super::ask::UNEXPECTED;
use super::table::list;
use super::{Daemon, Failure, Output, out};
use crate::admin::{
    self, Caller, Client, DestinationExplained, DestinationStep, Explained, MessageRow, Question, Request, Response,
    StepRow,
};
use crate::config;
use crate::explain::{self, Before};
use crate::model::{Generation, Identity, Workload};

/// Maximum size of a body, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Show what Egret does with connections to a destination (HOST, HOST:PORT, ADDRESS or ADDRESS:PORT): each step, the key of the
/// configuration that decides it, and the kernel's table. For a URL, show what Egret would do with a request, without sending it: the third party's response is assumed. The running gateway answers,
/// with its configuration and the counts of its limits; nothing is counted, and no cached response is used. With --config, a
/// configuration is used without a gateway, and all limits are unused. With --send, the running gateway sends the request over
/// HTTP/1.1 from the egress IP, with its limits and credentials. Options describe the caller.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A destination, or the URL of a request.
    #[arg(value_name = "DESTINATION|URL")]
    url: String,
    /// Method of the request. Default: GET, or POST if the request has a body.
    #[arg(long, short = 'X', value_name = "METHOD")]
    request: Option<String>,
    /// A header field of the request, `Name: value`. May be repeated.
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A file with the body of the request, at most 1 MiB.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Address that the caller connects to, for ip-filter.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Name of the calling workload, as `egret inspect workloads` shows it. The running gateway knows the unit, the container, the pod
    /// and the user of a workload that has called.
    #[arg(long, value_name = "NAME", default_value = NOBODY)]
    workload: String,
    /// Systemd unit of the workload.
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// Container id of the workload.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// Pod uid of the workload.
    #[arg(long, value_name = "UID")]
    pod: Option<String>,
    /// Namespace of the workload's pod.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Name of the workload's pod.
    #[arg(long, value_name = "NAME")]
    pod_name: Option<String>,
    /// Service account of the workload's pod.
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// What manages the workload's pod, like `Deployment/api`.
    #[arg(long, value_name = "KIND/NAME")]
    controller: Option<String>,
    /// Label of the workload's pod. Can be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(Arc<str>, Arc<str>)>,
    /// Name of the workload's container in its pod.
    #[arg(long, value_name = "NAME")]
    container_name: Option<String>,
    /// Image of the workload's container.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Path of the workload's executable.
    #[arg(long, value_name = "PATH")]
    executable: Option<String>,
    /// User id of the workload.
    #[arg(long, value_name = "UID", default_value_t = 0)]
    uid: u32,
    /// User name of the workload.
    #[arg(long, value_name = "NAME", default_value = "root")]
    user: String,
    /// Status of the third party's assumed response.
    #[arg(long, value_name = "STATUS", default_value = "200", conflicts_with = "send")]
    status: StatusCode,
    /// A configuration to use instead of the running gateway's: a YAML file, or a directory of them.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["send", "socket"])]
    config: Option<PathBuf>,
    /// Let the running gateway send the request.
    #[arg(long)]
    send: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// The format of the output.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

/// The name of a caller that nobody has described.
const NOBODY: &str = "example";

fn label(text: &str) -> Result<(Arc<str>, Arc<str>), String> {
    let (name, value) = text.split_once('=').ok_or("a label is written `name=value`")?;
    Ok((name.into(), value.into()))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header field is written `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.url.contains('/') {
            return self.destination();
        }
        let question = self.question()?;
        let explained = match &self.config {
            Some(config) => {
                let compiled = config::load(config, Generation::default())
                    .map_err(|errors| Failure::Invalid(errors.to_string()))?;
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                runtime.block_on(explain::dry(&question, &compiled.model, self.status, Before::default()))?
            }
            None => {
                let question = Box::new(question);
                let request = match self.send {
                    true => Request::Send(question),
                    false => Request::Explain { question, status: self.status.as_u16() },
                };
                match self.client()?.ask(&request)? {
                    Response::Explained(explained) => *explained,
                    _ => return Err(anyhow::anyhow!(UNEXPECTED).into()),
                }
            }
        };
        match self.output {
            Output::Json => out::json(&explained)?,
            Output::Table => shown(&explained, self.send).iter().try_for_each(out::line)?,
        }
        if self.send && explained.answered.is_none() { Err(Failure::Code(1)) } else { Ok(()) }
    }

    /// Explains a destination.
    fn destination(&self) -> Result<(), Failure> {
        if self.send || self.request.is_some() || !self.headers.is_empty() || self.body.is_some() {
            let why = format!("{} is a destination, and a request needs a URL: http://{0}/ or https://{0}/", self.url);
            return Err(Failure::Invalid(format!("egret: {why}\n")));
        }
        let destination = self.url.parse::<explain::Destination>();
        let destination = destination.map_err(|error| Failure::Invalid(format!("egret: {error:#}\n")))?;
        let caller = self.caller();
        let explained = match &self.config {
            Some(config) => {
                let compiled = config::load(config, Generation::default())
                    .map_err(|errors| Failure::Invalid(errors.to_string()))?;
                let places = &compiled.places;
                explain::destination(&destination, &caller, &compiled.model, &|api, key| places.at(api, key), None)
            }
            None => {
                let request = Request::ExplainDestination { destination: self.url.clone(), caller: Box::new(caller) };
                match self.client()?.ask(&request)? {
                    Response::ExplainedDestination(explained) => *explained,
                    _ => return Err(anyhow::anyhow!(UNEXPECTED).into()),
                }
            }
        };
        match self.output {
            Output::Json => out::json(&explained)?,
            Output::Table => decided(&explained).iter().try_for_each(out::line)?,
        }
        Ok(())
    }

    fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.daemon.socket).map_err(|error| match error {
            admin::Error::NoDaemon { .. } if !self.send => {
                Failure::NoDaemon(anyhow::anyhow!("{error}; or explain a file without a daemon, with --config PATH"))
            }
            error => error.into(),
        })
    }

    fn question(&self) -> anyhow::Result<Question> {
        let body = self.body.as_ref().map(|path| {
            let body = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            anyhow::ensure!(body.len() <= MAX_BODY, "{} has more than {MAX_BODY} bytes", path.display());
            Ok(BASE64_STANDARD.encode(body))
        });
        Ok(Question {
            url: self.url.clone(),
            method: self.request.clone(),
            headers: self.headers.clone(),
            body: body.transpose()?,
            caller: self.caller(),
        })
    }

    fn caller(&self) -> Caller {
        let text = |text: &Option<String>| text.as_deref().map(Arc::from);
        let pod = self.pod.as_ref().map(|uid| format!("pod {uid}"));
        let container = || self.container.as_ref().map(|id| format!("container {}", id.get(..12).unwrap_or(id)));
        let owner = pod.or_else(container).or_else(|| self.unit.clone()).unwrap_or_else(|| self.workload.clone());
        let identity = Identity {
            name: match (&self.namespace, &self.pod_name) {
                (Some(namespace), Some(pod)) => format!("{namespace}/{pod}").into(),
                _ if self.workload == NOBODY => owner.as_str().into(),
                _ => self.workload.as_str().into(),
            },
            owner: owner.into(),
            cgroup: format!("/{}", self.workload).into(),
            unit: text(&self.unit),
            container: text(&self.container),
            pod: text(&self.pod),
            namespace: text(&self.namespace),
            pod_name: text(&self.pod_name),
            service_account: text(&self.service_account),
            controller: text(&self.controller),
            container_name: text(&self.container_name),
            image: text(&self.image),
            labels: Arc::new(self.labels.iter().cloned().collect()),
            ..Identity::default()
        };
        let workload = Workload {
            identity: Arc::new(identity),
            uid: self.uid,
            user: self.user.as_str().into(),
            command: self.workload.as_str().into(),
            executable: text(&self.executable),
            ..Workload::default()
        };
        Caller { workload, original_destination: self.address.map(|address| SocketAddr::new(address, 0)) }
    }
}

/// Returns the lines of the text for people.
fn decided(explained: &DestinationExplained) -> Vec<String> {
    let width = explained.steps.iter().map(|step| step.what.chars().count()).max().unwrap_or_default() + 2;
    let line = |step: &DestinationStep| {
        let key = step.key.as_ref().map(|key| match &step.at {
            Some(at) => format!("  ({key}, {at})"),
            None => format!("  ({key}, default)"),
        });
        format!("{:<width$}{}{}", step.what, step.found, key.unwrap_or_default())
    };
    let mut lines: Vec<_> = explained.steps.iter().map(line).collect();
    lines.push(format!("{:<width$}{}", "so", explained.verdict));
    lines
}

/// Returns the lines of the text for people.
fn shown(explained: &Explained, sent: bool) -> Vec<String> {
    let mut lines = facts(explained);
    lines.extend(steps(&explained.steps));
    let is_assumed = !sent && explained.sent.is_some();
    let answered = if is_assumed { "response, with the third party's assumed" } else { "response" };
    let messages = [("sent", &explained.sent), (answered, &explained.answered)];
    for (what, message) in messages.into_iter().filter_map(|(what, message)| Some((what, message.as_ref()?))) {
        lines.extend([String::new(), what.to_owned()]);
        lines.extend(head_and_body(message));
    }
    lines
}

fn facts(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| lines.push(format!("{name:<14}{value}"));
    if let (Some(api), Some(mode)) = (&explained.api, &explained.mode) {
        line("API", &format!("{api} (mode {mode})"));
        match (explained.left_from, explained.went_to) {
            (Some(from), Some(to)) => line("left from", &format!("{from}, to {to}")),
            _ => line("leaves from", &list(&explained.leaves_from)),
        }
    }
    if let Some(proxy) = &explained.through {
        line("through", proxy);
    }
    if let Some(operation) = &explained.operation {
        let parameters = explained.parameters.iter().map(|(name, value)| format!("{name} = {value}"));
        line("operation", &std::iter::once(operation.clone()).chain(parameters).collect::<Vec<_>>().join(", "));
    } else if explained.note.is_none() {
        line("operation", "none");
    }
    if let Some(subscription) = &explained.subscription {
        line("subscription", subscription);
    }
    if let Some(note) = &explained.note {
        line("", note);
    }
    lines
}

fn steps(steps: &[StepRow]) -> Vec<String> {
    let named =
        |step: &StepRow| step.id.as_ref().map_or_else(|| step.policy.clone(), |id| format!("{} ({id})", step.policy));
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default().max(22) + 2;
    let scopes = width(&mut steps.iter().map(|step| step.scope.len()));
    let names = width(&mut steps.iter().map(|step| named(step).len()));
    let mut lines = Vec::new();
    let mut section = "";
    for step in steps {
        if step.section != section {
            section = &step.section;
            lines.extend([String::new(), section.to_owned()]);
        }
        let report = if step.report { "report only: " } else { "" };
        lines.push(format!("  {:<scopes$}{:<names$}{report}{}", step.scope, named(step), step.did));
    }
    lines
}

fn head_and_body(message: &MessageRow) -> Vec<String> {
    let mut lines = vec![format!("  {}", message.start)];
    lines.extend(message.headers.iter().map(|(name, value)| format!("  {name}: {value}")));
    if let Some(body) = message.body.as_ref().filter(|body| !body.is_empty()) {
        lines.push(String::new());
        lines.extend(body.trim_end().split('\n').map(|line| format!("  {line}")));
        if message.cut {
            lines.push("  ... (more follows)".to_owned());
        }
    }
    lines
}
