//! `xml-to-json`. Documents with a document type are refused, and only the five entities that XML itself defines are known.

use std::collections::{HashMap, HashSet};

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::json_to_xml::converted;
use crate::model::{Converted, Section, XmlName};
use crate::policy::engine::conversion::{self, Format};
use crate::policy::engine::json::Json;
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, Want, WhenReported, World,
};
use crate::syntax::{self, Form, Text};

/// Converts an XML body to JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XmlToJson {
    /// When the body is converted.
    pub when: Converted,
    /// The form of the JSON.
    pub kind: JsonKind,
}

/// The form of JSON that is made of XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// It keeps all differences: attributes are `@name`, texts beside elements `#text`.
    Direct,
    /// It is easy for programs: attributes are like elements, and names have no prefixes.
    JavascriptFriendly,
}

/// Converts XML to JSON.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct XmlToJsonFile {
    /// `content-type`: converts bodies whose Content-Type is XML. `always`: converts all bodies. Default: `content-type`.
    /// Example: `always`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub apply: Option<Text>,
    /// Whether a response is converted only if the caller's Accept header names JSON; `*/*` does not. Default: true.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub consider_accept_header: Option<Spanned<bool>>,
    /// `direct`: attributes become `@name`, text beside elements `#text`, CDATA `#cdata-section`. `javascript-friendly`:
    /// attributes become members like elements, names lose their prefixes, text beside elements becomes `text`. With both,
    /// elements of one name become a list, all values are texts, and an empty element becomes null. Default: `direct`.
    /// Example: `javascript-friendly`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub kind: Option<Text>,
}

impl Form for XmlToJson {
    type File = XmlToJsonFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Converts an XML body (UTF-8, without a document type) to JSON: of the request in inbound, of the response in outbound\n\
        and on-error.";

    fn compile(written: &Spanned<XmlToJsonFile>, reader: &mut dyn syntax::Reader) -> Option<Self> {
        let file = &written.value;
        let when = converted(file.apply.as_ref(), file.consider_accept_header.as_ref(), reader);
        let kinds = [("direct", JsonKind::Direct), ("javascript-friendly", JsonKind::JavascriptFriendly)];
        Some(Self { when, kind: reader.one_of(file.kind.as_ref(), "not a value of `kind`", &kinds) })
    }
}

impl Kind for XmlToJson {
    const NAME: &'static str = "xml-to-json";
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
        if conversion::applies(self.when, Format::Json, call).is_ok() { Want::Text } else { Want::Nothing }
    }
}

impl Now for XmlToJson {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// The deepest nesting of elements.
const DEEPEST: usize = 100;

fn run(convert: &XmlToJson, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    conversion::run(convert.when, Format::Json, call, |body| Ok(json(body, convert.kind)?.to_string().into_bytes()))
}

/// Returns a document as JSON.
fn json(body: &[u8], kind: JsonKind) -> Result<Json, String> {
    let text = std::str::from_utf8(body).map_err(|_| OTHER_ENCODING.to_owned())?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let (mut open, mut document): (Vec<Element>, _) = (Vec::new(), Element::new(kind, String::new(), false));
    loop {
        let event = reader.read_event().map_err(|_| ill_formed(&reader))?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            if open.len() == DEEPEST {
                return Err(format!("XML with more than {DEEPEST} elements in one another"));
            }
            if open.is_empty() && document.is_full() {
                return Err("not one XML document: it has a second root".to_owned());
            }
        }
        let around = open.last_mut().unwrap_or(&mut document);
        match event {
            Event::Decl(declaration) => {
                if !body.is_ascii() && !is_utf8(&declaration) {
                    return Err(OTHER_ENCODING.to_owned());
                }
            }
            Event::DocType(_) => return Err("XML with a document type, which is not read here".to_owned()),
            Event::Start(start) => {
                around.end_text();
                open.push(Element::begin(kind, &start, false).ok_or_else(|| ill_formed(&reader))?);
            }
            Event::Empty(start) => {
                around.end_text();
                let element = Element::begin(kind, &start, true).ok_or_else(|| ill_formed(&reader))?;
                around.add(element.name.clone(), element.end());
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| ill_formed(&reader))?;
                let around = open.last_mut().unwrap_or(&mut document);
                around.add(element.name.clone(), element.end());
            }
            Event::Text(text) => around.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                around.text.push(character(&reference).ok_or("XML with an entity that is not known")?);
                around.is_said = true;
            }
            Event::CData(text) => {
                let text = text.xml10_content();
                match kind {
                    JsonKind::Direct => {
                        around.end_text();
                        around.add("#cdata-section".to_owned(), Json::Text(text.into_owned()));
                    }
                    JsonKind::JavascriptFriendly => around.text.push_str(&text),
                }
                around.is_said = true;
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
        if open.is_empty() && (!document.text.trim_matches(WHITE).is_empty() || document.is_said) {
            return Err(ill_formed(&reader));
        }
    }
    match (open.is_empty(), document.is_full()) {
        (true, true) => Ok(Json::Object(document.members)),
        _ => Err("not XML: it ends too early".to_owned()),
    }
}

