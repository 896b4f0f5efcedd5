//! The hosts of an API: names, and wildcards that cover names.

use std::collections::HashMap;

use serde_saphyr::Spanned;

use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::{Host, InvalidHost, Listing, Wildcard};

/// Where each listing and port was first written.
pub(super) type Seen<'a> = HashMap<(Listing, u16), &'a Spanned<String>>;

pub(super) fn compile<'a>(
    file: &'a ApiFile,
    ports: &[u16],
    seen: &mut Seen<'a>,
    problems: &mut Vec<Problem>,
) -> (Vec<Host>, Vec<Wildcard>) {
    if file.hosts.is_empty() {
        let problem = Problem::at(&file.name, "this API has no host", "add `hosts: [api.partner.example]`");
        problems.push(problem.lacking(&["hosts"]));
    }
    let mut listings: Vec<Listing> = Vec::new();
    for written in &file.hosts {
        let Some(listing) = listing(written, problems) else { continue };
        if listings.contains(&listing) {
            problems.push(Problem::at(written, "this host is listed twice", "remove one of them"));
            continue;
        }
        let taken = ports.iter().find_map(|port| seen.get(&(listing.clone(), *port)).map(|other| (*port, *other)));
        if let Some((port, other)) = taken {
            let rule = format!("another API has this host and port {port} already");
            let help =
                "remove the host from one of the APIs, or give them different ports: a host and port belong to one API";
            problems.push(Problem::at(written, rule, help).with(other));
        }
        for port in ports {
            seen.entry((listing.clone(), *port)).or_insert(written);
        }
        listings.push(listing);
    }
    let (mut hosts, mut wildcards) = (Vec::new(), Vec::new());
    for listing in listings {
        match listing {
            Listing::Host(host) => hosts.push(host),
            Listing::Wildcard(wildcard) => wildcards.push(wildcard),
        }
    }
    (hosts, wildcards)
}

fn listing(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Listing> {
    let parsed = match Wildcard::parse(&written.value) {
        Some(wildcard) => wildcard.map(Listing::Wildcard),
        None => Host::parse(&written.value).map(Listing::Host),
    };
    match parsed {
        Ok(Listing::Wildcard(wildcard)) if is_public_suffix(wildcard.domain()) => {
            let rule = format!("below `{}` anybody can register a name", wildcard.domain());
            let help = "write a wildcard of the third party's own domain, like *.partner.example, or each name";
            problems.push(Problem::at(written, rule, help));
            None
        }
        Ok(listing) => Some(listing),
        Err(invalid) => {
            let help = match invalid {
                InvalidHost::Address => "write the name that the application uses, not its address",
                InvalidHost::Character('*') => "write the wildcard as the whole first label, as in *.partner.example",
                InvalidHost::Character(c) if !c.is_ascii() => "write it in punycode (xn--...)",
                InvalidHost::Character('/' | ':') => "write only the name, without scheme, port and path",
                InvalidHost::Character(_) | InvalidHost::Empty | InvalidHost::Label | InvalidHost::TooLong => {
                    "write a name like api.partner.example"
                }
            };
            problems.push(Problem::at(written, invalid.to_string(), help));
            None
        }
    }
}

/// Returns whether names directly below this domain belong to different organisations (publicsuffix.org). The list is compiled in.
fn is_public_suffix(domain: &Host) -> bool {
    psl::suffix_str(domain.as_str()).is_some_and(|suffix| suffix == domain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_suffixes_are_known() {
        for (domain, expected) in [
            ("com", true),
            ("co.uk", true),
            ("example", true),
            ("github.io", true),
            ("xn--fiqs8s", true),
            ("partner.example", false),
            ("partner.co.uk", false),
            ("acme.github.io", false),
        ] {
            assert_eq!(is_public_suffix(&Host::parse(domain).unwrap()), expected, "{domain}");
        }
    }
}
