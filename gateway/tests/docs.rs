//! README and docs tell the truth: their configurations load, their commands parse, their links lead somewhere, and what
//! must be complete (reasons, policies, limits) is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use egret::cli::Cli;
use egret::config;
use egret::model::{Generation, Reason, Unserved};
use egret_kernel::KernelReason;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The Markdown pages that people read, with their paths below the root.
fn pages() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"];
    let mut paths: Vec<PathBuf> = top.iter().map(PathBuf::from).filter(|path| root().join(path).exists()).collect();
    paths.extend(
        fs::read_dir(root().join("docs")).unwrap().map(|entry| Path::new("docs").join(entry.unwrap().file_name())),
    );
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(root().join(&path)).unwrap())).collect()
}

/// The fenced code blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), block.take()) {
            (Some(opened), None) => block = Some((opened.to_owned(), String::new())),
            (Some(_), Some((opened, text))) if opened == language => found.push(text),
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some((opened, text))) => block = Some((opened, format!("{text}{line}\n"))),
        }
    }
    found
}

/// The commands of a page: the lines of its `console` blocks, without their comments.
fn commands(page: &str) -> Vec<Vec<String>> {
    let lines =
        blocks(page, "console").into_iter().flat_map(|block| block.lines().map(ToOwned::to_owned).collect::<Vec<_>>());
    lines.filter_map(|line| shlex::split(&line)).filter(|words| !words.is_empty()).collect()
}

