use std::sync::Arc;

use cel::Value;

use crate::model::{Counted, Expression, Reason, Template, Told};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expression,
    expressions, template,
};

/// Adds to a counter of the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitMetric {
    /// The name of the metric (Prometheus), without `egret_custom_` before it and `_total` after it.
    pub name: Arc<str>,
    /// The number that is added, zero or more; 1, if absent.
    pub value: Option<Expression>,
    /// The names and values of the labels.
    pub dimensions: Vec<(Arc<str>, Template)>,
}

impl Kind for EmitMetric {
    const NAME: &'static str = "emit-metric";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: self.value.iter().chain(expressions(self.dimensions.iter().map(|(_, value)| value))).collect(),
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

impl Now for EmitMetric {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// The longest value of a label, in bytes: a caller may choose it.
const LONGEST_VALUE: usize = 128;

fn run(emit: &EmitMetric, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let value = match &emit.value {
        Some(expression) => amount(&expression::value(expression, call)?).ok_or_else(|| {
            let message = format!("`{}` is no number from zero on, and a counter only goes up", expression.source);
            Fault::new(Reason::Expression, 500, message)
        })?,
        None => 1.0,
    };
    let dimensions = filled(&emit.dimensions, call)?;
    call.note(|| {
        let labels: Vec<_> = dimensions.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}{{{}}} + {value}", emit.name, labels.join(", "))
    });
    call.effects.told.push(Told::Metric(Counted { name: Arc::clone(&emit.name), value, dimensions }));
    Ok(())
}

/// Returns the names and values of labels.
pub(in crate::policy) fn filled(
    dimensions: &[(Arc<str>, Template)],
    call: &Call<'_>,
) -> Result<Vec<(Arc<str>, String)>, Box<Fault>> {
    let label = |(name, value): &(Arc<str>, Template)| {
        let filled = template::fill(value, call)?;
        let shown = filled.shown();
        Ok((Arc::clone(name), shown[..shown.floor_char_boundary(LONGEST_VALUE)].to_owned()))
    };
    dimensions.iter().map(label).collect()
}

/// Returns the number by which a counter can be raised.
fn amount(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        Value::Float(number) => *number,
        _ => return None,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}
