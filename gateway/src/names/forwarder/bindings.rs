//! What a response says of the listed host that was asked for: its addresses, also under other names that it has (CNAME) and as
//! hints of HTTPS and SVCB records (RFC 9460).

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::rdata::SVCB;
use hickory_resolver::proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record};

/// Most names that a host has, one leading to the other.
const LONGEST_CHAIN: usize = 16;

/// What a response says of a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    /// How long they hold.
    pub(super) ttl: Duration,
    /// The response without the parameters that would lead callers past Egret, if it had any.
    pub(super) changed: Option<Vec<u8>>,
}

/// Reads a response; returns nothing if it is malformed.
pub(super) fn of(response: &[u8]) -> Option<Found> {
    let mut message = Message::from_vec(response).ok()?;
    let query = message.queries.first().filter(|query| query.query_class() == DNSClass::IN)?;
    let names = chain(query.name().clone(), &message.answers);
    let (mut addresses, mut ttl) = (Vec::new(), u32::MAX);
    for record in message.answers.iter().chain(&message.additionals).filter(|record| names.contains(&record.name)) {
        match &record.data {
            RData::A(a) => addresses.push(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => addresses.push(IpAddr::V6(aaaa.0).to_canonical()),
            RData::HTTPS(https) => addresses.extend(hints(https)),
            RData::SVCB(svcb) => addresses.extend(hints(svcb)),
            RData::CNAME(_) => {}
            _ => continue,
        }
        ttl = ttl.min(record.ttl);
    }
    addresses.sort_unstable();
    addresses.dedup();
    let changed = strip(&mut message).then(|| message.to_vec().ok()).flatten();
    Some(Found { addresses, ttl: Duration::from_secs(ttl.into()), changed })
}

/// Returns the names that the host has in these records, its own first.
fn chain(host: Name, answers: &[Record]) -> Vec<Name> {
    let mut names = vec![host];
    let mut at = 0;
    while let Some(name) = names.get(at).cloned()
        && names.len() < LONGEST_CHAIN
    {
        for record in answers.iter().filter(|record| record.name == name) {
            let target = match &record.data {
                RData::CNAME(target) => &target.0,
                RData::HTTPS(https) => &https.target_name,
                RData::SVCB(svcb) => &svcb.target_name,
                _ => continue,
            };
            // The root stands for the record's own name.
            if !target.is_root() && !names.contains(target) {
                names.push(target.clone());
            }
        }
        at += 1;
    }
    names
}

fn hints(record: &SVCB) -> Vec<IpAddr> {
    let of = |(_, value): &(SvcParamKey, SvcParamValue)| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| IpAddr::V4(a.0)).collect(),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|aaaa| IpAddr::V6(aaaa.0).to_canonical()).collect(),
        _ => Vec::new(),
    };
    record.svc_params.iter().flat_map(of).collect()
}

/// Removes the keys of encrypted ClientHellos, which hide the name from Egret, and HTTP/3, which does not pass it. Returns whether
/// there were any. A signed message stays as it is: a change would make it invalid.
fn strip(message: &mut Message) -> bool {
    if message.signature.is_some() {
        return false;
    }
    let mut stripped = false;
    for record in message.answers.iter_mut().chain(&mut message.additionals) {
        match &mut record.data {
            RData::HTTPS(https) => stripped |= strip_record(&mut https.0),
            RData::SVCB(svcb) => stripped |= strip_record(svcb),
            _ => {}
        }
    }
    stripped
}

