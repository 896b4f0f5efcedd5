use http::HeaderName;
use http::HeaderValue;

use crate::model::{Exists, Template};
use crate::policy::engine::template::{self, Filled};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    fields, mask,
};

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
