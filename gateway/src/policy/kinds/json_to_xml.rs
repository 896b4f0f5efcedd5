//! `json-to-xml`, as Json.NET does it: keys are elements, lists are elements of one name, `@name` is an attribute, `#text` the
//! text beside others, `#cdata-section` a text as it is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use quick_xml::escape::{escape, partial_escape};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Converted, Section, XmlName};
use crate::policy::engine::conversion::{self, Format};
use crate::policy::engine::json::{self, Json};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, Want, WhenReported, World,
};
use crate::syntax::{Form, Reader, Text};

/// Converts a JSON body to XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonToXml {
    /// When the body is converted.
    pub when: Converted,
    /// The element around all others, where the JSON has no single key.
    pub root: XmlName,
}

/// Converts JSON to XML.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct JsonToXmlFile {
    /// `content-type`: converts bodies whose Content-Type is JSON. `always`: converts all bodies. Default: `content-type`.
    /// Example: `always`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub apply: Option<Text>,
    /// Whether a response is converted only if the caller's Accept header names XML; `*/*` does not. Default: true.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub consider_accept_header: Option<Spanned<bool>>,
    /// The name of the root element, if the JSON is not an object with one key. Items of a list are `item` elements then.
    /// Default: `Document`. Example: `Order`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub root: Option<Text>,
}

impl Form for JsonToXml {
    type File = JsonToXmlFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Converts a JSON body to XML, as Json.NET does: of the request in inbound, of the response in outbound and on-error.\n\
        Numbers keep their digits.";

    fn compile(written: &Spanned<JsonToXmlFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let when = converted(file.apply.as_ref(), file.consider_accept_header.as_ref(), reader);
        let root = XmlName::parse(file.root.as_ref().map_or("Document", |root| root.value.trim()));
        if let (None, Some(written)) = (&root, &file.root) {
            let rule = format!("`{}` is not the name of an element", written.value);
            reader.wrong(written, rule, "write a name like Order or s:Order");
        }
        root.map(|root| Self { when, root })
    }
}

/// Compiles when a body is converted.
pub(super) fn converted(apply: Option<&Text>, accept: Option<&Spanned<bool>>, reader: &mut dyn Reader) -> Converted {
    let always = reader.one_of(apply, "not a value of `apply`", &[("content-type", false), ("always", true)]);
    let is_request = reader.section() == Section::Inbound;
    if let Some(written) = accept.filter(|accept| accept.value && is_request) {
        let rule = "`consider_accept_header` has no effect on a request: Accept is about the response";
        reader.wrong(written, rule, "remove it, or move the policy to outbound");
    }
    Converted { always, consider_accept: !is_request && accept.is_none_or(|accept| accept.value) }
}

impl Kind for JsonToXml {
    const NAME: &'static str = "json-to-xml";
    const SECTIONS: Sections = Sections {
        places: &[Section::Inbound, Section::Outbound, Section::OnError],
        rule: "does not work in the backend section",
        help: "move it to inbound or outbound",
    };

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::AsTheMessageSays,
            reads_sent_request: self.when.consider_accept,
            waits_for_response: false,
            needs_every_request: true,
            changes: vec![Change::Body, Change::Header("content-length"), Change::Header("content-type")],
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }

    fn wants(&self, call: &Call<'_>) -> Want {
        if conversion::applies(self.when, Format::Xml, call).is_ok() { Want::Text } else { Want::Nothing }
    }
}

