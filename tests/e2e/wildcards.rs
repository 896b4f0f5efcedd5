//! Names below a wildcard: which API they belong to, and where Egret goes for them.

use egret_tests::{Behaviour, EGRESS, EGRESS_V6, Lab, ThirdParty, eventually};

/// The third party whose address is captured by its name.
const CAPTURED: &str = "203.0.113.7";

/// The third party below the wildcard.
const BELOW: &str = "203.0.113.8";

const APIS: &str = "  - name: exact
    hosts: [api.partner.example]
    ports: [80]
  - name: below
    hosts: ['*.partner.example']
    ports: [80]
";

fn partner(lab: &Lab, address: &str) -> ThirdParty {
    let allowed = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
    lab.third_party(address, 80, Behaviour::Http(allowed))
}

/// Asks for a URL at the captured address; returns the status and the body.
fn ask(lab: &Lab, url: &str) -> (String, String) {
    let connect = format!("::{CAPTURED}:80");
    let output = lab.run("curl", &["-s", "-m", "20", "-w", " %{http_code}", "--connect-to", &connect, url]);
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once(' ').unwrap();
    (status.to_owned(), body.trim().to_owned())
}

#[test]
fn a_name_below_a_wildcard_is_dialled_where_egret_resolves_it() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 1, &[CAPTURED]);
    dns.set("shop.partner.example", 1, &[BELOW]);
    let (captured, below) = (partner(&lab, CAPTURED), partner(&lab, BELOW));
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    // In any letter case, and with the dot that ends it.
    for url in ["http://shop.partner.example/", "http://SHOP.Partner.example./"] {
        assert_eq!(ask(&lab, url), ("200".to_owned(), EGRESS.to_owned()), "{url}");
    }
    assert_eq!(below.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    assert!(captured.sources().is_empty(), "{:?}", captured.sources());
    assert_eq!(ask(&lab, "http://api.partner.example/").0, "200");
    assert_eq!(captured.sources().len(), 1, "the name itself goes before the wildcard");
    eventually("the access log names the API", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"below\"")
    });
}

#[test]
fn a_caller_is_captured_at_each_new_address_below_a_wildcard() {
    const NAME: &str = "shop.partner.example";
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 60, &[CAPTURED]);
    let addresses: Vec<_> = (1..=12).map(|number| format!("203.0.113.{number}")).collect();
    let partners: Vec<_> = addresses.iter().map(|address| partner(&lab, address)).collect();
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    for (address, partner) in addresses.iter().zip(&partners) {
        dns.set(NAME, 0, &[address]);
        // It connects as soon as it has the response. Egret may resolve the name to another one of the addresses.
        assert_eq!(lab.curl(&format!("http://{NAME}/")), (200, EGRESS.to_owned()), "{address}");
        assert!(partner.sources().iter().all(|source| *source == EGRESS.parse::<std::net::IpAddr>().unwrap()));
    }
    let hosts = lab.json(&["inspect", "hosts"]);
    let seen = hosts.as_array().unwrap().iter().find(|row| row["learnt"] == "seen" && row["name"] == NAME);
    assert_eq!(seen.unwrap()["api"], "below", "{hosts}");
    let captured = lab.json(&["inspect", "redirects"]);
    let rows = captured.as_array().unwrap();
    for address in &addresses {
        assert!(rows.iter().any(|row| row["address"] == **address), "{address}: {captured}");
    }
}

#[test]
fn a_dns_server_of_a_callers_own_has_nothing_captured_for_others() {
    const OWN_SERVER: &str = "203.0.113.15";
    let lab = Lab::new();
    lab.dns().set("api.partner.example", 60, &[CAPTURED]);
    lab.dns_at(OWN_SERVER).set("shop.partner.example", 60, &[BELOW]);
    let below = partner(&lab, BELOW);
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    let program = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
labels = b"".join(bytes([len(label)]) + label.encode() for label in "shop.partner.example".split("."))
s.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1), (sys.argv[1], 53))
print(socket.inet_ntoa(s.recv(512)[-4:]))
"#;
    assert_eq!(lab.python(program, &[OWN_SERVER]).trim(), BELOW);
    let another = lab.workload_cgroup().with_file_name("another.service");
    std::fs::create_dir_all(&another).unwrap();
    let url = format!("http://{BELOW}/");
    let output =
        lab.workload_in(&another, "curl", &["-s", "-m", "10", "-w", "%{http_code}", "-o", "/dev/null", &url]).output();
    let status = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(status, "403", "it goes directly, from the node's own address");
    assert!(!below.sources().contains(&EGRESS.parse().unwrap()));
}

#[test]
fn the_domain_of_a_wildcard_is_not_below_it() {
    let lab = Lab::new();
    let dns = lab.dns();
    for name in ["api.partner.example", "partner.example"] {
        dns.set(name, 1, &[CAPTURED]);
    }
    let captured = partner(&lab, CAPTURED);
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    assert_eq!(ask(&lab, "http://partner.example/").0, "403", "a stranger does not leave from the egress address");
    assert!(!captured.sources().contains(&EGRESS.parse().unwrap()));
}

#[test]
fn a_name_below_a_wildcard_that_does_not_resolve_is_refused() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 1, &[CAPTURED]);
    dns.set("evil.partner.example", 1, &["10.0.0.1"]);
    let captured = partner(&lab, CAPTURED);
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    for name in ["nobody.partner.example", "evil.partner.example"] {
        assert_ne!(ask(&lab, &format!("http://{name}/")).0, "200", "{name}");
    }
    assert!(captured.sources().is_empty(), "{:?}", captured.sources());
}
