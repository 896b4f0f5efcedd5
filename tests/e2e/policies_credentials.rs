//! Each policy's example about credentials, on the wire: what the third party saw of them, checked by Python's own means.

use std::time::{SystemTime, UNIX_EPOCH};

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Egret, Lab, ThirdParty, eventually};
use rcgen::{KeyPair, PublicKeyData, SigningKey};

const ADDRESS: &str = "203.0.113.7";
const NAME: &str = "api.partner.example";
const URL: &str = "http://api.partner.example";

/// An example in force.
struct Scene {
    lab: Lab,
    partner: ThirdParty,
    egret: Egret,
}

impl Scene {
    fn plain(example: &str) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
        let egret = lab.egret(&lab.configure_like(example, |text| text), &[]);
        Self { lab, partner, egret }
    }

    /// The application speaks plain HTTP, and Egret TLS with the third party.
    fn secured(example: &str) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let pki = lab.pki();
        let https = Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), vec![EGRESS.parse().unwrap()]);
        let partner = lab.third_party(ADDRESS, 443, https);
        let config = lab
            .configure_like(example, |text| text.replace("{scheme: https}", &format!("{{tls: {{ca: {}}}}}", pki.ca())));
        let egret = lab.egret(&config, &[]);
        Self { lab, partner, egret }
    }

    /// What curl says, with the head of the answer.
    fn curl(&self, arguments: &[&str]) -> String {
        let output = self.lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    /// The requests that the third party saw.
    fn seen(&self) -> Vec<Message> {
        let all: Vec<_> = self.partner.seen().into_iter().flat_map(|seen| seen.all).collect();
        let (requests, fault) = wire::requests(&all);
        assert_eq!(fault, None);
        requests
    }

    /// The newest of them.
    fn last(&self) -> Message {
        self.seen().pop().unwrap()
    }

    fn replace(&self, name: &str, text: &str) {
        std::fs::write(self.lab.directory().join("egret.d").join(name), text).unwrap();
    }

    /// As Python signs it: in Base64.
    fn signature(&self, hash: &str, key: &str, signed: &str) -> String {
        let program = "import base64, hmac, sys; _, hash, key, text = sys.argv\n\
                       print(base64.b64encode(hmac.digest(key.encode(), text.encode(), hash)).decode())";
        self.lab.python(program, &[hash, key, signed])
    }
}

/// In seconds since 1970, by the lab's clock.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn keys_are_added_where_the_partner_wants_them() {
    let scene = Scene::secured("policy-authentication-api-key");
    scene.curl(&["-H", "X-Api-Key: own", &format!("{URL}/prices")]);
    assert_eq!(scene.last().values("x-api-key"), ["k&r"]);
    scene.curl(&[&format!("{URL}/maps/1?key=own&zoom=3")]);
    let request = scene.last();
    assert_eq!(request.start, "GET /maps/1?zoom=3&key=k%26r HTTP/1.1");
    assert_eq!(request.values("x-api-key"), [""; 0]);
    scene.replace("policy-authentication-api-key.key", "another\n");
    eventually("the new key is used", || {
        scene.curl(&[&format!("{URL}/prices")]);
        scene.last().values("x-api-key") == ["another"]
    });
    assert!(!scene.egret.log().contains("k&r"), "{}", scene.egret.log());
}

