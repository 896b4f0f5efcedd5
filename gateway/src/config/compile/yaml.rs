//! Documents that the configuration names: OpenAPI documents and JSON Schemas, in JSON or YAML 1.2.

use serde_json::Value;
use serde_saphyr::options::NonFiniteFloatPolicy;

/// Most keys, values and lists of a document: GitHub's OpenAPI document of 13 MB has some 650,000.
const MOST_NODES: usize = 4_000_000;

/// Most bytes of text in a document.
const MOST_BYTES: usize = 64 << 20;

/// Deepest nesting of a document.
const DEEPEST: usize = 64;

/// Reads a document. What is JSON is not read as YAML, which takes far longer.
///
/// # Errors
/// The document is not UTF-8, neither JSON nor YAML, or has more than [`MOST_NODES`] or [`MOST_BYTES`].
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > MOST_BYTES {
        return Err(format!("the document has {} bytes, more than {MOST_BYTES}", bytes.len()));
    }
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    if let (true, Ok(value)) = (is_json, serde_json::from_slice(bytes)) {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("the document is not UTF-8: {error}"))?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| match error.without_snippet() {
        serde_saphyr::Error::Budget { .. } => {
            format!("the document is too large: at most {MOST_NODES} keys, values and lists, nested {DEEPEST} deep")
        }
        error => error.to_string(),
    })
}

/// Returns what YAML 1.2 says (its core schema): `no`, `on`, `y` and `1_000` are texts.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_events: 2 * MOST_NODES,
            max_total_scalar_bytes: MOST_BYTES,
            max_depth: DEEPEST,
        },
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read;

    #[test]
    fn words_of_yaml_1_1_are_texts() {
        let text = "[y, Y, yes, no, NO, on, off, true, false, ~, null, 1_000, 0o17, 1.5, .inf, 'no', 2024-01-01]";
        let expected = json!([
            "y",
            "Y",
            "yes",
            "no",
            "NO",
            "on",
            "off",
            true,
            false,
            null,
            null,
            "1_000",
            15,
            1.5,
            ".inf",
            "no",
            "2024-01-01"
        ]);
        assert_eq!(read(text.as_bytes()), Ok(expected));
        assert_eq!(read(b"{n: 1, no: on}"), Ok(json!({"n": 1, "no": "on"})), "YAML that looks like JSON");
        assert_eq!(read(b" {\"n\": 1}"), Ok(json!({"n": 1})));
    }

    #[test]
    fn a_document_of_13_megabytes_is_read() {
        let mut large = String::from("{\"paths\": {");
        for path in 0..26_000 {
            large.push_str(if path > 0 { ",\n" } else { "" });
            large.push_str(&format!(
                "\"/path/{path}\": {{\"get\": {{\"operationId\": \"get{path}\", \"tags\": [\"a\", \"b\"], "
            ));
            large.push_str("\"description\": \"An operation with a description of the usual length, which is some hundred letters\", ");
            large.push_str("\"parameters\": [{\"name\": \"a\", \"in\": \"query\", \"schema\": {\"type\": \"string\"}}], \"responses\": ");
            large.push_str(
                "{\"200\": {\"description\": \"A response\", \"content\": {\"application/json\": {\"schema\": ",
            );
            large.push_str("{\"$ref\": \"#/components/schemas/Thing\"}}}}}}}");
        }
        large.push_str("}}");
        assert!(large.len() > 10_000_000, "{}", large.len());
        let read = read(large.as_bytes()).unwrap();
        assert_eq!(read["paths"].as_object().unwrap().len(), 26_000);
    }

    #[test]
    fn yaml_may_have_as_many_nodes_as_it_takes_and_not_more() {
        // Beyond the 250,000 that the library allows by itself.
        assert_eq!(read("- 1\n".repeat(260_000).as_bytes()).unwrap().as_array().unwrap().len(), 260_000);
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(read(deep.as_bytes()).unwrap_err().contains("too large"));
    }
}
