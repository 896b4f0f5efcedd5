mod lasting;

use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use self::lasting::lasting;
use crate::model::{Exists, Template};
use crate::policy::engine::template::{self, Filled};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    fields, mask,
};
use crate::syntax::{Form, Reader, Text};

/// Sets a header field of the message that the section is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// The field.
    pub name: HeaderName,
    /// What happens where there is one already.
    pub exists: Exists,
    /// The values, each in a field of its own.
    pub values: Vec<Template>,
    /// The same values, where they are always the same.
    pub fixed: Option<Vec<HeaderValue>>,
}

/// Sets a header.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SetHeaderFile {
    /// The name of the header. Example: `X-Team`.
    #[schemars(with = "String")]
    pub name: Text,
    /// What happens to existing headers of this name: `override` replaces them, `skip` keeps them, `append` adds a value,
    /// `delete` removes them. Default: `override`. Example: `append`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub exists_action: Option<Text>,
    /// The value, a template. Default: none. Example: `"${workload.unit}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub value: Option<Text>,
    /// Several values instead of `value`, each a header of its own. Default: none. Example: `[a, b]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub values: Vec<Text>,
}

impl Form for SetHeader {
    type File = SetHeaderFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets a header: of the request in inbound and backend, of the response in outbound and on-error.\n\
        Example: `{name: X-Team, value: billing}`.";

    fn compile(written: &Spanned<SetHeaderFile>, reader: &mut dyn Reader) -> Option<Self> {
        let SetHeaderFile { name, exists_action, value, values } = &written.value;
        let (exists, values) = set(name, exists_action.as_ref(), value.as_ref(), values, reader);
        let name = reader.header(name).and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())?;
        let fixed = |value: &Template| {
            // Not `HeaderValue::from_static`, which panics at characters beyond ASCII.
            let literal = value.literal().filter(|literal| HeaderValue::from_str(literal).is_ok())?;
            HeaderValue::from_maybe_shared(Bytes::from_static(lasting(literal).as_bytes())).ok()
        };
        let fixed = values.iter().map(fixed).collect();
        Some(Self { name: HeaderName::from_static(lasting(name.as_str())), exists, values, fixed })
    }
}

/// Compiles what happens to what is there already, and what takes its place.
pub(super) fn set(
    name: &Text,
    exists: Option<&Text>,
    value: Option<&Text>,
    values: &[Text],
    reader: &mut dyn Reader,
) -> (Exists, Vec<Template>) {
    let actions = [
        ("override", Exists::Override),
        ("skip", Exists::Skip),
        ("append", Exists::Append),
        ("delete", Exists::Delete),
    ];
    let exists = match exists.map(|written| (written, actions.iter().find(|(word, _)| *word == written.value))) {
        None => Exists::Override,
        Some((_, Some((_, action)))) => *action,
        Some((written, None)) => {
            let rule = format!("`{}` is not an action", written.value);
            reader.wrong(written, rule, "write override, skip, append or delete");
            Exists::Override
        }
    };
    match (exists, value, values) {
        (Exists::Delete, None, []) => {}
        (Exists::Delete, ..) => reader.wrong(name, "`delete` takes no value", "remove the value"),
        (_, Some(_), []) | (_, None, [_, ..]) => {}
        (_, Some(_), _) => reader.wrong(name, "`value` and `values` exclude each other", "remove one of them"),
        (_, None, []) => reader.wrong(name, "`value` is missing", "add `value`, or `values`"),
    }
    let templates = value.into_iter().chain(values).map(|value| reader.shown(value)).collect();
    (exists, templates)
}

impl Kind for SetHeader {
    const NAME: &'static str = "set-header";
    const SECTIONS: Sections = Sections::ALL;

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
            changes: vec![Change::Header(self.name.as_str())],
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

impl Now for SetHeader {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Sets, adds or removes a field of the head that the section is about.
fn run(set: &SetHeader, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let name = &set.name;
    call.decides(name);
    if let (Exists::Override, Some([value])) = (set.exists, set.fixed.as_deref()) {
        call.note(|| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        if let Some(headers) = call.headers() {
            headers.insert(name, value.clone());
        }
        return Ok(());
    }
    let there = call.headers().is_some_and(|headers| headers.contains_key(name));
    if set.exists == Exists::Skip && there {
        call.note(|| format!("{name} is there"));
        return Ok(());
    }
    let filled = set.values.iter().map(|value| template::fill(value, call)).collect::<Result<Vec<_>, _>>()?;
    for value in &filled {
        call.note(|| format!("{name}: {}", value.shown()));
    }
    for value in filled.iter().filter(|value| value.is_secret()) {
        value.secrets().for_each(|secret| mask::add(call, secret));
    }
    let value = |filled: &Filled<'_>| {
        let mut value = fields::value(name, &filled.text)?;
        value.set_sensitive(filled.is_secret());
        Ok::<_, Box<Fault>>(value)
    };
    let values = filled.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let Some(headers) = call.headers() else { return Ok(()) };
    if set.exists != Exists::Append {
        headers.remove(name);
    }
    for value in values {
        headers.append(name, value);
    }
    if set.exists == Exists::Delete {
        call.note(|| format!("{name} removed"));
    }
    Ok(())
}
