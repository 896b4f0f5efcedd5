//! What Egret asks of a third party in TLS, and what it shows.

use egret_tests::{EGRESS, Lab, Pki, Service, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";

/// What this nginx speaks only when told.
const TLS: &str = "ssl_protocols TLSv1.2 TLSv1.3;";

/// A third party: nginx, with these directives and what the lab's authority vouches for; it tells what it sees.
fn nginx(lab: &Lab, pki: &Pki, directives: &str) -> Service {
    lab.hosts(&[(ADDRESS, NAME)]);
    let (certificate, key) = pki.identity(&[NAME], &[]).write(lab.directory());
    let directory = lab.directory().display();
    let text = format!(
        "daemon off;\nuser root;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx-error.log info;\nevents {{}}\nhttp {{\n  \
         access_log {directory}/nginx-access.log;\n  server {{\n    listen {ADDRESS}:443 ssl;\n    {directives}\n    ssl_certificate {};\n    \
         ssl_certificate_key {};\n    location / {{\n      \
         return 200 \"$remote_addr $ssl_protocol $ssl_curve $ssl_client_verify $connection\\n\";\n    }}\n  }}\n}}\n",
        certificate.display(),
        key.display(),
    );
    let config = lab.directory().join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    lab.service(443, "nginx", &["-c", config.to_str().unwrap()])
}

/// An API whose plain HTTP leaves over TLS, with these settings.
fn originated(pki: &Pki, settings: &str) -> String {
    format!("{PARTNER}    backend: {{tls: {{ca: {}, {settings}}}}}\n", pki.ca())
}

/// What the third party says that it saw.
fn answer(lab: &Lab) -> Vec<String> {
    let (_, text) = lab.curl("http://api.partner.example/");
    text.split(' ').map(ToOwned::to_owned).collect()
}

fn refused(lab: &Lab) {
    assert_eq!(lab.curl("http://api.partner.example/").0, 0);
    eventually("the record says why", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"upstream_tls\"")
    });
    let reached = std::fs::read_to_string(lab.directory().join("nginx-access.log")).unwrap();
    assert!(!reached.contains("GET"), "{reached}");
}

/// The public key of what [`nginx`] shows, as curl would pin it.
fn pin(lab: &Lab) -> String {
    let certificate = lab.directory().join("identity.pem");
    let script = format!(
        "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
        certificate.display()
    );
    let output = lab.run("sh", &["-c", &script]);
    format!("sha256//{}", String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn the_best_that_both_speak_is_spoken() {
    let lab = Lab::new();
    let pki = lab.pki();
    let _nginx = nginx(&lab, &pki, TLS);
    let _egret = lab.egret(&lab.configure(&originated(&pki, "")), &[]);
    assert_eq!(answer(&lab)[..2], [EGRESS, "TLSv1.3"]);
}

#[test]
fn an_old_third_party_is_spoken_to_unless_that_is_too_old() {
    for (settings, spoken) in [("", true), ("min_version: '1.3'", false)] {
        let lab = Lab::new();
        let pki = lab.pki();
        let _nginx = nginx(&lab, &pki, "ssl_protocols TLSv1.2;");
        let _egret = lab.egret(&lab.configure(&originated(&pki, settings)), &[]);
        if spoken { assert_eq!(answer(&lab)[..2], [EGRESS, "TLSv1.2"]) } else { refused(&lab) }
    }
}

#[test]
fn a_certificate_is_shown_to_who_wants_one() {
    let lab = Lab::new();
    let pki = lab.pki();
    let _nginx = nginx(&lab, &pki, &format!("{TLS} ssl_client_certificate {}; ssl_verify_client on;", pki.ca()));
    let directory = lab.directory().join("client");
    std::fs::create_dir(&directory).unwrap();
    let (certificate, key) = pki.identity(&["the company"], &[]).write(&directory);
    let (certificate, key) = (certificate.display(), key.display());
    let settings = format!("client_certificate: {{certificate: {certificate}, key: {key}}}");
    let egret = lab.egret(&lab.configure(&originated(&pki, &settings)), &[]);
    let seen = answer(&lab);
    assert_eq!((&*seen[0], &*seen[3]), (EGRESS, "SUCCESS"));
    // Without one, the third party says what it says to anybody.
    lab.configure(&originated(&pki, ""));
    eventually("the change is in force", || egret.log().contains("in force"));
    assert_eq!(lab.curl("http://api.partner.example/").0, 400);
}

#[test]
fn pins_hold_beside_the_certificate() {
    for (right, other_authority) in [(true, false), (false, false), (true, true)] {
        let lab = Lab::new();
        let pki = lab.pki();
        let _nginx = nginx(&lab, &pki, TLS);
        let wrong = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let pins = if right { format!("pins: ['{wrong}', '{}']", pin(&lab)) } else { format!("pins: ['{wrong}']") };
        let api = if other_authority {
            format!("{PARTNER}    backend: {{tls: {{{pins}}}}}\n")
        } else {
            originated(&pki, &pins)
        };
        let _egret = lab.egret(&lab.configure(&api), &[]);
        if right && !other_authority { assert_eq!(answer(&lab)[0], EGRESS) } else { refused(&lab) }
    }
}

#[test]
fn workloads_that_are_kept_apart_share_no_connection() {
    for (settings, shared) in [("", true), ("    pool: {isolate_workloads: true}\n", false)] {
        let lab = Lab::new();
        let pki = lab.pki();
        let _nginx = nginx(&lab, &pki, TLS);
        let _egret = lab.egret(&lab.configure(&(originated(&pki, "") + settings)), &[]);
        let number = |cgroup: &str| {
            let join = format!("echo $$ >{}/cgroup.procs; exec curl -s http://api.partner.example/", cgroup);
            let output = lab.run("sh", &["-c", &join]);
            String::from_utf8(output.stdout).unwrap().trim().rsplit(' ').next().unwrap().to_owned()
        };
        let cgroups = ["one.service", "other.service"].map(|name| {
            let path = lab.workload_cgroup().with_file_name(name);
            std::fs::create_dir(&path).unwrap();
            path.to_str().unwrap().to_owned()
        });
        let [first, second, again] = [&cgroups[0], &cgroups[1], &cgroups[0]].map(|cgroup| number(cgroup));
        cgroups.iter().for_each(|cgroup| std::fs::remove_dir(cgroup).unwrap());
        assert_eq!(first == second, shared);
        assert_eq!(first, again);
    }
}
