use std::sync::Arc;

use percent_encoding::utf8_percent_encode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::set_header::set;
use crate::model::{Exists, Template};
use crate::policy::engine::query::{self, ENCODED, pairs, parameters};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    paths, template,
};
use crate::syntax::{Form, Reader, Text};

/// Sets a parameter of the request's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetQueryParameter {
    /// The name of the parameter, decoded.
    pub name: Arc<str>,
    /// What happens where there is one already.
    pub exists: Exists,
    /// The values.
    pub values: Vec<Template>,
}

/// Sets a parameter of the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SetQueryParameterFile {
    /// The name of the parameter. Example: `page`.
    #[schemars(with = "String")]
    pub name: Text,
    /// What happens to existing parameters of this name: `override` replaces them, `skip` keeps them, `append` adds a value,
    /// `delete` removes them. Default: `override`. Example: `skip`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub exists_action: Option<Text>,
    /// The value, a template. Default: none. Example: `"1"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub value: Option<Text>,
    /// Several values instead of `value`, each a parameter of its own. Default: none. Example: `[a, b]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub values: Vec<Text>,
}

impl Form for SetQueryParameter {
    type File = SetQueryParameterFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets a parameter of the request's query.\n\
        Example: `{name: page, value: \"1\"}`.";

    fn compile(written: &Spanned<SetQueryParameterFile>, reader: &mut dyn Reader) -> Option<Self> {
        let SetQueryParameterFile { name, exists_action, value, values } = &written.value;
        let (exists, values) = set(name, exists_action.as_ref(), value.as_ref(), values, reader);
        Some(Self { name: name.value.as_str().into(), exists, values })
    }
}

impl Kind for SetQueryParameter {
    const NAME: &'static str = "set-query-parameter";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(&self.values),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Query],
            puts_secret: self.values.iter().any(Template::is_secret),
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for SetQueryParameter {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Sets, adds or removes a parameter of the request's query; the others stay as they came, byte for byte.
fn run(set: &SetQueryParameter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let query = call.message.request.uri.query().unwrap_or_default().to_owned();
    let there = parameters(&query).any(|(name, _)| *name == *set.name);
    if set.exists == Exists::Skip && there {
        call.note(|| format!("{} is there", set.name));
        return Ok(());
    }
    let filled = set.values.iter().map(|value| template::fill(value, call)).collect::<Result<Vec<_>, _>>()?;
    for value in &filled {
        call.note(|| format!("{}={}", set.name, value.shown()));
        if value.is_secret() {
            call.message.secrecy.parameters.push(set.name.clone());
        }
    }
    put(&set.name, filled.iter().map(|value| &*value.text), set.exists == Exists::Append, call)
}

/// Adds parameters of this name at the end of the query, after those that are there or in their place.
pub(in crate::policy) fn put<'v>(
    own: &str,
    values: impl Iterator<Item = &'v str>,
    keep: bool,
    call: &mut Call<'_>,
) -> Result<(), Box<Fault>> {
    let query = call.message.request.uri.query().unwrap_or_default().to_owned();
    let kept = pairs(&query).filter(|pair| keep || query::decoded(query::name(pair)) != own);
    let added = values.map(|value| {
        let encode = |text| utf8_percent_encode(text, ENCODED).to_string();
        format!("{}={}", encode(own), encode(value))
    });
    let query = kept.map(str::to_owned).chain(added).collect::<Vec<_>>().join("&");
    let path = call.message.request.uri.path().to_owned();
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    paths::set_target(&target, call)
}