#[test]
fn requests_are_signed_each_partners_way() {
    let scene = Scene::plain("policy-authentication-hmac");
    let key = "c2VjcmV0IG9mIEFjbWU=";
    let body = "{\"price\": \"1 €\"}";
    let ask = |path: &str| {
        scene.curl(&["-H", "Content-Type: application/json", "--data-binary", body, &format!("{URL}{path}")]);
        scene.last()
    };
    let request = ask("/body");
    assert_eq!(request.values("x-hmac-sha256"), [scene.signature("sha256", key, body)]);
    assert_eq!(String::from_utf8_lossy(&request.body), body);

    let request = ask("/time-and-body");
    let said = request.values("x-signature").concat();
    let (time, signature) = said.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert!(now().abs_diff(time.parse().unwrap()) < 60, "{time}");
    let expected = scene.signature("sha256", key, &format!("{time}.{body}"));
    let hex = scene.lab.python("import base64, sys; print(base64.b64decode(sys.argv[1]).hex())", &[&expected]);
    assert_eq!(signature, hex);

    let request = ask("/shared-key");
    let signed =
        format!("POST\napplication/json\nx-ms-date:{}\n/acme/shared-key", request.values("x-ms-date").concat());
    let expected = scene.signature("sha256", "secret of Acme", &signed);
    assert_eq!(request.values("authorization"), [format!("SharedKey acme:{expected}")]);

    let request = ask("/date-and-digest");
    let (date, digest) = (request.values("date").concat(), request.values("digest").concat());
    let program = "import base64, hashlib, sys, email.utils\n\
                   email.utils.parsedate_to_datetime(sys.argv[2])\n\
                   print('SHA-256=' + base64.b64encode(hashlib.sha256(sys.argv[1].encode()).digest()).decode())";
    assert_eq!(digest, scene.lab.python(program, &[body, &date]));
    let expected = scene.signature("sha512", key, &format!("date: {date}\ndigest: {digest}"));
    let expected = format!("keyId=\"acme\",algorithm=\"hmac-sha512\",headers=\"date digest\",signature=\"{expected}\"");
    assert_eq!(request.values("signature"), [expected]);

    let request = ask("/query?symbol=A%20B");
    let query = request.start.split([' ', '?']).nth(2).unwrap();
    let (signed, signature) = query.split_once("&signature=").unwrap();
    assert!(signed.starts_with("symbol=A%20B&timestamp="), "{signed}");
    let expected = scene.signature("sha256", key, signed);
    let hex = scene.lab.python("import base64, sys; print(base64.b64decode(sys.argv[1]).hex())", &[&expected]);
    assert_eq!(signature, hex);
    assert!(!scene.egret.log().contains(key), "{}", scene.egret.log());
}