fn strip_record(record: &mut SVCB) -> bool {
    let before = record.svc_params.clone();
    for (_, value) in &mut record.svc_params {
        if let SvcParamValue::Alpn(alpn) = value {
            // Drafts are spelled `h3-29`.
            alpn.0.retain(|protocol| protocol != "h3" && !protocol.starts_with("h3-"));
        }
    }
    let has_protocols =
        record.svc_params.iter().any(|(_, value)| matches!(value, SvcParamValue::Alpn(alpn) if !alpn.0.is_empty()));
    let stays = |key: &SvcParamKey| match key {
        SvcParamKey::EchConfigList => false,
        // Without another protocol the default is all that is left.
        SvcParamKey::Alpn | SvcParamKey::NoDefaultAlpn => has_protocols,
        _ => true,
    };
    record.svc_params.retain(|(key, _)| stays(key));
    for (_, value) in &mut record.svc_params {
        if let SvcParamValue::Mandatory(mandatory) = value {
            mandatory.0.retain(stays);
        }
    }
    record
        .svc_params
        .retain(|(_, value)| !matches!(value, SvcParamValue::Mandatory(mandatory) if mandatory.0.is_empty()));
    record.svc_params != before
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::{OpCode, Query};
    use hickory_resolver::proto::rr::RecordType;
    use hickory_resolver::proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, Mandatory};
    use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, HTTPS};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn response(records: Vec<(&str, u32, RData)>) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(name("API.partner.example."), RecordType::A));
        message.add_answers(records.into_iter().map(|(owner, ttl, data)| Record::from_rdata(name(owner), ttl, data)));
        message
    }

    fn found(records: Vec<(&str, u32, RData)>) -> Found {
        of(&response(records).to_vec().unwrap()).unwrap()
    }

    fn a(address: &str) -> RData {
        RData::A(A(address.parse().unwrap()))
    }

    fn alias(target: &str) -> RData {
        RData::CNAME(CNAME(name(target)))
    }

    #[test]
    fn addresses_are_those_of_the_name_and_of_its_other_names_only() {
        let found = found(vec![
            ("edge.cdn.example.", 30, a("203.0.113.8")),
            ("api.partner.example.", 300, alias("partner.cdn.example.")),
            ("partner.CDN.example.", 60, alias("edge.cdn.example.")),
            ("edge.cdn.example.", 30, RData::AAAA(AAAA("2001:db8::8".parse().unwrap()))),
            ("victim.example.", 1, a("203.0.113.66")),
        ]);
        assert_eq!(found.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["203.0.113.8", "2001:db8::8"]);
        assert_eq!((found.ttl, found.changed), (Duration::from_secs(30), None));
    }

    #[test]
    fn a_loop_of_names_ends() {
        let records =
            vec![("api.partner.example.", 1, alias("b.example.")), ("b.example.", 1, alias("API.partner.example."))];
        assert!(found(records).addresses.is_empty());
        let names: Vec<_> = (0..40).map(|number| format!("n{number}.example.")).collect();
        let mut records = vec![("api.partner.example.", 1, alias("n0.example."))];
        records.extend(names.windows(2).map(|pair| (pair[0].as_str(), 1, alias(&pair[1]))));
        records.push(("n39.example.", 1, a("203.0.113.7")));
        assert!(found(records).addresses.is_empty());
    }

    fn https(params: Vec<(SvcParamKey, SvcParamValue)>) -> RData {
        RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), params)))
    }

    fn protocols(names: &[&str]) -> (SvcParamKey, SvcParamValue) {
        (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(names.iter().map(ToString::to_string).collect())))
    }

    fn hint() -> (SvcParamKey, SvcParamValue) {
        (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A("203.0.113.7".parse().unwrap())])))
    }

    fn params(changed: &[u8]) -> Vec<(SvcParamKey, SvcParamValue)> {
        match &Message::from_vec(changed).unwrap().answers[0].data {
            RData::HTTPS(https) => https.svc_params.clone(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn encrypted_client_hellos_and_http3_are_removed_and_nothing_else() {
        let ech = (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![1, 2, 3])));
        let mandatory = |keys| (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(keys)));
        let found = found(vec![(
            "api.partner.example.",
            60,
            https(vec![
                mandatory(vec![SvcParamKey::Alpn, SvcParamKey::EchConfigList]),
                protocols(&["h3", "h2", "h3-29"]),
                hint(),
                ech,
            ]),
        )]);
        assert_eq!(found.addresses, ["203.0.113.7".parse::<IpAddr>().unwrap()]);
        let expected = vec![mandatory(vec![SvcParamKey::Alpn]), protocols(&["h2"]), hint()];
        assert_eq!(params(&found.changed.unwrap()), expected);
    }

    #[test]
    fn a_record_of_http3_alone_falls_back_to_the_default() {
        let only = vec![protocols(&["h3"]), (SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn), hint()];
        let found = found(vec![("api.partner.example.", 60, https(only))]);
        assert_eq!(params(&found.changed.unwrap()), [hint()]);
    }

    #[test]
    fn a_record_with_nothing_to_remove_stays_as_it_is() {
        let found = found(vec![("api.partner.example.", 60, https(vec![protocols(&["h2"]), hint()]))]);
        assert_eq!(found.changed, None);
    }

    #[test]
    fn no_message_makes_it_fail() {
        let whole = response(vec![("api.partner.example.", 60, a("203.0.113.7"))]).to_vec().unwrap();
        for at in 0..whole.len() {
            let _ = of(&whole[..at]);
            for byte in [0, 1, 63, 64, 192, 255] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let _ = of(&broken);
            }
        }
    }
}
