//! What holds for any bytes that come over the wire, and for any change to a sensible message.

use std::net::IpAddr;

use hickory_resolver::proto::op::{Message, OpCode, Query};
use hickory_resolver::proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, SvcParamKey, SvcParamValue};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, HTTPS, SVCB};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{bindings, message};

fn name() -> impl Strategy<Value = Name> {
    let label = prop::sample::select(vec!["a", "B", "api", "partner", "example", "_443", "_https"]);
    vec(label, 1..5).prop_map(|labels| Name::from_ascii(format!("{}.", labels.join("."))).unwrap())
}

fn parameters() -> impl Strategy<Value = Vec<(SvcParamKey, SvcParamValue)>> {
    let protocols = vec(prop::sample::select(vec!["h2", "h3", "h3-29", "http/1.1"]), 0..4);
    (protocols, any::<bool>(), vec(any::<[u8; 4]>(), 0..3)).prop_map(|(protocols, has_ech, hints)| {
        let mut parameters = Vec::new();
        if !protocols.is_empty() {
            let protocols = protocols.into_iter().map(str::to_owned).collect();
            parameters.push((SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(protocols))));
        }
        if !hints.is_empty() {
            let hints = hints.into_iter().map(|hint| A(hint.into())).collect();
            parameters.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(hints))));
        }
        if has_ech {
            let ech = SvcParamValue::EchConfigList(EchConfigList(vec![1, 2, 3]));
            parameters.push((SvcParamKey::EchConfigList, ech));
        }
        parameters
    })
}

fn data() -> impl Strategy<Value = RData> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|address| RData::A(A(address.into()))),
        any::<[u8; 16]>().prop_map(|address| RData::AAAA(AAAA(address.into()))),
        name().prop_map(|target| RData::CNAME(CNAME(target))),
        (name(), parameters()).prop_map(|(target, parameters)| RData::HTTPS(HTTPS(SVCB::new(1, target, parameters)))),
        (name(), parameters()).prop_map(|(target, parameters)| RData::SVCB(SVCB::new(1, target, parameters))),
    ]
}

fn response() -> impl Strategy<Value = Message> {
    let kind = prop::sample::select(vec![RecordType::A, RecordType::AAAA, RecordType::HTTPS]);
    let records = || vec((name(), any::<u32>(), data()), 0..8);
    (any::<u16>(), name(), kind, records(), records()).prop_map(|(id, host, kind, answers, additionals)| {
        let mut message = Message::response(id, OpCode::Query);
        message.add_query(Query::query(host, kind));
        let record = |(name, ttl, data)| Record::from_rdata(name, ttl, data);
        message.add_answers(answers.into_iter().map(record));
        message.add_additionals(additionals.into_iter().map(record));
        message
    })
}

/// Some bytes of a response replaced, and its end cut off.
fn broken() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (response(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), any::<prop::sample::Index>(), any::<bool>())
        .prop_map(|(response, changes, end, is_cut)| {
            let whole = response.to_vec().unwrap();
            let mut broken = whole.clone();
            for (at, byte) in changes {
                let at = at.index(broken.len());
                broken[at] = byte;
            }
            if is_cut {
                broken.truncate(end.index(whole.len()));
            }
            (whole, broken)
        })
}

/// The query that a response is to.
fn query_of(response: &[u8]) -> Vec<u8> {
    let mut query = response.to_vec();
    query[2] &= 0x7f;
    query
}

/// All addresses of a message, whatever they are of.
fn addresses(message: &Message) -> Vec<IpAddr> {
    let hints = |record: &SVCB| {
        let of = |(_, value): &(SvcParamKey, SvcParamValue)| match value {
            SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|address| IpAddr::V4(address.0)).collect(),
            _ => Vec::new(),
        };
        record.svc_params.iter().flat_map(of).collect()
    };
    let of = |record: &Record| match &record.data {
        RData::A(address) => vec![IpAddr::V4(address.0)],
        RData::AAAA(address) => vec![IpAddr::V6(address.0).to_canonical()],
        RData::HTTPS(record) => hints(record),
        RData::SVCB(record) => hints(record),
        _ => Vec::new(),
    };
    message.answers.iter().chain(&message.additionals).flat_map(of).collect()
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes in vec(any::<u8>(), 0..600), others in vec(any::<u8>(), 0..600)) {
        let _ = message::question(&bytes);
        let _ = message::responds(&others, &bytes);
        let _ = bindings::of(&bytes);
    }

    #[test]
    fn no_change_makes_it_fail_or_believe_another_response((whole, broken) in broken()) {
        let query = query_of(&whole);
        prop_assert!(message::responds(&query, &whole));
        let _ = bindings::of(&broken);
        if message::responds(&query, &broken) {
            prop_assert_eq!(&broken[..2], &query[..2]);
            prop_assert!(broken[2] & 0x80 != 0);
            let says_nothing = broken[4..6] == [0, 0] && broken[3] & 0x0f != 0;
            prop_assert!(says_nothing || message::question(&broken) == message::question(&query));
        }
    }

    #[test]
    fn addresses_are_in_the_response_and_a_changed_one_has_the_same(response in response()) {
        let found = bindings::of(&response.to_vec().unwrap()).unwrap();
        let there = addresses(&response);
        prop_assert!(found.addresses.iter().all(|address| there.contains(address)));
        if let Some(changed) = found.changed {
            let again = bindings::of(&changed).unwrap();
            prop_assert_eq!((again.addresses, again.ttl, again.changed), (found.addresses, found.ttl, None));
            let changed = Message::from_vec(&changed).unwrap();
            prop_assert_eq!(changed.answers.len(), response.answers.len());
            prop_assert_eq!(changed.additionals.len(), response.additionals.len());
        }
    }
}
