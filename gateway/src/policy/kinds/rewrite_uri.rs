use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Escaping, Part, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    paths, template,
};
use crate::syntax::{Form, Reader, Text};

/// Sets the path that the third party receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteUri {
    /// The path, perhaps with a query.
    pub template: Template,
    /// Whether the query of the request is kept.
    pub copy_query: bool,
}

/// Sets the path that the third party receives.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RewriteUriFile {
    /// A template for the path, with or without a query. A value is encoded as one segment of the path or as one value of the
    /// query; `${raw(request.path)}` is inserted as it is. A request whose values would add a dot segment, or make the path one of
    /// an operation whose policies did not run, is refused (400, `path_not_allowed`). Example:
    /// `"/v2/prices/${request.parameters.id}"`.
    #[schemars(with = "String")]
    pub template: Text,
    /// Whether the query of the request is kept. Default: true.
    #[serde(default)]
    pub copy_query: Option<bool>,
}

impl Form for RewriteUri {
    type File = RewriteUriFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets the path that the third party receives.";

    fn compile(written: &Spanned<RewriteUriFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let template = reader.url(&file.template);
        let begins = match template.0.first() {
            Some(Part::Text(text)) => text.starts_with('/'),
            // A value of the owner's may be all of a path, and so may `raw(...)`.
            Some(Part::Named(_) | Part::Expression(_, Escaping::None)) => true,
            Some(Part::Expression(..)) | None => false,
        };
        if !begins {
            let help = "write a path like /v2/prices/${request.parameters.id}; ${raw(...)} may be all of a path";
            reader.wrong(&file.template, "this path does not begin with a slash", help);
        }
        Some(Self { template, copy_query: file.copy_query.unwrap_or(true) })
    }
}

impl Kind for RewriteUri {
    const NAME: &'static str = "rewrite-uri";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions([&self.template]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Path, Change::Query],
            puts_secret: self.template.is_secret(),
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for RewriteUri {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Sets the path that the third party sees, and perhaps the query.
///
/// # Errors
/// An expression failed, the text is no path, or what the request puts into it leads elsewhere: to another directory (`..`), or to
/// an operation whose policies did not run.
fn run(rewrite: &RewriteUri, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let filled = template::fill(&rewrite.template, call)?;
    call.note(|| filled.shown().to_owned());
    if rewrite.template.expressions().next().is_some() {
        leads_where_it_says(&rewrite.template, &filled.text, call)?;
    }
    call.message.secrecy.target |= filled.is_secret();
    call.message.secrecy.target_values.extend(filled.secrets());
    let query = call.message.request.uri.query().filter(|query| rewrite.copy_query && !query.is_empty());
    let target = match query {
        Some(query) => format!("{}{}{query}", filled.text, if filled.text.contains('?') { '&' } else { '?' }),
        None => filled.text.into_owned(),
    };
    paths::set_target(&target, call)
}

/// Checks what the values of holes make of a path.
fn leads_where_it_says(template: &Template, target: &str, call: &Call<'_>) -> Result<(), Box<Fault>> {
    let path = target.split('?').next().unwrap_or_default();
    if !paths::stays_below(path) {
        return Err(paths::refused("the new path would have a dot segment in it".to_owned()));
    }
    let (method, expected) = (call.message.request.method.as_str(), without_values(template));
    let expected = paths::operation(call, method, expected.split('?').next().unwrap_or_default());
    let now = paths::operation(call, method, path);
    match now.filter(|_| paths::skips_policies(call, expected, now)) {
        Some(now) => {
            Err(paths::refused(format!("the new path is one of operation {}, whose policies did not run", now.name)))
        }
        None => Ok(()),
    }
}

/// Returns the path that a template is where values say nothing.
fn without_values(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.to_string(),
        Part::Expression(..) => "-".to_owned(),
        Part::Named(value) => String::from_utf8_lossy(value.current().expose()).into_owned(),
    };
    let path: String = template.0.iter().map(part).collect();
    if path.starts_with('/') { path } else { format!("/{path}") }
}