/// The white space of XML (XML 1.0 §2.3).
const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

const OTHER_ENCODING: &str = "XML in another encoding than UTF-8";

fn ill_formed(reader: &Reader<&[u8]>) -> String {
    format!("not XML: it is ill-formed before byte {}", reader.buffer_position())
}

fn is_utf8(declaration: &BytesDecl<'_>) -> bool {
    match declaration.encoding() {
        None => true,
        Some(Ok(encoding)) => encoding.eq_ignore_ascii_case("utf-8"),
        Some(Err(_)) => false,
    }
}

fn character(reference: &BytesRef<'_>) -> Option<char> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => Some(c),
        Ok(None) => resolve_predefined_entity(reference).and_then(|text| text.chars().next()),
        Err(_) => None,
    }
}

/// Returns whether a text is a name, with one prefix at most (Namespaces in XML 1.0 §4).
fn is_name(text: &str) -> bool {
    XmlName::parse(text).is_some()
}

/// An element that is read.
struct Element {
    kind: JsonKind,
    name: String,
    /// The attributes, elements and texts, by name, each name where it occurs first.
    members: Vec<(String, Json)>,
    places: HashMap<String, usize>,
    /// The text since the last element.
    text: String,
    /// Whether it is more than how the document is set out.
    is_said: bool,
    /// Whether it is written as `<name/>`.
    is_empty: bool,
}

impl Element {
    fn new(kind: JsonKind, name: String, is_empty: bool) -> Self {
        let (members, places) = (Vec::new(), HashMap::new());
        Self { kind, name, members, places, text: String::new(), is_said: false, is_empty }
    }

    /// Begins an element with its attributes, if they are well-formed.
    fn begin(kind: JsonKind, start: &BytesStart<'_>, is_empty: bool) -> Option<Self> {
        let name = start.name();
        if !is_name(name.as_ref()) {
            return None;
        }
        let name = match kind {
            JsonKind::Direct => name.into_inner(),
            JsonKind::JavascriptFriendly => name.local_name().into_inner(),
        };
        let mut element = Self::new(kind, name.to_owned(), is_empty);
        // Its own check looks for each attribute in all before it, and there may be many.
        let mut seen = HashSet::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.ok()?;
            let key = attribute.key.into_inner();
            if !is_name(key) || !seen.insert(key) {
                return None;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
            match kind {
                JsonKind::Direct => element.add(format!("@{key}"), Json::Text(value)),
                JsonKind::JavascriptFriendly if key == "xmlns" || key.starts_with("xmlns:") => {}
                JsonKind::JavascriptFriendly => {
                    element.add(attribute.key.local_name().into_inner().to_owned(), Json::Text(value));
                }
            }
        }
        Some(element)
    }

    /// Returns whether something is in it.
    fn is_full(&self) -> bool {
        !self.members.is_empty()
    }

    /// Adds a value; there may be several of one name.
    fn add(&mut self, name: String, value: Json) {
        match self.places.get(&name).and_then(|place| self.members.get_mut(*place)) {
            Some((_, Json::List(items))) => items.push(value),
            Some((_, one)) => *one = Json::List(vec![std::mem::replace(one, Json::Null), value]),
            None => {
                self.places.insert(name.clone(), self.members.len());
                self.members.push((name, value));
            }
        }
    }

