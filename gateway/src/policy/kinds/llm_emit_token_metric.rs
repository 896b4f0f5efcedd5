use std::sync::Arc;

use super::{emit_metric, llm_token_limit};
use crate::model::{Counted, Template, Told};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
};
/// Counts the tokens of a language model in a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmTokenMetric {
    /// The name of the metric, as of `emit-metric`.
    pub name: Arc<str>,
    /// The names and values of the labels, beside `kind`: `prompt` or `completion`.
    pub dimensions: Vec<(Arc<str>, Template)>,
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
