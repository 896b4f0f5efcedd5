//! Policies that look into messages, and at addresses, on the wire: what the third party saw, and what the caller.

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Egret, Lab, ThirdParty, eventually};

const ADDRESS: &str = "203.0.113.7";
const NAME: &str = "api.partner.example";
const URL: &str = "http://api.partner.example/";

/// An example in force.
struct Scene {
    lab: Lab,
    partner: ThirdParty,
    _egret: Egret,
}

impl Scene {
    fn new(example: &str) -> Self {
        Self::with(example, Behaviour::Http(vec![EGRESS.parse().unwrap()]), |text| text)
    }

    fn with(example: &str, behaviour: Behaviour, edit: impl FnOnce(String) -> String) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let partner = lab.third_party(ADDRESS, 80, behaviour);
        let egret = lab.egret(&lab.configure_like(example, edit), &[]);
        Self { lab, partner, _egret: egret }
    }

    /// What curl says, with the head of the answer.
    fn curl(&self, arguments: &[&str]) -> String {
        let output = self.lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    /// The requests that the third party saw.
    fn seen(&self) -> Vec<Message> {
        self.partner
            .seen()
            .iter()
            .flat_map(|seen| {
                let (requests, fault) = wire::requests(&seen.all);
                assert_eq!(fault, None);
                requests
            })
            .collect()
    }
}

#[test]
fn addresses_of_the_third_party_are_filtered() {
    let scene = Scene::new("policy-ip-filter");
    assert!(scene.curl(&[URL]).starts_with("HTTP/1.1 200 "));
    let config =
        scene.lab.configure_like("policy-ip-filter", |text| text.replace("203.0.113.0/28", "203.0.113.128/25"));
    eventually("the change is live", || {
        let heard = scene.curl(&[URL]);
        heard.starts_with("HTTP/1.1 403 ") && heard.contains("\"reason\":\"address_not_allowed\"")
    });
    let explain =
        |address: &str| scene.lab.cli(&["explain", "--config", config.to_str().unwrap(), "--address", address, URL]);
    assert!(explain("203.0.113.200").contains("203.0.113.200 matches"));
    assert!(explain("203.0.113.7").contains("partner may not be called at 203.0.113.7"));
    assert!(scene.seen().iter().all(|request| request.start == "GET / HTTP/1.1"));
}
