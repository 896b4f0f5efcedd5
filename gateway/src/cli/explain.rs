use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use http::StatusCode;

use super::{Daemon, Failure, Output};
use crate::admin::{Caller, Client, Explained, Question, Request, Response, StepRow};
use crate::config;
use crate::explain;
use crate::model::Generation;

/// Most bytes of a body.
const MAX_BODY: usize = 1 << 20;

/// Says what would be done with a request, and sends nothing: limits are those of a gateway that has just begun, and the
/// third party's answer is assumed. With --send, the running gateway does it, over HTTP/1.1: with its configuration, limits
/// and credentials, from the egress IP; the caller is who the options say.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The request's URL.
    url: String,
    /// The request's method; without, GET, or POST if it has a body.
    #[arg(long, short = 'X', value_name = "METHOD")]
    request: Option<String>,
    /// A header of the request, `Name: value`.
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A file with the request's body, of 1 MiB at most.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Address of the third party that the caller connects to, for ip-filter.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Owner of the calling workload, where no unit, container or pod says who it is.
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
    /// The namespace of its pod.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// The name of its pod.
    #[arg(long, value_name = "NAME")]
    pod_name: Option<String>,
    /// The service account of its pod.
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
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
    #[arg(long, value_name = "STATUS", default_value = "200", conflicts_with = "send")]
    answer: StatusCode,
    /// The configuration: a YAML file, or a directory of them.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PATH, conflicts_with = "send")]
    config: PathBuf,
    /// Send it, by the running gateway.
    #[arg(long)]
    send: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// How to print it.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let question = self.question()?;
        let explained = if self.send {
            match Client::connect(&self.daemon.socket)?.ask(&Request::Send(Box::new(question)))? {
                Response::Explained(explained) => *explained,
                other => return Err(anyhow::anyhow!("the daemon answered something else: {other:?}").into()),
            }
        } else {
            let compiled = config::load(&self.config, Generation::default())
                .map_err(|errors| Failure::Invalid(errors.to_string()))?;
            explain::dry(&question, &compiled.model, self.answer)?
        };
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&explained).map_err(anyhow::Error::from)?),
            Output::Table => print!("{}", shown(&explained, self.send)),
        }
        if self.send && explained.answered.is_none() { Err(Failure::Code(1)) } else { Ok(()) }
    }

    fn question(&self) -> anyhow::Result<Question> {
        let body = self.body.as_ref().map(|path| {
            let body = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            anyhow::ensure!(body.len() <= MAX_BODY, "{}: more than {MAX_BODY} bytes", path.display());
            Ok(BASE64_STANDARD.encode(body))
        });
        Ok(Question {
            url: self.url.clone(),
            method: self.request.clone(),
            headers: self.headers.clone(),
            body: body.transpose()?,
            caller: Caller {
                workload: self.workload.clone(),
                owner: String::new(),
                claimed_name: None,
                pid: 0,
                command: self.workload.clone(),
                uid: self.uid,
                user: self.user.clone(),
                unit: self.unit.clone(),
                container: self.container.clone(),
                pod: self.pod.clone(),
                namespace: self.namespace.clone(),
                pod_name: self.pod_name.clone(),
                service_account: self.service_account.clone(),
                executable: self.executable.clone(),
                original_destination: self.address.map(|address| SocketAddr::new(address, 0)),
            },
        })
    }
}

fn shown(explained: &Explained, sent: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    if let (Some(api), Some(mode)) = (&explained.api, &explained.mode) {
        line("API", &format!("{api} (mode {mode})"));
        match (explained.left_from, explained.went_to) {
            (Some(from), Some(to)) => line("left from", &format!("{from}, to {to}")),
            _ => {
                let addresses: Vec<_> = explained.leaves_from.iter().map(ToString::to_string).collect();
                line("leaves from", &addresses.join(", "));
            }
        }
    }
    if let Some(proxy) = &explained.through {
        line("through", proxy);
    }
    if let Some(operation) = &explained.operation {
        let parameters: Vec<_> = explained.parameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        line("operation", &[vec![operation.clone()], parameters].concat().join(", "));
    } else if explained.note.is_none() {
        line("operation", "none");
    }
    if let Some(subscription) = &explained.subscription {
        line("subscription", subscription);
    }
    if let Some(note) = &explained.note {
        line("", note);
    }
    let named =
        |step: &StepRow| step.id.as_ref().map_or_else(|| step.policy.clone(), |id| format!("{} ({id})", step.policy));
    let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default().max(22) + 2;
    let scopes = longest(&mut explained.steps.iter().map(|step| step.scope.len()));
    let names = longest(&mut explained.steps.iter().map(|step| named(step).len()));
    let mut section = "";
    for step in &explained.steps {
        if step.section != section {
            section = &step.section;
            let _ = writeln!(text, "\n{section}");
        }
        let report = if step.report { "report only: " } else { "" };
        let _ = writeln!(text, "  {:<scopes$}{:<names$}{report}{}", step.scope, named(step), step.did);
    }
    let is_assumed = !sent && explained.sent.is_some();
    let answered = if is_assumed { "answered, if the third party does as assumed" } else { "answered" };
    let messages = [("sent", &explained.sent), (answered, &explained.answered)];
    for (what, message) in messages.into_iter().filter_map(|(what, message)| Some((what, message.as_ref()?))) {
        let _ = writeln!(text, "\n{what}\n  {}", message.start);
        for (name, value) in &message.headers {
            let _ = writeln!(text, "  {name}: {value}");
        }
        if let Some(body) = message.body.as_ref().filter(|body| !body.is_empty()) {
            let _ = writeln!(text, "\n  {}", body.trim_end().replace('\n', "\n  "));
            if message.cut {
                let _ = writeln!(text, "  ... (there is more)");
            }
        }
    }
    text
}
