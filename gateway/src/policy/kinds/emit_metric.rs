use std::collections::BTreeMap;
use std::sync::Arc;

use cel::Value;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Counted, Expression, Reason, Template, Told};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expression,
    expressions, template,
};
use crate::syntax::{Form, Reader, Text, Wanted};

/// The most labels of a metric.
const MOST_DIMENSIONS: usize = 5;

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

/// Adds to the counter `egret_custom_NAME_total` of the metrics.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EmitMetricFile {
    /// The name in the metric's name: letters, digits and `_`, not beginning with a digit. Example: `orders`.
    #[schemars(with = "String")]
    pub name: Text,
    /// An expression for the number that is added, zero or more. Default: 1. Example: `size(request.body)`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub value: Option<Text>,
    /// Names and values (templates) of at most 5 labels. At most 1000 combinations of values have a series of their own. Other
    /// values are counted as `other`, and in `egret_series_dropped_total`. Default: none. Example: `{unit:
    /// "${workload.unit}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub dimensions: BTreeMap<String, Text>,
}

impl Form for EmitMetric {
    type File = EmitMetricFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Adds to a counter of the metrics.";

    fn compile(written: &Spanned<EmitMetricFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        check_names(Some(&file.name), &file.dimensions, MOST_DIMENSIONS, reader);
        Some(Self {
            name: file.name.value.as_str().into(),
            value: file.value.as_ref().and_then(|value| reader.recorded_expression(value, Wanted::Number)),
            dimensions: reader.recorded_by_name(&file.dimensions),
        })
    }
}

/// Checks the names of a metric and of its labels, of which it has at most so many.
pub(super) fn check_names(
    written: Option<&Text>,
    dimensions: &BTreeMap<String, Text>,
    most: usize,
    reader: &mut dyn Reader,
) {
    if let Some(written) = written {
        let name = written.value.as_str();
        if !is_name(name) {
            // Colons are for rules that record (prometheus.io/docs/concepts/data_model).
            let help = "use letters, digits and _, not a digit first, like partner_orders";
            reader.wrong(written, format!("`{}` is not the name of a metric", written.value), help);
        } else if let Some(bare) = name.strip_suffix("_total") {
            let help = format!("write name: {bare}; the metric is egret_custom_{bare}_total");
            reader.wrong(written, "Egret adds _total to the name of every counter", help);
        }
    }
    if let Some((_, beyond)) = dimensions.iter().nth(most) {
        let rule = format!("there are more than {most} dimensions");
        reader.wrong(beyond, rule, "keep the few that say most: each combination of values is a series");
    }
    for (name, value) in dimensions {
        if !is_name(name) || name.starts_with("__") {
            let rule = format!("`{name}` is not a label's name");
            reader.wrong(value, rule, "use letters, digits and _, not a digit or __ first");
        }
    }
}

/// Returns whether a metric or a label can have this name (prometheus.io/docs/concepts/data_model).
fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    letters && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
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
