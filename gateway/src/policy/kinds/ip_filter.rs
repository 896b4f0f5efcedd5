use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Reason;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader, Text, either};

/// Allows requests to some addresses of the third party, or forbids those to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFilter {
    /// Whether requests to these addresses are allowed; else they are refused.
    pub allow: bool,
    /// The addresses.
    pub addresses: Vec<IpNet>,
}

/// Allows requests to some addresses of the third party, or forbids those to some.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IpFilterFile {
    /// Addresses and networks that are allowed. Exactly one of `allow` and `forbid` is required. Default: none. Example:
    /// `[203.0.113.7, "2001:db8::/32"]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub allow: Option<Vec<Text>>,
    /// Addresses and networks that are forbidden. Default: none. Example: `[203.0.113.0/24]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub forbid: Option<Vec<Text>>,
}

impl Form for IpFilter {
    type File = IpFilterFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Allows requests to some addresses of the third party, or forbids those to some; others are refused (403). The address\n\
        is the one that the caller connected to. Only in inbound.";

    fn compile(written: &Spanned<IpFilterFile>, reader: &mut dyn Reader) -> Option<Self> {
        match either(written.value.allow.as_ref(), written.value.forbid.as_ref()) {
            Ok((allow, texts)) => {
                let addresses = texts.iter().filter_map(|text| reader.addresses(text)).collect();
                Some(Self { allow, addresses })
            }
            Err(rule) => {
                let help = "write one of them, like ip-filter: {allow: [203.0.113.0/24]}";
                reader.wrong(written, rule, help);
                None
            }
        }
    }
}

impl Kind for IpFilter {
    const NAME: &'static str = "ip-filter";
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

impl Now for IpFilter {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Refuses requests by the address that the caller connected to.
fn run(filter: &IpFilter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let Some(original) = call.context.original_dst else {
        let message = "the address that the caller connects to is not known: egret explain takes it as --address";
        return Err(refused(message.to_owned()));
    };
    let address = original.0.ip().to_canonical();
    let matched = filter.addresses.iter().any(|known| known.contains(&address));
    call.note(|| format!("{address} {}", if matched { "matches" } else { "does not match" }));
    if matched == filter.allow {
        return Ok(());
    }
    Err(refused(format!("{} may not be called at {address}", call.context.api.name)))
}

fn refused(message: String) -> Box<Fault> {
    Fault::new(Reason::AddressNotAllowed, 403, message)
}
