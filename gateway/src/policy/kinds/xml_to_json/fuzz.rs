use super::super::json_to_xml::xml;
use super::{JsonKind, json};
use crate::fuzz::Target;
use crate::model::XmlName;
use crate::policy::engine::json::{Json, parse};

const XML: Target = Target {
    corpus: "xml",
    words: &[
        "<a>",
        "</a>",
        "<a/>",
        "<b c='1'>",
        "</b>",
        "&lt;",
        "&#13;",
        "&#x0;",
        "&#x10FFFF;",
        "&x;",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?x?>",
        "<?xml version='1.0'?>",
        "<!DOCTYPE a>",
        " xmlns:p='urn:p'",
        "p:",
        ":",
        " a='1' a='2'",
        "\r",
        "\r\n",
        "\u{feff}",
        "\u{85}",
        "\u{e9}",
        "\"",
        "'",
        "=",
        "<",
        ">",
        "#text",
        "_x0020_",
    ],
    cases: 2500,
    longest: 1024,
};

const JSON: Target = Target {
    corpus: "json",
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\": ",
        "\"@a\": ",
        "\"@@a\": ",
        "\"@\": 1",
        "\"#text\": ",
        "\"#cdata-section\": ",
        "\"?xml\": ",
        "null",
        "true",
        "-0",
        "1e5",
        "0.1",
        "\\r",
        "\\n",
        "\\t",
        "\\u0085",
        "\\ufffe",
        "\\u0000",
        "\\ud83d\\ude00",
        "]]>",
        "<",
        "&",
        " ",
        "\"\": 1",
        "_x0041_",
        "xmlns",
        ":",
    ],
    cases: 2500,
    longest: 1024,
};

fn written(json: &Json) -> Result<Vec<u8>, String> {
    xml(json, &XmlName::parse("root").unwrap(), 1 << 20)
}

/// Returns the texts of attributes that no other policy or converter may read differently, in their order.
fn attributes(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::List(items) => items.iter().for_each(|item| attributes(item, found)),
        Json::Object(entries) => {
            for (key, value) in entries.iter().filter(|(key, _)| key != "?xml") {
                match value {
                    Json::Text(text) if key.starts_with('@') => found.push(text.clone()),
                    value => attributes(value, found),
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

#[test]
fn what_is_read_as_xml_is_json_with_each_key_once() {
    XML.check(|bytes| {
        for kind in [JsonKind::Direct, JsonKind::JavascriptFriendly] {
            let Ok(read) = json(bytes, kind) else { continue };
            assert_eq!(parse(read.to_string().as_bytes()), Ok(read));
        }
    });
}

/// What comes of a round is the same after another one.
#[test]
fn xml_keeps_what_is_in_it_from_round_to_round() {
    XML.check(|bytes| {
        let Ok(before) = json(bytes, JsonKind::Direct) else { return };
        // Names that look as if they were encoded are encoded.
        if before.to_string().contains("_x") {
            return;
        }
        let Ok(once) = written(&before) else { return };
        let after = json(&once, JsonKind::Direct).expect("what is written is XML");
        let twice = written(&after).unwrap();
        assert_eq!(json(&twice, JsonKind::Direct), Ok(after));
    });
}

#[test]
fn json_becomes_xml_that_can_be_read() {
    JSON.check(|bytes| {
        let Ok(before) = parse(bytes) else { return };
        assert_eq!(parse(before.to_string().as_bytes()).as_ref(), Ok(&before));
        let Ok(xml) = written(&before) else { return };
        match json(&xml, JsonKind::Direct) {
            Ok(after) => {
                let (mut sent, mut came) = (Vec::new(), Vec::new());
                attributes(&before, &mut sent);
                attributes(&after, &mut came);
                sent.iter().for_each(|text| {
                    assert!(came.contains(text), "{text:?} is not an attribute of {}", String::from_utf8_lossy(&xml))
                });
            }
            Err(why) => assert!(why.contains("elements in one another"), "{why}: {}", String::from_utf8_lossy(&xml)),
        }
    });
}

#[test]
fn the_end_of_a_line_is_kept_as_it_is() {
    for text in ["\r", "\r\n", "a\rb", "\n\r\u{85}\u{2028}", "\t"] {
        let before = Json::Object(vec![(
            "a".to_owned(),
            Json::Object(vec![
                ("@b".to_owned(), Json::Text(text.to_owned())),
                ("c".to_owned(), Json::Text(format!("x{text}y"))),
            ]),
        )]);
        let xml = written(&before).unwrap();
        assert_eq!(json(&xml, JsonKind::Direct), Ok(before), "{}", String::from_utf8_lossy(&xml));
    }
}
