//! What validation finds in a message, and what happens then.

use std::sync::Arc;

use cel::Value;

use super::call::Call;
use super::fault::Fault;
use super::side::Side;
use crate::model::{OnInvalid, Reason, Schema, Telling};

/// The most findings that are listed.
const MOST: usize = 5;

/// The longest part of a finding that comes from the message, in bytes.
const LONGEST: usize = 100;

/// What a policy has found in a message.
#[derive(Debug)]
pub(in crate::policy) struct Findings {
    policy: &'static str,
    detected: Found,
    prevented: Found,
}

/// Findings that have the same consequence.
#[derive(Debug, Default)]
struct Found {
    reason: Option<Reason>,
    told: Vec<String>,
    more: usize,
}

impl Findings {
    /// Returns no findings of this policy.
    pub(in crate::policy) fn new(policy: &'static str) -> Self {
        Self { policy, detected: Found::default(), prevented: Found::default() }
    }

    /// Adds a finding.
    pub(in crate::policy) fn add(&mut self, action: OnInvalid, reason: Reason, what: String) {
        let found = match action {
            OnInvalid::Detect => &mut self.detected,
            OnInvalid::Ignore => return,
            OnInvalid::Prevent => &mut self.prevented,
        };
        found.reason.get_or_insert(reason);
        if found.told.len() < MOST {
            found.told.push(what);
        } else {
            found.more += 1;
        }
    }

    /// Records the findings, and refuses the message where one of them asks for it.
    ///
    /// # Errors
    /// The message is refused.
    pub(in crate::policy) fn end(self, variable: Option<&Arc<str>>, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
        let Self { policy, detected, prevented } = self;
        if let Some(name) = variable {
            let told = prevented.told.iter().chain(&detected.told);
            let errors: Vec<_> = told.map(|what| Value::String(Arc::new(what.clone()))).collect();
            call.message.variables.push((Arc::clone(name), Value::List(Arc::new(errors))));
        }
        if let Some(reason) = detected.reason {
            let message = detected.message();
            call.note(|| format!("detected: {reason} ({message})"));
            call.effects.reports.push((policy, reason, message));
        }
        let status = match call.side() {
            Side::Request => 400,
            Side::Response => 502,
        };
        match prevented.reason {
            Some(reason) => Err(Fault::new(reason, status, prevented.message())),
            None => Ok(()),
        }
    }
}

impl Found {
    fn message(&self) -> String {
        let all = self.told.join("; ");
        if self.more == 0 { all } else { format!("{all}; and {} more", self.more) }
    }
}

/// Values in a value for which all that is wrong is told: gathering it takes memory for each.
const FEW: usize = 200;

/// Levels of a value for which that is so, where the schema refers to itself.
const SHALLOW: usize = 4;

/// A difference between a value and its schema.
#[derive(Debug)]
pub(in crate::policy) struct Wrong {
    /// Where, and which rule of the schema is broken; nothing of the value but the names in it.
    pub(in crate::policy) what: String,
    /// Whether it is of another type than it should be.
    pub(in crate::policy) is_type: bool,
}

/// Returns the differences between a value and its schema; of a long value only the first, or only that there is one.
pub(in crate::policy) fn wrong(schema: &Schema, value: &serde_json::Value) -> Vec<Wrong> {
    if schema.validator.is_valid(value) {
        return Vec::new();
    }
    let (values, levels) = extent(value);
    let tell = |error: jsonschema::ValidationError<'_>| {
        let message = error.masked().to_string();
        let what = match error.instance_path().as_str() {
            "" => shortened(&message).to_owned(),
            pointer => format!("{}: {}", shortened(pointer), shortened(&message)),
        };
        Wrong { what, is_type: error.schema_path().as_str().ends_with("/type") }
    };
    let told: Vec<_> = match schema.telling {
        telling if values <= FEW && (telling != Telling::Recursive || levels <= SHALLOW) => {
            schema.validator.iter_errors(value).take(MOST + 1).map(tell).collect()
        }
        Telling::Simple => schema.validator.validate(value).err().into_iter().map(tell).collect(),
        Telling::Alternatives | Telling::Recursive => Vec::new(),
    };
    if told.is_empty() {
        return vec![Wrong { what: "not as described; it has too much in it to say where".to_owned(), is_type: false }];
    }
    told
}

/// Returns how many values are in a value, itself included, and in how many levels.
fn extent(value: &serde_json::Value) -> (usize, usize) {
    let inner: Vec<_> = match value {
        serde_json::Value::Array(items) => items.iter().map(extent).collect(),
        serde_json::Value::Object(object) => object.values().map(extent).collect(),
        _ => return (1, 0),
    };
    let values: usize = inner.iter().map(|(values, _)| values).sum();
    (values + 1, inner.iter().map(|(_, levels)| *levels).max().unwrap_or_default() + 1)
}

/// Returns the beginning of a text.
pub(in crate::policy) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}
