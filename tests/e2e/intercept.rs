//! Interception: TLS of the caller ends at Egret, in the name it asked for; TLS of Egret's own begins.

use std::os::unix::fs::PermissionsExt;

use egret_tests::{Behaviour, EGRESS, Lab, Pki, Service, ThirdParty, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const URL: &str = "https://api.partner.example/";
const ADDRESS: &str = "203.0.113.7";

const JAVA: &str = "import java.net.*; import java.net.http.*; class Call { public static void main(String[] a) throws \
    Exception { System.out.print(HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[0])).build(), \
    HttpResponse.BodyHandlers.ofString()).body()); } }";

/// A TLS third party that allow-lists the egress address, and a configuration that intercepts it.
fn intercepted(lab: &Lab) -> (Pki, ThirdParty, String) {
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let identity = pki.identity(&[NAME, "stranger.example"], &["http/1.1"]);
    let partner = lab.third_party(ADDRESS, 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    (pki, partner, api)
}

fn ca(lab: &Lab) -> String {
    lab.directory().join("egret-ca.pem").to_str().unwrap().to_owned()
}

fn log(lab: &Lab) -> String {
    std::fs::read_to_string(lab.access_log()).unwrap_or_default()
}

#[test]
fn clients_that_trust_the_ca_are_served() {
    let lab = Lab::new();
    let (_pki, partner, api) = intercepted(&lab);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let ca = ca(&lab);
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", &ca, URL, URL]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{EGRESS}\n{EGRESS}\n"), "curl");
    let program = r#"
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(sys.argv[2], timeout=20, context=context).read().decode().strip())
"#;
    assert_eq!(lab.python(program, &[&ca, URL]), EGRESS, "Python, strict");
    let program = "fetch(process.argv[1]).then(r => r.text()).then(t => process.stdout.write(t))";
    let output = lab.workload("node", &["-e", program, URL]).env("NODE_EXTRA_CA_CERTS", &ca).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS, "Node");
    let store = lab.directory().join("trust.p12");
    let store = store.to_str().unwrap();
    let import =
        ["-importcert", "-noprompt", "-alias", "egret", "-file", &ca, "-keystore", store, "-storepass", "changeit"];
    assert!(lab.run("keytool", &import).status.success());
    let java = lab.directory().join("Call.java");
    std::fs::write(&java, JAVA).unwrap();
    let trust = format!("-Djavax.net.ssl.trustStore={store}");
    let output = lab.run(
        "java",
        &["-Xshare:auto", &trust, "-Djavax.net.ssl.trustStorePassword=changeit", java.to_str().unwrap(), URL],
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        EGRESS,
        "Java: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    // What the third party saw is the request, which Egret read and sent over TLS of its own.
    assert!(partner.seen().iter().all(|seen| seen.first.starts_with(b"GET / HTTP/1.1\r\n")));
    eventually("the flows are on record", || log(&lab).matches("\"mode\":\"intercept\"").count() == 4);
}

#[test]
fn a_client_that_does_not_trust_the_ca_is_named() {
    let lab = Lab::new();
    let (pki, partner, api) = intercepted(&lab);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", pki.ca(), URL]);
    assert_eq!(output.status.code(), Some(60), "curl: the peer's certificate cannot be authenticated");
    eventually("the record says why and who", || {
        log(&lab)
            .lines()
            .any(|line| line.contains("\"outcome\":\"leaf_refused\"") && line.contains("\"command\":\"curl\""))
    });
    assert!(partner.seen().iter().all(|seen| seen.all.is_empty()), "no request");
}

#[test]
fn an_untrusted_third_party_is_never_vouched_for() {
    let lab = Lab::new();
    let (_pki, partner, _) = intercepted(&lab);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    mode: intercept\n")), &[]);
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", &ca(&lab), URL]);
    assert!(!output.status.success());
    eventually("the record says why", || log(&lab).contains("\"outcome\":\"upstream_tls\""));
    assert!(partner.seen().iter().all(|seen| seen.all.is_empty()), "no request");
}

