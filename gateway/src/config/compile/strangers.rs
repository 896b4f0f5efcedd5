//! What may be at an API's addresses beside the API, and which addresses these may be.

use ipnet::IpNet;

use super::policies::addresses_of;
use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::{Egress, Mode, Reach, Strangers};

/// Compiles the key `strangers`.
pub(super) fn compile(file: &ApiFile, mode: Mode, egress: &Egress, problems: &mut Vec<Problem>) -> Strangers {
    let default = match mode {
        Mode::Deny => Strangers::Refuse,
        _ if egress.proxy.is_some() => Strangers::Refuse,
        _ => Strangers::Carry,
    };
    let Some(written) = &file.strangers else { return default };
    if mode == Mode::Bind {
        let rule = "connections in mode bind do not pass through Egret, which cannot see the names in them";
        problems.push(Problem::at(written, rule, "remove it, or write mode: passthrough"));
    }
    if mode == Mode::Deny && written.value == "carry" {
        let rule = "connections to this API's addresses are denied only if they name its hosts: with `carry` the name decides, and \
                    Egret carries other names there without looking inside of TLS";
        problems.push(Problem::at(written, rule, "remove it, unless others live at these addresses").warning());
    }
    match written.value.as_str() {
        "carry" => Strangers::Carry,
        "refuse" => Strangers::Refuse,
        other => {
            let rule = format!("`{other}` is not an action for strangers");
            problems.push(Problem::at(written, rule, "write carry or refuse"));
            default
        }
    }
}

/// Compiles the key `allow_addresses`.
pub(super) fn allow_addresses(file: &ApiFile, problems: &mut Vec<Problem>) -> Vec<IpNet> {
    let mut allowed = Vec::new();
    for written in &file.allow_addresses {
        match addresses_of(&written.value) {
            Ok(net) if Reach::is_never(net.addr()) => {
                let rule = format!("no third party can have the address {}", net.addr());
                let help = "remove it: loopback, link-local, multicast and unspecified addresses cannot be allowed";
                problems.push(Problem::at(written, rule, help));
            }
            Ok(net) => allowed.push(net),
            Err((rule, help)) => problems.push(Problem::at(written, rule, help)),
        }
    }
    allowed
}
