use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::rdata::SVCB;
use hickory_resolver::proto::rr::rdata::svcb::SvcParamValue;
use hickory_resolver::proto::rr::{RData, Record};

use super::{bindings, message};
use crate::fuzz::Target;

const DNS: Target = Target {
    corpus: "dns",
    words: &[
        "\u{3}api\u{7}partner\u{7}example\0",
        "\u{c}",
        "\0\u{1}\0\u{1}",
        "\0\u{41}\0\u{1}",
        "\0\u{5}\0\u{1}",
        "\0\u{1}\0\u{6}\u{2}h3\u{2}h2",
        "\0\u{5}\0\u{4}\u{1}\u{2}\u{3}\u{4}",
        "\0\u{4}\0\u{4}\u{1}\u{1}\u{1}\u{1}",
        "\0\0\0\u{2}\0\u{1}",
        "\0\u{29}\u{4}",
    ],
    cases: 3000,
    longest: 1400,
};

fn parameters(record: &Record) -> Option<&SVCB> {
    match &record.data {
        RData::HTTPS(https) => Some(&https.0),
        RData::SVCB(svcb) => Some(svcb),
        _ => None,
    }
}

/// Returns whether a record would lead its reader past Egret.
fn leads_past(record: &Record) -> bool {
    let leads = |value: &SvcParamValue| match value {
        SvcParamValue::EchConfigList(_) => true,
        SvcParamValue::Alpn(alpn) => alpn.0.iter().any(|name| name == "h3" || name.starts_with("h3-")),
        _ => false,
    };
    parameters(record).is_some_and(|record| record.svc_params.iter().any(|(_, value)| leads(value)))
}

fn records(message: &Message) -> Vec<&Record> {
    message.answers.iter().chain(&message.additionals).collect()
}

#[test]
fn a_response_is_relayed_as_it_is_but_for_what_leads_past_egret() {
    DNS.check(|bytes| {
        let _ = (message::question(bytes), message::responds(bytes, bytes));
        let Some(found) = bindings::of(bytes) else { return };
        let whole = Message::from_vec(bytes).unwrap();
        let leads = whole.signature.is_none() && records(&whole).into_iter().any(leads_past);
        assert_eq!(found.changed.is_some(), leads, "changed if something leads past Egret, and only then");
        let Some(changed) = found.changed else { return };
        let changed = Message::from_vec(&changed).unwrap();
        assert!(!records(&changed).into_iter().any(leads_past));
        assert_eq!(changed.metadata, whole.metadata);
        assert_eq!((&changed.queries, &changed.authorities), (&whole.queries, &whole.authorities));
        assert_eq!(changed.edns, whole.edns);
        let (before, after) = (records(&whole), records(&changed));
        assert_eq!(before.len(), after.len());
        for (before, after) in before.into_iter().zip(after) {
            assert_eq!((&before.name, before.ttl, before.dns_class), (&after.name, after.ttl, after.dns_class));
            match (parameters(before), parameters(after)) {
                (Some(before), Some(after)) => {
                    assert_eq!((before.svc_priority, &before.target_name), (after.svc_priority, &after.target_name));
                    assert!(
                        after.svc_params.iter().all(|(key, _)| before.svc_params.iter().any(|(known, _)| known == key))
                    );
                }
                _ => assert_eq!(before.data, after.data),
            }
        }
    });
}