    /// Ends the text before an element; white space alone is the layout of the document.
    fn end_text(&mut self) {
        let text = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.is_said) && !text.is_empty() || !text.trim_matches(WHITE).is_empty() {
            let name = match self.kind {
                JsonKind::Direct => "#text",
                JsonKind::JavascriptFriendly => "text",
            };
            self.add(name.to_owned(), Json::Text(text));
        }
    }

    fn end(mut self) -> Json {
        if self.is_full() {
            self.end_text();
            return Json::Object(self.members);
        }
        match (self.is_empty, self.is_said || !self.text.trim_matches(WHITE).is_empty()) {
            (true, _) => Json::Null,
            (false, true) => Json::Text(self.text),
            (false, false) => Json::Text(String::new()),
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::JsonKind;
    use super::json;

    fn converted(xml: &str, kind: JsonKind) -> Result<String, String> {
        json(xml.as_bytes(), kind).map(|json| json.to_string())
    }

    #[test]
    fn elements_become_json_in_their_order() {
        for (xml, direct, friendly) in [
            ("<a/>", r#"{"a":null}"#, r#"{"a":null}"#),
            ("<a></a>", r#"{"a":""}"#, r#"{"a":""}"#),
            ("<a> x &lt;&#33;&gt; </a>", r#"{"a":" x <!> "}"#, r#"{"a":" x <!> "}"#),
            (
                "<?xml version='1.0' encoding='utf-8'?>\n<b>\n <z>1</z>\n <y/>\n <z>2</z>\n</b>\n<!-- end -->",
                r#"{"b":{"z":["1","2"],"y":null}}"#,
                r#"{"b":{"z":["1","2"],"y":null}}"#,
            ),
            (
                "<s:e xmlns:s='urn:s' s:id='1&amp;2'>x<s:b/>y</s:e>",
                r##"{"s:e":{"@xmlns:s":"urn:s","@s:id":"1&2","#text":["x","y"],"s:b":null}}"##,
                r#"{"e":{"id":"1&2","text":["x","y"],"b":null}}"#,
            ),
            ("<a id='1'><id>2</id></a>", r#"{"a":{"@id":"1","id":"2"}}"#, r#"{"a":{"id":["1","2"]}}"#),
            ("<a><![CDATA[<x>]]></a>", r##"{"a":{"#cdata-section":"<x>"}}"##, r#"{"a":"<x>"}"#),
            ("\u{FEFF}<a>\u{e9}</a>", "{\"a\":\"\u{e9}\"}", "{\"a\":\"\u{e9}\"}"),
        ] {
            assert_eq!(converted(xml, JsonKind::Direct).as_deref(), Ok(direct), "{xml}");
            assert_eq!(converted(xml, JsonKind::JavascriptFriendly).as_deref(), Ok(friendly), "{xml}");
        }
    }

    #[test]
    fn what_is_dangerous_or_ill_formed_is_refused() {
        let deep = "<a>".repeat(101) + &"</a>".repeat(101);
        for (xml, told) in [
            ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "document type"),
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "document type"),
            ("<a>&secret;</a>", "an entity that is not known"),
            ("<a b='&secret;'/>", "ill-formed"),
            ("<a b='1' b='2'/>", "ill-formed"),
            ("<a &lt;b='1'/>", "ill-formed"),
            ("<1a/>", "ill-formed"),
            ("<a:b:c/>", "ill-formed"),
            ("<a></b>", "ill-formed"),
            ("<a>", "ends too early"),
            ("", "ends too early"),
            ("secret", "ill-formed"),
            ("<a/><b/>", "second root"),
            ("<a/>secret", "ill-formed"),
            ("&lt;<a/>", "ill-formed"),
            (&deep, "more than 100 elements"),
            ("<?xml version='1.0' encoding='iso-8859-1'?><a>\u{e9}</a>", "another encoding"),
        ] {
            let error = converted(xml, JsonKind::Direct).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{xml}: {error}");
        }
        assert!(json(b"<a>\xe9</a>", JsonKind::Direct).unwrap_err().contains("another encoding"));
        assert!(converted("<?xml version='1.0' encoding='iso-8859-1'?><a>e</a>", JsonKind::Direct).is_ok());
    }
}
