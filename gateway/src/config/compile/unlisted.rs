//! What happens to connections that no API lists.

use serde_saphyr::Spanned;

use super::policies::{self, addresses_of};
use crate::config::diagnostic::Problem;
use crate::config::file::{File, UnlistedFile, UnlistedRuleFile, UnlistedSection};
use crate::model::{Destinations, FailMode, Unlisted, UnlistedAction, UnlistedClass, UnlistedRule};

/// The most rules.
const MOST_RULES: usize = 250;

/// The most destinations in `except`, in all rules together.
const MOST_EXCEPTIONS: usize = 10_000;

/// Compiles the key `capture.unlisted`.
pub(super) fn compile(file: &File, problems: &mut Vec<Problem>) -> Unlisted {
    let Some(written) = file.capture.as_ref().and_then(|capture| capture.unlisted.as_ref()) else {
        return Unlisted::default();
    };
    let section = written.value.section();
    let action = action(written.value.action(written).as_ref(), problems);
    let unlisted = Unlisted {
        otherwise: UnlistedClass { action, except: except(&section.except, problems) },
        rules: rules(section, problems),
        fail: fail(section.fail.as_ref(), problems),
    };
    let exceptions: usize = unlisted.classes().map(|class| class.except.len()).sum();
    if exceptions > MOST_EXCEPTIONS {
        let rule = format!("`except` has {exceptions} destinations, and the kernel's table room for {MOST_EXCEPTIONS}");
        problems.push(Problem::at(written, rule, "write networks in place of single addresses"));
    }
    denies_other_addresses(file, written, &unlisted, problems);
    unlisted
}

fn rules(section: &UnlistedSection, problems: &mut Vec<Problem>) -> Vec<UnlistedRule> {
    if let Some(excess) = section.rules.get(MOST_RULES) {
        let rule = format!("there are {} rules, and the kernel's table has room for {MOST_RULES}", section.rules.len());
        problems.push(Problem::at(excess, rule, "select several workloads in one rule"));
    }
    section.rules.iter().map(|written| self::rule(written, section, problems)).collect()
}

fn rule(written: &Spanned<UnlistedRuleFile>, section: &UnlistedSection, problems: &mut Vec<Problem>) -> UnlistedRule {
    let file = &written.value;
    if file.workloads.is_empty() {
        let help = "name some, like workloads: [{unit: billing.service}]; `unlisted.action` is for all others";
        problems.push(Problem::at(written, "this rule selects no workload", help));
    }
    for workload in &file.workloads {
        let unseen = [
            ("executable", workload.executable.is_some()),
            ("uid", workload.uid.is_some()),
            ("user", workload.user.is_some()),
        ];
        for (key, _) in unseen.iter().filter(|(_, is_written)| *is_written) {
            let rule = format!("`{key}` selects nothing here: the kernel hooks know the cgroup of a caller only");
            let help = "select by `cgroup`, `unit`, `container`, `pod`, `namespace`, `pod_name` or `service_account`";
            problems.push(Problem::at(written, rule, help));
        }
    }
    // Destinations of all workloads come first: their problems are reported once, for the section.
    let mut all = except(&section.except, &mut Vec::new());
    all.extend(except(&file.except, problems));
    UnlistedRule {
        workloads: policies::workloads(&file.workloads, problems),
        class: UnlistedClass { action: action(Some(&file.action), problems), except: all },
    }
}

/// A caller may get other addresses for a listed host than Egret, which are then unlisted.
fn denies_other_addresses(
    file: &File,
    written: &Spanned<UnlistedFile>,
    unlisted: &Unlisted,
    problems: &mut Vec<Problem>,
) {
    let denies = unlisted.classes().any(|class| class.action == UnlistedAction::Deny);
    if denies && !super::forwards_dns(file) && !file.apis.is_empty() {
        let rule = "a caller whose DNS gives it another address for a listed host than Egret has is denied";
        let help = "remove dns: {forward: false}: Egret then captures the addresses that callers get";
        problems.push(Problem::at(written, rule, help).warning());
    }
}

fn action(written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> UnlistedAction {
    match written.map(|written| (written, written.value.as_str())) {
        None | Some((_, "allow")) => UnlistedAction::Allow,
        Some((_, "report")) => UnlistedAction::Report,
        Some((_, "deny")) => UnlistedAction::Deny,
        Some((written, other)) => {
            let rule = format!("`{other}` is not an action for unlisted destinations");
            problems.push(Problem::at(written, rule, "write allow, report or deny"));
            UnlistedAction::Allow
        }
    }
}

fn fail(written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> FailMode {
    match written.map(|written| (written, written.value.as_str())) {
        None | Some((_, "closed")) => FailMode::Closed,
        Some((_, "open")) => FailMode::Open,
        Some((written, other)) => {
            problems.push(Problem::at(written, format!("`{other}` is not a fail mode"), "write closed or open"));
            FailMode::Closed
        }
    }
}

fn except(written: &[Spanned<String>], problems: &mut Vec<Problem>) -> Vec<Destinations> {
    let mut all = Vec::new();
    for written in written {
        match destinations(&written.value) {
            Ok(destinations) => all.push(destinations),
            Err((rule, help)) => problems.push(Problem::at(written, rule, help)),
        }
    }
    all
}

/// Parses addresses with or without a port: `10.0.0.0/8`, `10.0.0.0/8:443`, `2001:db8::/32`, `[2001:db8::/32]:443`.
///
/// # Errors
/// The rule that the text breaks, and the remedy.
fn destinations(text: &str) -> Result<Destinations, (&'static str, String)> {
    let text = text.trim();
    let (addresses, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((addresses, port)) => (addresses, Some(port)),
        None if text.matches(':').count() == 1 => text.split_once(':').map_or((text, None), |(a, p)| (a, Some(p))),
        None => (text, None),
    };
    let net = addresses_of(addresses)?;
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => {
            let example = Destinations { net, port: Some(443) };
            return Err(("this is not a port", format!("write a port from 1 to 65535, like {example}")));
        }
    };
    Ok(Destinations { net, port })
}

#[cfg(test)]
mod tests {
    use super::destinations;

    #[test]
    fn destinations_are_addresses_with_or_without_a_port() {
        for (text, expected) in [
            ("203.0.113.7", Ok("203.0.113.7")),
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.0.0.0/8:5432", Ok("10.0.0.0/8:5432")),
            ("203.0.113.7:443", Ok("203.0.113.7:443")),
            ("2001:db8::1", Ok("2001:db8::1")),
            ("[2001:db8::1]:443", Ok("[2001:db8::1]:443")),
            ("[2001:db8::/32]:443", Ok("[2001:db8::/32]:443")),
            ("203.0.113.7:0", Err("this is not a port")),
            ("203.0.113.7:http", Err("this is not a port")),
            ("203.0.113.7/24", Err("this network has host bits set")),
            ("::ffff:203.0.113.7", Err("this is an IPv4 address written as IPv6")),
            ("time.example:123", Err("this is neither an address nor a network")),
        ] {
            let found = destinations(text).map(|found| found.to_string()).map_err(|(rule, _)| rule);
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }
}