impl Now for JsonToXml {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// The longest document that is made, as a multiple of what policies may read: a name is there once in a list, and twice in each element.
const MOST_GROWTH: usize = 4;

fn run(convert: &JsonToXml, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let most = call.context.max_body.saturating_mul(MOST_GROWTH);
    conversion::run(convert.when, Format::Xml, call, |body| xml(&json::parse(body)?, &convert.root, most))
}

/// An element with all that is in the JSON, in its order.
pub(super) fn xml(json: &Json, root: &XmlName, most: usize) -> Result<Vec<u8>, String> {
    let mut writer = Writer { text: String::new(), most };
    match json {
        Json::Object(entries) => {
            match entries.iter().filter(|(key, _)| key != DECLARATION).collect::<Vec<_>>().as_slice() {
                [(key, value)] if !key.starts_with(['@', '#']) && !matches!(value, Json::List(_)) => {
                    writer.element(&name(key), value)?;
                }
                _ => writer.element(root.as_str(), json)?,
            }
        }
        Json::List(items) => {
            writer.open(root.as_str(), &[])?;
            items.iter().try_for_each(|item| writer.element(ITEM, item))?;
            writer.close(root.as_str())?;
        }
        _ => writer.element(root.as_str(), json)?,
    }
    Ok(writer.text.into_bytes())
}

/// The key that other converters make of an XML declaration. It describes bytes that are gone.
const DECLARATION: &str = "?xml";

/// The name of items that have none.
const ITEM: &str = "item";

struct Writer {
    text: String,
    most: usize,
}

impl Writer {
    fn element(&mut self, name: &str, value: &Json) -> Result<(), String> {
        match value {
            Json::Null => self.push(&format!("<{name}/>")),
            Json::List(items) => items.iter().try_for_each(|item| match item {
                // A list in a list is an element of that name around elements of that name.
                Json::List(_) => {
                    self.open(name, &[])?;
                    self.element(name, item)?;
                    self.close(name)
                }
                _ => self.element(name, item),
            }),
            Json::Object(entries) => {
                let attributes: Vec<_> = entries.iter().filter(|(key, _)| key.starts_with('@')).collect();
                let members = entries.iter().filter(|(key, _)| !key.starts_with('@') && key != DECLARATION);
                self.open(name, &attributes)?;
                for (key, value) in members {
                    match key.as_str() {
                        "#text" => self.texts(value, encoded)?,
                        "#cdata-section" => self.texts(value, |text| {
                            // A section ends where a character can only be encoded.
                            let text = text.replace("]]>", "]]]]><![CDATA[>").replace('\r', "]]>&#13;<![CDATA[");
                            format!("<![CDATA[{text}]]>").into()
                        })?,
                        key => self.element(&self::name(key), value)?,
                    }
                }
                self.close(name)
            }
            Json::Bool(_) | Json::Number(_) | Json::Text(_) => {
                self.open(name, &[])?;
                self.texts(value, encoded)?;
                self.close(name)
            }
        }
    }

    fn open(&mut self, name: &str, attributes: &[&(String, Json)]) -> Result<(), String> {
        let mut tag = format!("<{name}");
        let mut names = HashSet::new();
        for (key, value) in attributes {
            let name = self::name(key.strip_prefix('@').unwrap_or(key));
            let text = said(value)?.ok_or("not to be converted: an attribute is a text, a number, true or false")?;
            // What is not encoded comes back as a space (XML 1.0 §3.3.3).
            let text = escape(text.as_ref()).replace('\n', "&#10;").replace('\t', "&#9;").replace('\r', "&#13;");
            let _ = write!(tag, " {name}=\"{text}\"");
            if !names.insert(name) {
                return Err("not to be converted: an element would have two attributes of one name".to_owned());
            }
        }
        self.push(&(tag + ">"))
    }

    fn close(&mut self, name: &str) -> Result<(), String> {
        self.push(&format!("</{name}>"))
    }

