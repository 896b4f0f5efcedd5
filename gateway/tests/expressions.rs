//! What expressions return: CEL's standard functions, its strings extension and Egret's own functions.

#[path = "../src/fuzz.rs"]
mod fuzz;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use egret::config;
use egret::model::{Generation, Host, Workload};
use egret::policy::{self, Call, Dry};
use http::{Request, StatusCode};

/// Expressions, and what they return as a text. `now` is 2026-01-02T23:04:05.678Z.
const EXPRESSIONS: &[(&str, &str)] = &[
    // Time.
    ("now - timestamp('2026-01-02T22:00:00Z') > duration('1h')", "true"),
    ("now - timestamp('2026-01-02T23:00:00Z') > duration('1h')", "false"),
    ("string(timestamp('2026-01-02T00:01:30Z') - timestamp('2026-01-02T00:00:00Z'))", "90s"),
    ("string(timestamp('2026-01-02T00:00:00Z') + duration('24h'))", "2026-01-03T00:00:00Z"),
    ("string(duration('1m') + duration('30s'))", "90s"),
    ("now.getFullYear()", "2026"),
    ("now.getMonth()", "0"),
    ("now.getDate()", "2"),
    ("now.getDayOfMonth()", "1"),
    ("now.getDayOfWeek()", "5"),
    ("now.getDayOfYear()", "1"),
    ("now.getHours()", "23"),
    ("now.getMinutes()", "4"),
    ("now.getSeconds()", "5"),
    ("now.getMilliseconds()", "678"),
    ("now.getHours('Europe/Berlin')", "0"),
    ("now.getDate('Europe/Berlin')", "3"),
    ("timestamp('2026-07-01T12:00:00Z').getHours('Europe/Berlin')", "14"),
    ("now.getMinutes('+05:30')", "34"),
    ("now.getDayOfWeek('-02:00')", "5"),
    ("duration('90s').getSeconds()", "90"),
    ("duration('90s').getMinutes()", "1"),
    ("duration('1.5s').getMilliseconds()", "1500"),
    ("duration('36h').getHours()", "36"),
    // Types.
    ("dyn(1) == 1.0", "true"),
    ("type(1) == int", "true"),
    ("type('a') == string && type(1u) == uint && type(1.5) == double && type([]) == list", "true"),
    ("type(type(1)) == type", "true"),
    ("type(null) == null_type && type(b'a') == bytes && type({}) == map && type(true) == bool", "true"),
    ("uint(1) + 2u", "3"),
    ("1u < 2", "true"),
    ("int('7') + 1", "8"),
    ("double('1.5') * 2.0", "3"),
    ("bool('true')", "true"),
    ("string(b'abc')", "abc"),
    // The strings extension.
    ("'hello'.charAt(4) + '|' + 'hello'.charAt(5)", "o|"),
    ("'abab'.indexOf('b')", "1"),
    ("'abab'.indexOf('b', 2)", "3"),
    ("'abab'.indexOf('x')", "-1"),
    ("'abab'.lastIndexOf('b')", "3"),
    ("'abab'.lastIndexOf('b', 2)", "1"),
    ("['a', 'b'].join()", "ab"),
    ("['a', 'b'].join('-')", "a-b"),
    ("'TacoCat'.lowerAscii() + 'TacoCat'.upperAscii()", "tacocatTACOCAT"),
    ("strings.quote('a\"b')", r#""a\"b""#),
    ("'abab'.replace('a', 'c')", "cbcb"),
    ("'abab'.replace('a', 'c', 1)", "cbab"),
    ("'abab'.replace('a', 'c', 0)", "abab"),
    ("'ab\u{e9}'.reverse()", "\u{e9}ba"),
    ("'a,b,c'.split(',')[2]", "c"),
    ("'a,b,c'.split(',', 2)[1]", "b,c"),
    ("size('a,b'.split(',', 0))", "0"),
    ("'tacocat'.substring(4)", "cat"),
    ("'tacocat'.substring(0, 4)", "taco"),
    ("'  a '.trim()", "a"),
    ("'%s is %d, %.2f, %x'.format(['a', 7, 1.5, 255])", "a is 7, 1.50, ff"),
    ("'a1'.matches('^[a-z][0-9]$') && matches('a1', '[0-9]')", "true"),
    ("'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", "true"),
    ("size('\u{e9}') + size([1, 2]) + {'a': 1}.size()", "4"),
    // Macros.
    ("[1, 2, 3].exists(x, x > 2) && [1, 2].all(x, x > 0) && [1, 2].exists_one(x, x == 1)", "true"),
    ("[1, 2, 3].filter(x, x > 1).map(x, string(x)).join(',')", "2,3"),
    // Egret's own.
    ("base64.encode('a') + string(base64.decode('Yg=='))", "YQ==b"),
    ("hex(sha256('')).substring(0, 8) + hex(sha512('')).substring(0, 8)", "e3b0c442cf83e135"),
    ("json('{\"a\": [1, 2]}').a[1]", "2"),
    ("random() < 1.0", "true"),
    // Numbers do not change.
    ("json('{\"a\": 18446744073709551616}').a", "18446744073709551616"),
    ("json('{\"a\": 18446744073709551615}').a", "18446744073709551615"),
    ("json('[0.1234567890123456789, 1.5]')", "[0.1234567890123456789,1.5]"),
    ("json('{\"a\": 9007199254740993}').a + 1", "9007199254740994"),
];

#[test]
fn each_function_that_the_check_knows_is_there_when_it_runs() {
    let mut text = "version: 1\negress: {addresses: [192.0.2.10]}\napis:\n  - name: partner\n    hosts: [api.partner.example]\n    \
                    ports: [80]\n    policies:\n      inbound:\n"
        .to_owned();
    for (number, (expression, _)) in EXPRESSIONS.iter().enumerate() {
        let value = serde_json::to_string(&format!("${{{expression}}}")).unwrap();
        writeln!(text, "        - set-header: {{name: X-{number}, value: {value}}}").unwrap();
    }
    let path = std::env::temp_dir().join(format!("egret-expressions-{}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let loaded = config::load(&path, Generation(1));
    std::fs::remove_file(path).unwrap();
    let model = loaded.unwrap_or_else(|errors| panic!("{errors}")).model;
    let (api, host, workload) = (&model.apis[0], Host::parse("api.partner.example").unwrap(), Workload::default());
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_395_045_678);
    let mut call = Call::new(Request::new(()).into_parts().0, &workload, api, &host, now, Duration::ZERO);
    call.effects.steps = Some(Vec::new());
    let mut world = Dry::new(Bytes::new(), StatusCode::OK);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(policy::run(&mut call, api.rules.as_ref().unwrap(), &mut world)).unwrap();
    assert_eq!(call.context.error.as_ref().map(|fault| fault.message.clone()), None);
    for (number, (expression, expected)) in EXPRESSIONS.iter().enumerate() {
        let value = call.message.request.headers.get(format!("x-{number}")).map(|value| value.as_bytes());
        assert_eq!(value.map(String::from_utf8_lossy).as_deref(), Some(*expected), "{expression}");
    }
}

const FUZZED: fuzz::Target = fuzz::Target {
    corpus: "expressions",
    words: &[
        "'",
        "\"",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " == ",
        " && ",
        " || ",
        " ? ",
        " : ",
        "!",
        "-",
        "now",
        "duration('1h')",
        "timestamp('9999-12-31T23:59:59Z')",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615u",
        "1e308",
        "0.0",
        "'%s'.format([",
        "'%.999999f'",
        ".map(x, ",
        ".filter(x, ",
        ".exists(y, ",
        ".substring(",
        ".replace('', ",
        ".split('')",
        ".join(",
        ".matches('(a*)*b')",
        "request.headers",
        "request.path",
        "request.query",
        "variables",
        "json('[1]')",
        "size(",
        "string(",
        "int(",
        "double(",
        "b'\\xff'",
        "base64.decode(",
        "sha256(",
        "\u{e9}",
        "\u{1F600}",
        "null",
        "true",
        "type(",
        "dyn(",
        "has(request.headers.a)",
        "[][0]",
        "{}['a']",
    ],
    cases: 400,
    longest: 512,
};

/// Evaluates an expression as the value of a header field. Returns why the configuration was refused, if it was.
fn evaluated(expression: &str) -> Result<(), String> {
    let name = std::thread::current().name().unwrap_or_default().replace("::", "-");
    let path = std::env::temp_dir().join(format!("egret-{name}-{}.yaml", std::process::id()));
    let value = serde_json::to_string(&format!("${{{expression}}}")).unwrap();
    let text = format!(
        "version: 1\negress: {{addresses: [192.0.2.10]}}\napis:\n  - name: partner\n    hosts: [api.partner.example]\n    \
         ports: [80]\n    policies:\n      inbound:\n        - set-header: {{name: X-Value, value: {value}}}\n"
    );
    std::fs::write(&path, text).unwrap();
    let loaded = config::load(&path, Generation(1));
    std::fs::remove_file(path).unwrap();
    let model = loaded.map_err(|errors| errors.to_string())?.model;
    let (api, host, workload) = (&model.apis[0], Host::parse("api.partner.example").unwrap(), Workload::default());
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_395_045_678);
    let request = Request::builder().uri("/v1/orders?limit=7&a=%C3%A9").header("x-id", "a1").body(()).unwrap();
    let mut call = Call::new(request.into_parts().0, &workload, api, &host, now, Duration::ZERO);
    call.effects.steps = Some(Vec::new());
    let mut world = Dry::new(Bytes::new(), StatusCode::OK);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(policy::run(&mut call, api.rules.as_ref().unwrap(), &mut world)).unwrap();
    assert!(call.message.response.is_some());
    Ok(())
}

/// An expression is refused when the configuration is loaded, or has a value, or fails: it never ends the process.
#[test]
fn any_expression_is_refused_or_has_a_value_or_fails() {
    FUZZED.check(|bytes| {
        let Ok(expression) = std::str::from_utf8(bytes) else { return };
        assert!(evaluated(expression).err().is_none_or(|why| !why.is_empty()));
    });
}

#[test]
fn deep_expressions_are_evaluated_or_refused() {
    let nested = |before: &str, inner: &str, after: &str, times: usize| {
        evaluated(&format!("{}{inner}{}", before.repeat(times), after.repeat(times)))
    };
    for times in [10, 60, 90, 500, 1000] {
        for (before, inner, after) in [
            ("", "1", "+1"),
            ("(", "1", ")"),
            ("", "\"a\"", ".trim()"),
            ("[", "1", "]"),
            ("-", "1", ""),
            ("string(", "1", ")"),
        ] {
            let outcome = nested(before, inner, after, times);
            let why = outcome.as_ref().err().map(String::as_str).unwrap_or_default();
            assert_eq!(outcome.is_err(), times > 90 && before != "-", "{times} of {before}{after}: {why}");
        }
    }
    let why = nested("", "1", "+1", 500).unwrap_err();
    assert!(why.contains("more than 100 operations in one another"), "{why}");
    assert!(evaluated("\u{e9}w").unwrap_err().contains("this is not an expression"));
}