#[test]
fn every_configuration_in_the_docs_loads() {
    let directory = std::env::temp_dir().join(format!("egret-docs-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("partner-key"), "a key").unwrap();
    let mut count = 0;
    for (path, page) in pages() {
        for block in blocks(&page, "yaml") {
            let file = directory.join("egret.yaml");
            fs::write(&file, block.replace("/etc/egret/", &format!("{}/", directory.display()))).unwrap();
            let loaded = config::load(&file, Generation(1));
            assert!(loaded.is_ok(), "{}: {}\n{block}", path.display(), loaded.unwrap_err());
            count += 1;
        }
    }
    fs::remove_dir_all(directory).unwrap();
    assert!(count >= 4, "only {count} configurations were found");
}

#[test]
fn every_command_in_the_docs_is_one_that_exists() {
    let xtask = read("xtask/src/main.rs").to_lowercase();
    for (path, page) in pages() {
        for words in commands(&page) {
            let egret = words.iter().position(|word| word == "egret").filter(|at| *at == 0 || words[at - 1] == "sudo");
            if let Some(at) = egret {
                let parsed = Cli::try_parse_from(&words[at..]);
                assert!(parsed.is_ok(), "{}: {}\n{}", path.display(), words.join(" "), parsed.unwrap_err());
            } else if words.starts_with(&["cargo".to_owned(), "xtask".to_owned()]) {
                assert!(xtask.contains(&format!("    {}", words[2])), "{}: {}", path.display(), words.join(" "));
            } else {
                let known = ["systemctl", "git", "cargo", "curl"];
                assert!(known.contains(&words[0].as_str()), "{}: {}", path.display(), words.join(" "));
            }
        }
    }
}

/// Returns the names that links to a page can end with: those of its headings, as GitHub makes them, and its own.
fn anchors(page: &str) -> Vec<String> {
    let mut is_code = false;
    let headings = page.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    let slug = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let own = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    headings.map(slug).chain(own.map(ToOwned::to_owned)).collect()
}

/// The Markdown files of the repository, with their paths below the root.
fn markdown() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                folders.extend((!name.starts_with('.') && name != "target").then_some(path));
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_link_leads_to_a_file_and_to_a_place_in_it() {
    let paths = markdown();
    assert!(paths.contains(&PathBuf::from("config/reference.md")));
    for path in paths {
        let page = fs::read_to_string(root().join(&path)).unwrap();
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let there = match target {
                "" => root().join(&path),
                target => root().join(&path).parent().unwrap().join(target),
            };
            assert!(there.exists(), "{}: {link}", path.display());
            let leads = || anchors(&fs::read_to_string(&there).unwrap()).iter().any(|known| known == anchor);
            assert!(anchor.is_empty() || leads(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn every_key_that_the_docs_mention_exists() {
    let schema: serde_json::Value = serde_json::from_str(&read("config/schema.json")).unwrap();
    let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let keys: Vec<_> =
        sections.filter_map(|section| section["properties"].as_object()).flat_map(|keys| keys.keys()).collect();
    for (path, page) in pages() {
        for span in page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let Some((key, _)) = span.split_once(": ") else { continue };
            let is_key = key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_'));
            assert!(!is_key || keys.iter().any(|known| *known == key), "{}: `{span}`", path.display());
        }
    }
}

/// The file is compiled with the tests of its room.
#[test]
fn the_policy_of_the_guide_is_a_file_that_is_compiled() {
    let guide = read("docs/add-a-policy.md");
    let code = read("gateway/src/policy/kinds/check_query_parameter.rs");
    assert_eq!(blocks(&guide, "rust"), [code]);
}

#[test]
fn every_reason_has_its_row_in_troubleshooting() {
    let page = read("docs/troubleshooting.md");
    let labels =
        Reason::ALL.iter().map(|reason| reason.label()).chain(KernelReason::ALL.iter().map(|reason| reason.label()));
    let labels = labels.chain(Unserved::ALL.iter().map(|cause| cause.label()));
    let missing: Vec<_> = labels.filter(|label| !page.contains(&format!("`{label}`"))).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md lacks {missing:?}");
}

#[test]
fn every_alert_has_its_section_in_the_runbook_and_names_it() {
    let text = read("config/deploy/kubernetes/monitoring/rules.yaml");
    let rules: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let alerts: Vec<_> = groups.map(|rule| (rule["alert"].as_str().unwrap(), &rule["annotations"])).collect();
    for (alert, annotations) in &alerts {
        assert_eq!(annotations["runbook"], format!("docs/runbook.md#{}", alert.to_lowercase()));
    }
    let page = read("docs/runbook.md");
    let sections: Vec<_> = page.split("\n## ").skip(1).collect();
    let titles: Vec<_> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(titles, alerts.iter().map(|(alert, _)| *alert).collect::<Vec<_>>());
    for (title, section) in titles.iter().zip(&sections) {
        let parts = ["**Meaning.**", "**What users see.**", "**Check.**", "**Remedy.**"];
        let missing: Vec<_> = parts.iter().filter(|part| !section.contains(**part)).collect();
        assert!(missing.is_empty(), "{title} lacks {missing:?}");
        assert!(!commands(section).is_empty() || section.contains("(#"), "{title} names no command");
    }
}

#[test]
fn every_policy_and_every_limit_is_in_the_docs() {
    let schema: serde_json::Value = serde_json::from_str(&read("config/schema.json")).unwrap();
    let keys =
        |file: &str| schema["$defs"][file]["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (policies, limits) = (read("docs/policies.md"), read("docs/limits.md"));
    for policy in keys("PolicyFile").into_iter().filter(|key| !["id", "enabled"].contains(&key.as_str())) {
        assert!(policies.contains(&format!("`{policy}`")), "docs/policies.md lacks {policy}");
    }
    for limit in keys("LimitsFile") {
        assert!(limits.contains(&format!("`limits.{limit}`")), "docs/limits.md lacks limits.{limit}");
    }
}

#[test]
fn every_attack_in_the_docs_has_its_test() {
    fn sources(folder: PathBuf, found: &mut String) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                sources(path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut all = String::new();
    ["tests", "gateway/tests", "gateway/src"].iter().for_each(|folder| sources(root().join(folder), &mut all));
    let page = read("docs/security.md");
    let table = page.split("| attack | what holds | test |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    for row in rows {
        let tests: Vec<_> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test in: {row}");
        for test in tests {
            assert!(all.contains(&format!("fn {test}(")), "docs/security.md names {test}, which is no test");
        }
    }
}

#[test]
fn every_module_of_the_end_to_end_tests_belongs_to_a_promise() {
    let (modules, page) = (read("tests/e2e/main.rs"), read("tests/README.md"));
    for module in modules.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let family = module.split('_').next().unwrap();
        let named = page.contains(&format!("`{module}`")) || page.contains(&format!("`{family}*`"));
        assert!(named, "tests/README.md does not say which promise e2e/{module}.rs proves");
    }
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 120);
}