/// What AWS does with a request: method, target, secret key, the hash of the body, and its fields as pairs.
const AWS: &str = r#"
import hashlib, hmac, json, sys
from urllib.parse import quote, unquote
method, target, secret, payload, fields = sys.argv[1:]
fields = json.loads(fields)
path, _, query = target.partition("?")
said = dict(p.split("=", 1) for p in fields["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", "))
_, day, region, service, end = said["Credential"].split("/")
path = path if service == "s3" else quote(path, safe="/-_.~")
# A plus is a plus here, as in the AWS SDKs; only forms take it for a blank.
pairs = [(n, v) for n, _, v in (part.partition("=") for part in query.split("&") if part)]
pairs = sorted((quote(unquote(n), safe="-_.~"), quote(unquote(v), safe="-_.~")) for n, v in pairs)
names = said["SignedHeaders"].split(";")
canonical = "\n".join([method, path, "&".join(f"{n}={v}" for n, v in pairs),
    "".join(f"{n}:{fields[n]}\n" for n in names), ";".join(names), payload])
string = "\n".join(["AWS4-HMAC-SHA256", fields["x-amz-date"], f"{day}/{region}/{service}/{end}",
    hashlib.sha256(canonical.encode()).hexdigest()])
key = b"AWS4" + secret.encode()
for part in (day, region, service, end):
    key = hmac.digest(key, part.encode(), "sha256")
print(hmac.digest(key, string.encode(), "sha256").hex() == said["Signature"], region, service, ";".join(names))
"#;

#[test]
fn requests_are_signed_as_aws_checks_them() {
    let scene = Scene::secured("policy-authentication-aws-sigv4");
    let check = |request: &Message, payload: &str| {
        let (method, target) = request.start.strip_suffix(" HTTP/1.1").unwrap().split_once(' ').unwrap();
        let fields =
            serde_json::Value::from_iter(request.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        scene.lab.python(AWS, &[method, target, secret, payload, &fields.to_string()])
    };
    let hash = |text: &str| {
        scene.lab.python("import hashlib, sys; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())", &[text])
    };
    scene.curl(&["-H", "Authorization: own", &format!("{URL}/a%20b/prices?z=1&b=x+y&a=%2F&flag")]);
    let request = scene.last();
    assert_eq!(check(&request, &hash("")), "True eu-central-1 execute-api host;x-amz-date", "{request:?}");
    assert_eq!(request.values("authorization").len(), 1);

    scene.curl(&["-H", "Content-Type: application/json", "-d", "{\"id\": 7}", &format!("{URL}/orders")]);
    let request = scene.last();
    let told = "True eu-central-1 execute-api content-type;host;x-amz-date";
    assert_eq!(check(&request, &hash("{\"id\": 7}")), told, "{request:?}");
    assert!(check(&request, &hash("{\"id\": 8}")).starts_with("False "), "another body is not signed");

    scene.curl(&["-X", "PUT", "-H", "Content-Type:", "--data-binary", "x", &format!("{URL}/bucket/a//b/../c%2Bd")]);
    let request = scene.last();
    let told = "True eu-central-1 s3 host;x-amz-content-sha256;x-amz-date";
    assert_eq!(check(&request, "UNSIGNED-PAYLOAD"), told, "{request:?}");
    assert_eq!(request.values("x-amz-content-sha256"), ["UNSIGNED-PAYLOAD"]);
    assert!(!scene.egret.log().contains("wJalr"), "{}", scene.egret.log());
}

/// Whoever makes tokens: a key pair and its name.
struct Issuer {
    id: &'static str,
    key: KeyPair,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        Self { id, key: KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap() }
    }

    fn jwk(&self) -> String {
        let x = wire::base64url(self.key.der_bytes());
        format!(
            "{{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"kid\": \"{}\", \"use\": \"sig\", \"x\": \"{x}\"}}",
            self.id
        )
    }

    fn token(&self, scope: &str, expires: u64) -> String {
        self.signed("https://login.acme.example/", scope, expires)
    }

    fn signed(&self, issuer: &str, scope: &str, expires: u64) -> String {
        let header = format!("{{\"alg\": \"EdDSA\", \"kid\": \"{}\"}}", self.id);
        let claims = format!(
            "{{\"iss\": \"{issuer}\", \"aud\": \"partner\", \"sub\": \"billing\", \
             \"scope\": \"{scope}\", \"exp\": {expires}}}"
        );
        let signed = format!("{}.{}", wire::base64url(header.as_bytes()), wire::base64url(claims.as_bytes()));
        format!("{signed}.{}", wire::base64url(&self.key.sign(signed.as_bytes()).unwrap()))
    }
}

#[test]
fn only_callers_with_a_valid_token_are_let_through() {
    let scene = Scene::plain("policy-validate-jwt");
    let (old, new) = (Issuer::new("2025"), Issuer::new("2026"));
    let publish = |keys: &[&Issuer]| {
        let keys: Vec<_> = keys.iter().map(|issuer| issuer.jwk()).collect();
        scene.replace("policy-validate-jwt.jwks", &format!("{{\"keys\": [{}]}}", keys.join(", ")));
    };
    let ask = |token: &str| {
        let heard = scene.curl(&["-H", &format!("Authorization: Bearer {token}"), &format!("{URL}/")]);
        let reason = heard.split_once("\"reason\":\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
        reason.unwrap_or_else(|| heard.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    let soon = now() + 600;
    assert_eq!(ask(&old.token("prices", soon)), "token_key_not_found");
    publish(&[&old]);
    eventually("the keys are used", || ask(&old.token("read prices", soon)) == "200");
    let request = scene.last();
    assert_eq!(request.values("x-on-behalf-of"), ["billing"]);
    assert_eq!(request.values("authorization"), [""; 0], "the token stays here");

    let before = scene.seen().len();
    assert_eq!(ask(&new.token("prices", soon)), "token_key_not_found");
    assert_eq!(ask(&old.token("orders", soon)), "token_claim_value_not_allowed");
    assert_eq!(ask(&old.token("prices", now() - 600)), "token_expired");
    let forged = Issuer { id: "2025", key: Issuer::new("").key };
    assert_eq!(ask(&forged.token("prices", soon)), "token_signature_invalid");
    assert_eq!(ask("a.b.c"), "token_invalid");
    let without = scene.curl(&[&format!("{URL}/")]);
    assert!(without.starts_with("HTTP/1.1 401 ") && without.contains("\"reason\":\"token_not_present\""), "{without}");
    assert_eq!(scene.seen().len(), before, "none of them has reached the third party");

    publish(&[&old, &new]);
    eventually("the next key is used", || ask(&new.token("prices", soon)) == "200");
    assert_eq!(ask(&old.token("prices", soon)), "200");
    publish(&[&new]);
    eventually("the old key is not", || ask(&old.token("prices", soon)) == "token_key_not_found");
    scene.replace("policy-validate-jwt.jwks", "{\"keys\": [");
    eventually("a broken file is told", || scene.egret.log().contains("the old keys of tokens are kept"));
    assert_eq!(ask(&new.token("prices", soon)), "200");
}

#[test]
fn the_keys_of_tokens_are_asked_of_who_has_them() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME), ("203.0.113.8", "login.acme.example")]);
    let pki = lab.pki();
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let issuer = Issuer::new("2026");
    let body = format!("{{\"keys\": [{}]}}", issuer.jwk());
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let identity = pki.identity(&["login.acme.example"], &[]);
    let login = lab.third_party("203.0.113.8", 443, Behaviour::AnswerTls(identity, answer.into_bytes().leak()));
    let ca = pki.ca().to_owned();
    let config = lab.configure_like("policy-validate-jwt-remote", |text| {
        text.replace("example/keys", &format!("example/keys\n            tls: {{ca: {ca}}}"))
    });
    let _egret = lab.egret(&config, &[]);
    let ask = |token: &str| {
        let authorization = format!("Authorization: Bearer {token}");
        let output = lab.run("curl", &["-s", "-i", "-m", "10", "-H", &authorization, &format!("http://{NAME}/")]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let soon = now() + 600;
    for _ in 0..2 {
        let heard = ask(&issuer.token("prices", soon));
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    }
    let other = ask(&Issuer::new("2027").token("prices", soon));
    assert!(other.contains("\"reason\":\"token_key_not_found\""), "{other}");
    let sent: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
    assert_eq!(wire::requests(&sent).0.len(), 2);
    assert_eq!(login.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    let asked: Vec<_> = login.seen().into_iter().flat_map(|seen| seen.all).collect();
    let asked = String::from_utf8_lossy(&asked).into_owned();
    assert_eq!(asked.matches("GET /keys HTTP/1.1\r\n").count(), 1, "not again within 30 s: {asked}");
}

/// A server that gives this document to whoever asks it for anything.
fn document(text: &str) -> &'static [u8] {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes().leak()
}

#[test]
fn an_issuer_says_where_its_keys_are_and_what_it_is_called() {
    const LOGIN: &str = "login.acme.example";
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME), ("203.0.113.8", LOGIN), ("203.0.113.9", "keys.acme.example")]);
    let pki = lab.pki();
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let issuer = Issuer::new("2026");
    let says = r#"{"issuer": "https://login.acme.example/", "jwks_uri": "https://keys.acme.example/v1/keys?all"}"#;
    let server = |address: &str, name: &str, text: &str| {
        lab.third_party(address, 443, Behaviour::AnswerTls(pki.identity(&[name], &[]), document(text)))
    };
    let login = server("203.0.113.8", LOGIN, says);
    let keys = server("203.0.113.9", "keys.acme.example", &format!("{{\"keys\": [{}]}}", issuer.jwk()));
    let example = |edit: fn(String) -> String| {
        let with_tls = |text: String| {
            text.replace(
                "            audiences",
                &format!("            tls: {{ca: {}}}\n            audiences", pki.ca()),
            )
        };
        lab.configure_like("policy-validate-jwt-openid", |text| edit(with_tls(text)))
    };
    let egret = lab.egret(&example(|text| text.replace("            jwks_host: keys.acme.example\n", "")), &[]);
    let ask = |token: &str| {
        let authorization = format!("Authorization: Bearer {token}");
        let output = lab.run("curl", &["-s", "-i", "-m", "10", "-H", &authorization, &format!("http://{NAME}/")]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let soon = now() + 600;
    let refused = ask(&issuer.token("prices", soon));
    assert!(refused.contains("\"reason\":\"token_key_not_found\""), "{refused}");
    assert!(egret.log().contains("if it may be there, write it as `jwks_host`"), "{}", egret.log());
    assert!(keys.seen().is_empty(), "nobody was asked whom the configuration does not name");

    example(|text| text);
    eventually("the keys are used", || ask(&issuer.token("prices", soon)).starts_with("HTTP/1.1 200 "));
    let asked = |server: &egret_tests::ThirdParty| {
        let all: Vec<_> = server.seen().into_iter().flat_map(|seen| seen.all).collect();
        String::from_utf8_lossy(&all).into_owned()
    };
    assert!(asked(&login).contains("GET /.well-known/openid-configuration HTTP/1.1\r\n"), "{}", asked(&login));
    assert_eq!(asked(&keys).matches("GET /v1/keys?all HTTP/1.1\r\n").count(), 1, "{}", asked(&keys));
    for server in [&login, &keys, &partner] {
        assert!(server.sources().iter().all(|source| source.to_string() == EGRESS));
    }

    let another = ask(&issuer.signed("https://login.other.example/", "prices", soon));
    assert!(another.contains("\"reason\":\"token_issuer_not_allowed\""), "{another}");
}