#[test]
fn the_ca_is_kept_and_its_key_is_secret() {
    let lab = Lab::new();
    let (_pki, _partner, api) = intercepted(&lab);
    let config = lab.configure(&api);
    lab.egret(&config, &[]).stop();
    let key = lab.directory().join("egret-ca-key.pem");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let made = std::fs::read(ca(&lab)).unwrap();
    let egret = lab.egret(&config, &[]);
    assert_eq!(std::fs::read(ca(&lab)).unwrap(), made, "the same after a restart");
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", &ca(&lab), URL]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS);
    egret.stop();
    std::fs::remove_file(&key).unwrap();
    let output = lab.try_cli(&["run", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("egret-ca-key.pem is missing"), "{text}");
}

#[test]
fn a_fleet_shares_a_root_which_no_node_has_the_key_of() {
    let lab = Lab::new();
    let (pki, partner, api) = intercepted(&lab);
    let (certificate, key) = (lab.directory().join("egret-ca.pem"), lab.directory().join("egret-ca-key.pem"));
    pki.authority("this node", "partner.example", &certificate, &key);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let program = format!(
        r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile="{}")
context.verify_flags |= ssl.VERIFY_X509_STRICT
for line in sys.stdin:
    with context.wrap_socket(socket.create_connection(("{ADDRESS}", 443), timeout=10), server_hostname="{NAME}") as tls:
        print(dict(pair for [pair] in tls.getpeercert()["issuer"])["commonName"], flush=True)
"#,
        pki.ca()
    );
    let mut caller = lab.converse(&program);
    let mut issuer = || {
        caller.tell("call");
        caller.line()
    };
    assert_eq!(issuer(), "this node", "who trusts the root trusts the node");
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", pki.ca(), URL]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS);
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);

    pki.authority("this node, anew", "partner.example", &certificate, &key);
    eventually("its successor vouches, without a restart", || issuer() == "this node, anew");

    let other = "  - name: other\n    hosts: [api.other.example]\n    ports: [443]\n    mode: intercept\n";
    lab.configure(&format!("{api}{other}"));
    let refused = || lab.json(&["status"])["config_error"].as_str().unwrap_or_default().to_owned();
    eventually("a host that it may not vouch for is refused", || {
        refused().contains("cannot vouch for api.other.example")
    });
    assert!(refused().contains("NameConstraintViolation"), "{}", refused());
}

#[test]
fn what_is_no_ca_is_refused_with_its_file() {
    let lab = Lab::new();
    let (pki, _partner, api) = intercepted(&lab);
    let (certificate, key) = (lab.directory().join("egret-ca.pem"), lab.directory().join("egret-ca-key.pem"));
    let start = || {
        let output = lab.try_cli(&["run", "--config", lab.configure(&api).to_str().unwrap()]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (leaf, leaf_key) = pki.identity(&[NAME], &[]).write(lab.directory());
    std::fs::copy(leaf, &certificate).and_then(|_| std::fs::copy(leaf_key, &key)).unwrap();
    let said = start();
    assert!(said.contains("egret-ca.pem") && said.contains("is not a CA's"), "{said}");

    pki.authority("this node", "partner.example", &certificate, &key);
    pki.authority("another", "partner.example", &lab.directory().join("another.pem"), &key);
    let said = start();
    assert!(said.contains("egret-ca-key.pem") && said.contains("is not the key"), "{said}");
    assert!(!said.contains("PRIVATE"), "{said}");

    pki.authority("this node", "elsewhere.example", &certificate, &key);
    let said = start();
    assert!(said.contains(&format!("cannot vouch for {NAME}")), "{said}");
}

#[test]
fn strangers_are_not_intercepted_and_tls_without_a_name_is_refused() {
    let lab = Lab::new();
    let (pki, partner, api) = intercepted(&lab);
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "stranger.example")]);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let program = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
s = context.wrap_socket(socket.create_connection((sys.argv[2], 443), timeout=20), server_hostname="stranger.example")
print("its own certificate")
context.check_hostname = False
try:
    context.wrap_socket(socket.create_connection((sys.argv[2], 443), timeout=20), server_hostname=None)
except (ConnectionResetError, ssl.SSLError):
    print("refused without a name")
"#;
    assert_eq!(lab.python(program, &[pki.ca(), ADDRESS]), "its own certificate\nrefused without a name");
    eventually("the record says why", || log(&lab).contains("\"outcome\":\"no_name\""));
    assert_eq!(partner.seen().len(), 1);
}