    fn texts(&mut self, value: &Json, written: impl Fn(&str) -> Cow<'_, str> + Copy) -> Result<(), String> {
        if let Json::List(items) = value {
            return items.iter().try_for_each(|item| self.texts(item, written));
        }
        let text = said(value)?.ok_or("not to be converted: a text beside elements is one")?;
        self.push(&written(&text))
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        if self.text.len() + text.len() > self.most {
            return Err(format!("not to be converted: the XML would have more than {} bytes", self.most));
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// A text for an element. What ends a line is encoded where a reader would take it for another end (XML 1.0 §2.11).
fn encoded(text: &str) -> Cow<'_, str> {
    match partial_escape(text) {
        text if text.contains('\r') => text.replace('\r', "&#13;").into(),
        text => text,
    }
}

/// A scalar as a text.
fn said(value: &Json) -> Result<Option<Cow<'_, str>>, String> {
    let text: Cow<'_, str> = match value {
        Json::Null => "".into(),
        Json::Bool(holds) => holds.to_string().into(),
        Json::Number(number) => number.as_str().into(),
        Json::Text(text) => text.as_str().into(),
        Json::List(_) | Json::Object(_) => return Ok(None),
    };
    // XML 1.0 §2.2: not even encoded.
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    if text.chars().all(is_char) {
        Ok(Some(text))
    } else {
        Err("not to be converted: XML has no such character".to_owned())
    }
}

/// A key as an element's name: what cannot be in one is `_x0020_`, as of .NET's `XmlConvert.EncodeName`.
fn name(key: &str) -> Cow<'_, str> {
    if XmlName::parse(key).is_some() && !key.contains("_x") {
        return key.into();
    }
    let mut name = String::new();
    let colon =
        key.find(':').filter(|at| XmlName::parse(&key[..*at]).is_some() && key[*at + 1..].starts_with(XmlName::begins));
    for (at, c) in key.char_indices() {
        let fits = if name.is_empty() { XmlName::begins(c) } else { XmlName::has(c) };
        let is_code = c == '_' && key[at..].starts_with("_x");
        if (fits && !is_code) || colon == Some(at) {
            name.push(c);
        } else {
            let _ = write!(name, "_x{:04X}_", u32::from(c));
        }
    }
    if name.is_empty() { "_".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::xml;
    use crate::model::XmlName;
    use crate::policy::engine::json;

    fn converted(text: &str) -> Result<String, String> {
        let xml = xml(&json::parse(text.as_bytes())?, &XmlName::parse("root").unwrap(), 1000)?;
        Ok(String::from_utf8(xml).unwrap())
    }

    #[test]
    fn json_becomes_elements_in_its_order() {
        for (json, expected) in [
            (
                r#"{"order": {"b": 1, "a": [true, null, "x"], "c": {}}}"#,
                "<order><b>1</b><a>true</a><a/><a>x</a><c></c></order>",
            ),
            (r#"{"?xml": {"@version": "1.0"}, "a": "b"}"#, "<a>b</a>"),
            (r#"{"a": 1, "b": 2}"#, "<root><a>1</a><b>2</b></root>"),
            (r#"{"a": [1, 2]}"#, "<root><a>1</a><a>2</a></root>"),
            (r#"[1, [2, 3]]"#, "<root><item>1</item><item>2</item><item>3</item></root>"),
            (r#"{"a": {"b": [[1, 2], [3]]}}"#, "<a><b><b>1</b><b>2</b></b><b><b>3</b></b></a>"),
            (r#""text""#, "<root>text</root>"),
            ("1.50", "<root>1.50</root>"),
            (
                r#"{"a": [9007199254740993, 18446744073709551616, -1e-7, 0.1234567890123456789]}"#,
                "<root><a>9007199254740993</a><a>18446744073709551616</a><a>-1e-7</a><a>0.1234567890123456789</a></root>",
            ),
            ("null", "<root/>"),
            (r#"{"@a": 1}"#, "<root a=\"1\"></root>"),
            (
                r##"{"a": {"@href": "<\"\n&>", "#text": "1 < 2", "b": null}}"##,
                "<a href=\"&lt;&quot;&#10;&amp;&gt;\">1 &lt; 2<b/></a>",
            ),
            (r##"{"a": {"#cdata-section": "<]]>"}}"##, "<a><![CDATA[<]]]]><![CDATA[>]]></a>"),
            (r##"{"a": {"#cdata-section": "x\r\n"}}"##, "<a><![CDATA[x]]>&#13;<![CDATA[\n]]></a>"),
            (
                r#"{"a": {"@b": 1, "@@b": "\r\n", "c": "x\ry"}}"#,
                "<a b=\"1\" _x0040_b=\"&#13;&#10;\"><c>x&#13;y</c></a>",
            ),
            (
                r#"{"s:a": {"@xmlns:s": "urn:s", "two words": 1, "1": 2, "a:b:c": 3, "_x0041_": 4, "": 5}}"#,
                "<s:a xmlns:s=\"urn:s\"><two_x0020_words>1</two_x0020_words><_x0031_>2</_x0031_><a:b_x003A_c>3</a:b_x003A_c>\
                 <_x005F_x0041_>4</_x005F_x0041_><_>5</_></s:a>",
            ),
        ] {
            assert_eq!(converted(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_xml_cannot_say_is_told() {
        for (json, told) in [
            (r#"{"a": "\u0000"}"#, "XML has no such character"),
            (r#"{"a": {"@b": {}}}"#, "an attribute is"),
            (r#"{"a": {"@": 1, "@_": 2}}"#, "two attributes of one name"),
            (r##"{"a": {"#text": {}}}"##, "a text beside elements"),
            ("{", "not JSON"),
        ] {
            let error = converted(json).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let long = format!("{{\"{}\": [1, 1, 1, 1, 1, 1]}}", "n".repeat(100));
        assert!(converted(&long).unwrap_err().contains("more than 1000 bytes"));
    }
}
