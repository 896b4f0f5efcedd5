//! `wait`: several requests at once.

use futures_util::future::{join_all, select_ok};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::send_request::written::{SendRequestFile, answered};
use super::send_request::{self, SendRequest};
use crate::model::Pending;
use crate::policy::engine::{
    Call, Fault, Kind, Outcome, Reads, Responds, Sections, Site, Timed, Traits, WhenReported, World, expressions,
};
use crate::syntax::{Form, Reader, Text};

/// Sends several requests at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Whether one response is enough; the other requests are given up then.
    pub any: bool,
    /// The requests.
    pub requests: Vec<SendRequest>,
}

/// Sends several requests at once and waits for their responses.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WaitFile {
    /// `all`: Egret waits for all responses. `any`: the first response is enough, and the variables of the other requests are
    /// null. Default: `all`. Example: `any`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub r#for: Option<Text>,
    /// The requests, as for `send-request`. Example: `[{url: https://one.example, variable: one}]`.
    #[schemars(with = "Vec<SendRequestFile>", length(min = 1, max = 16))]
    pub requests: Spanned<Vec<SendRequestFile>>,
}

impl Form for Wait {
    type File = WaitFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sends several requests at once and waits for their responses.";

    fn compile(written: &Spanned<WaitFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let any = match file.r#for.as_ref().map(|written| (written, written.value.as_str())) {
            None | Some((_, "all")) => false,
            Some((_, "any")) => true,
            Some((written, _)) => {
                let rule = format!("`{}` is not a value of `for`", written.value);
                reader.wrong(written, rule, "write all or any");
                false
            }
        };
        let requests: Vec<_> = file.requests.value.iter().map(|request| answered(request, reader)).collect();
        requests.into_iter().collect::<Option<Vec<_>>>().map(|requests| Self { any, requests })
    }

    fn variables(file: &WaitFile) -> Vec<(&Text, bool)> {
        file.requests.value.iter().flat_map(SendRequest::variables).collect()
    }
}

impl Kind for Wait {
    const NAME: &'static str = "wait";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        let copies = self.requests.iter().any(|request| request.copy);
        Traits {
            expressions: expressions(self.requests.iter().flat_map(SendRequest::templates)),
            conditions: Vec::new(),
            endpoints: self.requests.iter().map(|request| &*request.endpoint).collect(),
            backend: None,
            reads: if copies { Reads::RequestText } else { Reads::Nothing },
            reads_sent_request: copies,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: true,
            when_reported: WhenReported::Withheld,
        }
    }
}

impl Timed for Wait {
    fn run<'a>(
        &'a self,
        _: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move { run(self, call, world).await.map(|()| Outcome::Continue) })
    }
}

async fn run(wait: &Wait, call: &mut Call<'_>, world: &dyn World) -> Result<(), Box<Fault>> {
    let mut sent = Vec::new();
    for request in &wait.requests {
        let asked = send_request::prepared(request, call)?;
        let answer = world.fetch(&request.endpoint, asked, call.context.max_body, request.timeout);
        sent.push(Box::pin(async move { answer.await.map(|answer| (request, answer)).map_err(|why| (request, why)) }));
    }
    let answered = if wait.any {
        // Those that are given up leave null.
        for request in &wait.requests {
            send_request::nothing(request, call);
        }
        vec![select_ok(sent).await.map(|(first, _)| first)]
    } else {
        join_all(sent).await
    };
    for outcome in answered {
        let (request, answer) = match outcome {
            Ok((request, answer)) => (request, Ok(answer)),
            Err((request, why)) => (request, Err(why)),
        };
        if let Some(variable) = &request.variable {
            send_request::keep(request, variable, answer, call)?;
        }
    }
    Ok(())
}
