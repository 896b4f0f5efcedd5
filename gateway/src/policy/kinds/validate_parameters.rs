use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::validate_status_code::action;
use crate::model::{Contract, Described, OnInvalid, Place, Reason};
use crate::policy::engine::described::{self, Pair};
use crate::policy::engine::findings::Findings;
use crate::policy::engine::query::encoded_parameters;
use crate::policy::engine::{
    Call, Fault, Kind, NeedsDescription, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader, Text};

/// Validates the parameters of requests by the operation's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateParameters {
    /// What happens to parameters in header fields.
    pub headers: Described,
    /// What happens to parameters in the query.
    pub query: Described,
    /// What happens to parameters in the path.
    pub path: Described,
    /// The variable that receives what was found.
    pub errors_variable: Option<Arc<str>>,
}

/// Validates the parameters of requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ValidateParametersFile {
    /// What happens to a request with an invalid parameter, or without a required one: `prevent` refuses it, `detect` records
    /// it, `ignore` lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub specified: Option<Text>,
    /// What happens to a request with a parameter that the document does not describe, as are all parameters of a request that
    /// matches no operation of the document: `ignore`, `detect` or `prevent`. Default: `ignore`. Example: `prevent`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unspecified: Option<Text>,
    /// Other actions for headers. Headers that say how a message is sent, and Accept, Authorization and Content-Type, are not
    /// parameters.
    #[serde(default)]
    pub headers: Option<DescribedFile>,
    /// Other actions for the query.
    #[serde(default)]
    pub query: Option<DescribedFile>,
    /// Other actions for the path.
    #[serde(default)]
    pub path: Option<DescribedFile>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub errors_variable: Option<Text>,
}

/// Actions for parameters of one place.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DescribedFile {
    /// What happens if one is invalid or missing. Default: as for all places. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub specified: Option<Text>,
    /// What happens if one is not described. Default: as for all places. Example: `prevent`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unspecified: Option<Text>,
    /// Names that are allowed although they are not described. Default: none. Example: `[debug]`.
    #[serde(default)]
    pub except: Vec<String>,
}

impl Form for ValidateParameters {
    type File = ValidateParametersFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Validates the headers, the query and the path of the request by the API's `openapi` document; invalid requests are\n\
        refused (400). Cookies are not validated. Only in inbound.";

    fn compile(written: &Spanned<ValidateParametersFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let all = Described {
            specified: action(file.specified.as_ref(), OnInvalid::Prevent, reader),
            unspecified: action(file.unspecified.as_ref(), OnInvalid::Ignore, reader),
            except: Vec::new(),
        };
        let mut headers = of_place(file.headers.as_ref(), &all, reader);
        headers.except.iter_mut().for_each(|name| *name = name.to_ascii_lowercase().into());
        Some(Self {
            headers,
            query: of_place(file.query.as_ref(), &all, reader),
            path: of_place(file.path.as_ref(), &all, reader),
            errors_variable: file.errors_variable.as_ref().map(|name| reader.variable(name)),
        })
    }

    fn variables(file: &ValidateParametersFile) -> Vec<(&Text, bool)> {
        file.errors_variable.iter().map(|name| (name, false)).collect()
    }
}

fn of_place(file: Option<&DescribedFile>, all: &Described, reader: &mut dyn Reader) -> Described {
    let Some(file) = file else { return all.clone() };
    Described {
        specified: action(file.specified.as_ref(), all.specified, reader),
        unspecified: action(file.unspecified.as_ref(), all.unspecified, reader),
        except: file.except.iter().map(|name| name.trim().into()).collect(),
    }
}

impl Kind for ValidateParameters {
    const NAME: &'static str = "validate-parameters";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
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
            described: Some(NeedsDescription::Parameters),
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ValidateParameters {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Headers that are no parameters: they say how the message is sent (RFC 9110 §7.6.1, §8, §10.1), or OpenAPI 3.1 §4.8.12.1
/// says so of them. Cookies are not looked at.
const NO_PARAMETERS: [&str; 15] = [
    "accept",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn run(validate: &ValidateParameters, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let mut findings = Findings::new("validate-parameters");
    let none = Contract::default();
    let contract = call.context.operation.and_then(|operation| operation.contract.as_deref());
    if contract.is_none() {
        call.note(|| "the operation is not described".to_owned());
    }
    let contract = contract.unwrap_or(&none);
    let query = call.message.request.uri.query().unwrap_or_default();
    let path = call.context.parameters.iter().map(|(name, text)| (Cow::from(&**name), Cow::from(text.as_str())));
    for (place, rule, pairs) in [
        (Place::Path, &validate.path, path.collect()),
        (Place::Query, &validate.query, encoded_parameters(query).collect()),
        (Place::Header, &validate.headers, fields(&call.message.request.headers)),
    ] {
        let parameters: Vec<_> = contract.parameters.iter().filter(|parameter| parameter.place == place).collect();
        let is_known = |name: &str| {
            (place == Place::Header && NO_PARAMETERS.contains(&name))
                || contract.credentials.iter().any(|(of, known)| *of == place && **known == *name)
        };
        let found = (Reason::ParameterNotValid, &mut findings);
        described::check(place, &pairs, &parameters, rule, &is_known, found);
    }
    findings.end(validate.errors_variable.as_ref(), call)
}

/// Returns the names, in lower case, and the values of header fields.
pub(in crate::policy) fn fields(headers: &HeaderMap) -> Vec<Pair<'_>> {
    headers.iter().map(|(name, value)| (name.as_str().into(), String::from_utf8_lossy(value.as_bytes()))).collect()
}
