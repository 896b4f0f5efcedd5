use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Severity, Template, Told, Traced};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    template,
};
use crate::syntax::{Form, Reader, Text};

/// Writes a message to the access log, to `egret tail` and to Egret's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How severe it is.
    pub severity: Severity,
    /// The source of the message, as its owner names it.
    pub source: Option<Arc<str>>,
    /// The message.
    pub message: Template,
    /// The names and values beside the message.
    pub metadata: Vec<(Arc<str>, Template)>,
}

/// Writes a message.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TraceFile {
    /// `debug`, `info`, `warning` or `error`. Default: `info`. Example: `warning`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub severity: Option<Text>,
    /// The origin of the message. Default: none. Example: `billing`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub source: Option<Text>,
    /// The message, a template. Example: `"called by ${workload.unit}"`.
    #[schemars(with = "String")]
    pub message: Text,
    /// Names and values (templates). Default: none. Example: `{tenant: "${variables.tenant}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub metadata: BTreeMap<String, Text>,
}

impl Form for Trace {
    type File = TraceFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Writes a message to the access log, to `egret tail` and to Egret's own log.";

    fn compile(written: &Spanned<TraceFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let severity = file.severity.as_ref().map_or(Some(Severity::default()), |written| {
            let severity = Severity::ALL.into_iter().find(|severity| severity.label() == written.value);
            if severity.is_none() {
                let rule = format!("`{}` is not a severity", written.value);
                reader.wrong(written, rule, "write debug, info, warning or error");
            }
            severity
        });
        Some(Self {
            severity: severity.unwrap_or_default(),
            source: file.source.as_ref().map(|source| source.value.as_str().into()),
            message: reader.recorded(&file.message),
            metadata: reader.recorded_by_name(&file.metadata),
        })
    }
}

impl Kind for Trace {
    const NAME: &'static str = "trace";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(
                std::iter::once(&self.message).chain(self.metadata.iter().map(|(_, value)| value)),
            ),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for Trace {
    fn run(&self, site: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, site, call).map(|()| Outcome::Continue)
    }
}

/// The longest message or value, in bytes: a caller may choose a part of it.
const LONGEST: usize = 4096;

fn run(trace: &Trace, site: Site<'_>, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let message = said(&trace.message, call)?;
    let mut metadata = Vec::with_capacity(trace.metadata.len());
    for (name, value) in &trace.metadata {
        metadata.push((Arc::clone(name), said(value, call)?));
    }
    call.note(|| format!("{}: {message}", trace.severity.label()));
    call.effects.told.push(Told::Trace(Box::new(Traced {
        section: call.context.section,
        id: site.id.cloned(),
        severity: trace.severity,
        source: trace.source.clone(),
        message,
        metadata,
    })));
    Ok(())
}

fn said(template: &Template, call: &Call<'_>) -> Result<String, Box<Fault>> {
    let filled = template::fill(template, call)?;
    let shown = filled.shown();
    Ok(shown[..shown.floor_char_boundary(LONGEST)].to_owned())
}
