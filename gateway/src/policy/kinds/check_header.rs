use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Reason, Refusal, Template};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    template,
};
use crate::syntax::{Form, Reader, Text};

/// Refuses requests that lack a header field or have another value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckHeader {
    /// The name of the field, in lower case.
    pub name: Arc<str>,
    /// The values that it may have; any, if there are none.
    pub values: Vec<Template>,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
    /// What the caller receives.
    pub failed: Refusal,
}

/// Refuses requests that lack a header or have another value in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CheckHeaderFile {
    /// The name of the header. Example: `X-Team`.
    #[schemars(with = "String")]
    pub name: Text,
    /// Values that the header may have. Of several fields with this name each must have one of them. Default: any. Example: `[payments, billing]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub values: Vec<Text>,
    /// Whether upper and lower case are the same. Default: false.
    #[serde(default)]
    pub ignore_case: bool,
    /// The status of a refusal. Default: 401. Example: `403`.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub failed_status: Option<u16>,
    /// The message of a refusal. Default: the reason. Example: `Name your team in X-Team`.
    #[serde(default)]
    pub failed_message: Option<String>,
}

impl Form for CheckHeader {
    type File = CheckHeaderFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Refuses requests that lack a header or have another value in it.";

    fn compile(written: &Spanned<CheckHeaderFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let values = file.values.iter().map(|value| reader.template(value)).collect();
        let status = file.failed_status.unwrap_or(401);
        let failed = Refusal { status, message: file.failed_message.as_deref().map(Arc::from) };
        Some(Self { name: reader.header(&file.name)?, values, ignore_case: file.ignore_case, failed })
    }
}

impl Kind for CheckHeader {
    const NAME: &'static str = "check-header";
    const SECTIONS: Sections = Sections::INBOUND;

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

impl Now for CheckHeader {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(check: &CheckHeader, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let refuse = |reason, what: &str| {
        let message = check.failed.message.as_deref().map_or_else(|| format!("{} {what}", check.name), str::to_owned);
        Fault::new(reason, check.failed.status, message)
    };
    let found: Vec<_> =
        call.message.request.headers.get_all(&*check.name).iter().map(|value| value.as_bytes().to_vec()).collect();
    if found.is_empty() {
        return Err(refuse(Reason::HeaderNotFound, "is missing"));
    }
    if check.values.is_empty() {
        return Ok(());
    }
    let allowed = check.values.iter().map(|value| template::fill(value, call)).collect::<Result<Vec<_>, _>>()?;
    let is_allowed = |found: &Vec<u8>| {
        let mut values = allowed.iter().map(|value| value.text.as_bytes());
        values.any(|value| if check.ignore_case { found.eq_ignore_ascii_case(value) } else { found == value })
    };
    // The third party may take any of several.
    if found.iter().all(is_allowed) {
        return Ok(());
    }
    Err(refuse(Reason::HeaderValueNotAllowed, "has a value that is not allowed"))
}
