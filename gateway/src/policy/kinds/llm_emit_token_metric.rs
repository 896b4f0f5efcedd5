use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{emit_metric, llm_token_limit};
use crate::model::{Counted, Template, Told};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
};
use crate::syntax::{Form, Reader, Text};

/// The most labels of the metric beside `kind`.
const MOST_DIMENSIONS: usize = 4;

/// Counts the tokens of a language model in a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmTokenMetric {
    /// The name of the metric, as of `emit-metric`.
    pub name: Arc<str>,
    /// The names and values of the labels, beside `kind`: `prompt` or `completion`.
    pub dimensions: Vec<(Arc<str>, Template)>,
}

/// Counts tokens in the metric `egret_custom_NAME_total`, with the label `kind`: `prompt` or `completion`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LlmTokenMetricFile {
    /// The name in the metric's name: letters, digits and `_`. Default: `llm_tokens`. Example: `assistant_tokens`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub name: Option<Text>,
    /// Names and values (templates) of at most 4 more labels. Default: none. Example: `{unit: "${workload.unit}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub dimensions: BTreeMap<String, Text>,
}

impl Form for LlmTokenMetric {
    type File = LlmTokenMetricFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Counts the tokens that a language model uses in a metric. Only in inbound.";

    fn compile(written: &Spanned<LlmTokenMetricFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        if let Some(kind) = file.dimensions.get("kind") {
            let help = "choose another name: Egret sets `kind` to prompt or completion";
            reader.wrong(kind, "the label `kind` is Egret's own", help);
        }
        emit_metric::check_names(file.name.as_ref(), &file.dimensions, MOST_DIMENSIONS, reader);
        Some(Self {
            name: file.name.as_ref().map_or("llm_tokens", |name| name.value.as_str()).into(),
            dimensions: reader.recorded_by_name(&file.dimensions),
        })
    }
}

impl Kind for LlmTokenMetric {
    const NAME: &'static str = "llm-emit-token-metric";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(self.dimensions.iter().map(|(_, value)| value)),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: true,
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

impl Now for LlmTokenMetric {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(metric: &LlmTokenMetric, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let dimensions = emit_metric::filled(&metric.dimensions, call)?;
    call.note(|| format!("egret_custom_{}_total", metric.name));
    llm_token_limit::watch(call);
    let name = Arc::clone(&metric.name);
    call.effects.meters.add(move |passed| {
        let kinds = [("prompt", passed.usage.prompt), ("completion", passed.usage.completion)];
        let counted = |(kind, tokens): (&str, u64)| {
            let mut dimensions = dimensions.clone();
            dimensions.push(("kind".into(), kind.to_owned()));
            Told::Metric(Counted { name: Arc::clone(&name), value: tokens as f64, dimensions })
        };
        kinds.into_iter().map(counted).collect()
    });
    Ok(())
}