/// A third party that speaks HTTP/2 and HTTP/1.1 and says to whom, and in which; it keeps what is uploaded to `/files/`.
/// `more` is configuration of its server.
pub(crate) fn nginx(lab: &Lab, more: &str) -> (Pki, Service, String) {
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let (certificate, key) = pki.identity(&[NAME], &[]).write(lab.directory());
    let directory = lab.directory().display();
    let config = lab.directory().join("nginx.conf");
    let text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx-error.log;\n\
         events {{}}\nhttp {{\n  access_log off;\n  client_max_body_size 0;\n  client_body_temp_path {directory}/body;\n  \
         server {{\n    listen {ADDRESS}:443 ssl http2;\n    ssl_certificate {};\n    ssl_certificate_key {};\n    \
         location / {{ return 200 \"$remote_addr $server_protocol\\n\"; }}\n    \
         location /files/ {{ root {directory}; dav_methods PUT; create_full_put_path on; }}\n    \
         {more}\n  }}\n}}\n",
        certificate.display(),
        key.display(),
    );
    std::fs::write(&config, text).unwrap();
    let service = lab.service(443, "nginx", &["-c", config.to_str().unwrap()]);
    let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    (pki, service, api)
}

#[test]
fn the_version_of_http_is_agreed_on_end_to_end() {
    let lab = Lab::new();
    let (pki, _nginx, api) = nginx(&lab, "");
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let ca = ca(&lab);
    for (version, said) in [("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1"), ("--no-alpn", "HTTP/1.1")] {
        let output = lab.run("curl", &["-s", "-m", "20", "--cacert", &ca, version, URL, URL]);
        let line = format!("{EGRESS} {said}\n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), line.repeat(2), "{version}");
    }
    // A protocol that is not HTTP is not Egret's: the third party answers itself.
    let program = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(["mqtt"])
try:
    s = context.wrap_socket(socket.create_connection((sys.argv[2], 443), timeout=20), server_hostname=sys.argv[3])
    print("spoken", s.selected_alpn_protocol())
except ssl.SSLError as error:
    print("refused" if "alert" in str(error) else error)
"#;
    let said = lab.python(program, &[pki.ca(), ADDRESS, NAME]);
    assert!(["spoken None", "refused"].contains(&said.as_str()), "{said}");
}

#[test]
fn a_coalesced_request_for_another_host_is_misdirected() {
    let lab = Lab::new();
    let (_pki, _nginx, api) = nginx(&lab, "");
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let status = ["-s", "-m", "20", "--http2", "-o", "/dev/null", "-w", "%{http_code}"];
    let ca = ca(&lab);
    let arguments = [&status[..], &["--cacert", &ca, "-H", "Host: stranger.example", URL]].concat();
    let output = lab.run("curl", &arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "421");
}

#[test]
fn who_hesitates_is_intercepted_too() {
    let lab = Lab::new();
    let (_pki, _partner, api) = intercepted(&lab);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let program = r#"
import socket, ssl, sys, time
s = socket.create_connection(("api.partner.example", 443), timeout=20)
time.sleep(0.5)
s = ssl.create_default_context(cafile=sys.argv[1]).wrap_socket(s, server_hostname="api.partner.example")
s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
print(s.recv(1000).split()[1].decode())
"#;
    assert_eq!(lab.python(program, &[&ca(&lab)]), "200");
}

#[test]
fn heavy_a_gibibyte_goes_either_way_in_bounded_memory() {
    const BYTES: u64 = 1 << 30;
    let lab = Lab::new();
    let (_pki, _nginx, api) = nginx(&lab, "");
    let egret = lab.egret(&lab.configure(&api), &[]);
    let (before, ca) = (egret.peak_memory(), ca(&lab));
    std::fs::create_dir(lab.directory().join("files")).unwrap();
    for version in ["--http2", "--http1.1"] {
        let upload = lab.directory().join("upload");
        std::fs::File::create(&upload).unwrap().set_len(BYTES).unwrap();
        let file = format!("{URL}files/{}", version.trim_matches('-'));
        let common = ["-s", "-m", "100", "--cacert", &ca, version, "-o", "/dev/null", "-w"];
        let put = lab.run("curl", &[&common[..], &["%{http_code}", "-T", upload.to_str().unwrap(), &file]].concat());
        assert_eq!(String::from_utf8_lossy(&put.stdout), "201", "{version}");
        let get = lab.run("curl", &[&common[..], &["%{http_version} %{size_download}", &file]].concat());
        let expected = format!("{} {BYTES}", version.trim_start_matches("--http").trim_end_matches(".0"));
        assert_eq!(String::from_utf8_lossy(&get.stdout), expected, "{version}");
    }
    let grown = egret.peak_memory() - before;
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[test]
fn a_command_is_made_to_trust_with_nothing_installed() {
    let lab = Lab::new();
    let (_pki, partner, api) = intercepted(&lab);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let socket = lab.socket();
    let socket = socket.to_str().unwrap();
    let java = lab.directory().join("Call.java");
    std::fs::write(&java, JAVA).unwrap();
    let urllib = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())";
    let requests = "import requests, sys; print(requests.get(sys.argv[1], timeout=20).text)";
    for command in [
        &["curl", "-s", "-m", "20", URL][..],
        &["python3", "-c", urllib, URL],
        &["/usr/bin/python3", "-c", requests, URL],
        &["node", "-e", "fetch(process.argv[1]).then(r => r.text()).then(t => console.log(t))", URL],
        &["java", "-Xshare:auto", java.to_str().unwrap(), URL],
    ] {
        let said = lab.cli(&[&["exec", "--socket", socket, "--trust", "--"], command].concat());
        assert_eq!(said.trim(), EGRESS, "{command:?}");
    }
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    let pem = lab.cli(&["trust", "export", "--socket", socket]);
    assert_eq!(pem, std::fs::read_to_string(ca(&lab)).unwrap());
    let bundle = lab.cli(&["trust", "export", "--socket", socket, "--bundle"]);
    assert!(bundle.ends_with(&pem) && bundle.matches("BEGIN CERTIFICATE").count() > 1);
}

/// Runs with layers over the host's stores, and what else their tools write to, which it alone sees.
const INSTALL: &str = r#"
set -e
mount -t tmpfs none "$directory/stores"
for store in /etc/ca-certificates /etc/ssl /usr/local/share/ca-certificates /var/lib /var/log; do
    mkdir -p "$directory/stores/upper$store" "$directory/stores/work$store"
    mount -t overlay overlay -o "lowerdir=$store,upperdir=$directory/stores/upper$store,workdir=$directory/stores/work$store" "$store"
done
call() { curl -s -m 20 "$url" || echo "curl: $?"; }
call
"$egret" trust install --socket "$socket" | head -n 1
call
java -Xshare:auto "$directory/Call.java" "$url"
echo
"$egret" trust install --socket "$socket" | head -n 1
"$egret" trust remove
"$egret" trust remove
call
java -Xshare:auto "$directory/Call.java" "$url" 2>&1 | grep -m 1 -o SunCertPathBuilderException | head -n 1
"#;

#[test]
fn the_host_is_made_to_trust_and_not_to() {
    let lab = Lab::new();
    let (_pki, partner, api) = intercepted(&lab);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    std::fs::write(lab.directory().join("Call.java"), JAVA).unwrap();
    std::fs::create_dir(lab.directory().join("stores")).unwrap();
    let log = || std::fs::metadata("/var/log/dpkg.log").map(|log| log.len()).unwrap_or_default();
    let before = log();
    let (directory, socket, egret) = (lab.directory(), lab.socket(), egret_tests::executable());
    let script = format!(
        "directory={} socket={} egret={} url={URL}\n{INSTALL}",
        directory.display(),
        socket.display(),
        egret.display()
    );
    let output = lab.run("sh", &["-c", &script]);
    let said = String::from_utf8_lossy(&output.stdout);
    let file = "/usr/local/share/ca-certificates/egret.crt";
    let (installed, again, removed) =
        (format!("{file}: installed"), format!("{file}: already installed"), format!("{file}: removed"));
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "curl: 60",
            &installed,
            EGRESS,
            EGRESS,
            "",
            &again,
            &removed,
            "not installed",
            "curl: 60",
            "SunCertPathBuilderException"
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!std::path::Path::new(file).exists() && log() == before, "the machine is as it was");
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
}
