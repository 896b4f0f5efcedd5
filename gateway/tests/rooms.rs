//! Which room may know which: the walls of ARCHITECTURE.md, checked over the source text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A room of the user half, and the rooms it may use. `model` is everybody's.
const ROOMS: &[(&str, &[&str])] = &[
    ("admin", &[]),
    ("capture", &[]),
    ("cli", &["admin", "capture", "config", "explain", "gateway", "permit", "policy", "route", "telemetry"]),
    ("config", &["policy", "syntax"]),
    ("connection", &["detect", "flow", "listener", "permit", "policy", "route", "telemetry", "tls", "upstream"]),
    ("detect", &[]),
    ("explain", &["admin", "connection", "permit", "policy"]),
    ("flow", &[]),
    (
        "gateway",
        &[
            "admin",
            "capture",
            "config",
            "connection",
            "explain",
            "flow",
            "kubernetes",
            "listener",
            "names",
            "permit",
            "policy",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    ("kubernetes", &[]),
    ("listener", &[]),
    ("model", &[]),
    ("names", &[]),
    ("permit", &["route"]),
    ("policy", &["route", "syntax"]),
    ("route", &[]),
    ("syntax", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    ("upstream", &["permit"]),
];

/// A crate, and the only rooms that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("aya", &["capture"]),
    ("cel", &["config", "model", "policy"]),
    ("clap", &["cli"]),
    ("hickory_resolver", &["names"]),
    ("hyper", &["connection", "telemetry", "upstream"]),
    ("jsonschema", &["config", "model", "policy"]),
    ("opentelemetry_proto", &["telemetry"]),
    ("prost", &["telemetry"]),
    ("quick_xml", &["policy"]),
    ("k8s_openapi", &["kubernetes"]),
    ("kube", &["kubernetes"]),
    ("jsonwebtoken", &["config", "model", "policy"]),
    ("rcgen", &["tls"]),
    ("redis", &["upstream"]),
    ("rustls", &["config", "detect", "tls", "upstream"]),
    ("serde", &["admin", "cli", "config", "model", "policy", "syntax", "telemetry"]),
];

/// Rooms that do no IO.
const PURE: &[&str] = &["model", "detect", "route", "permit", "policy", "syntax", "config/compile"];

fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![source.join(format!("{room}.rs"))];
    let mut folders = vec![source.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_room_has_its_row() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let there: BTreeSet<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(there, ROOMS.iter().map(|(room, _)| *room).collect());
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    for (room, may) in ROOMS {
        for file in modules(room) {
            for used in file.uses(Tests::Included) {
                let other = used.first().map_or("", String::as_str);
                let is_room = ROOMS.iter().any(|(room, _)| *room == other);
                let is_allowed = other == *room || other == "model" || may.contains(&other);
                assert!(!is_room || is_allowed, "{} uses `{other}`", file.path.display());
            }
        }
    }
}

/// The engine runs policies without knowing them, and a kind of policy can be read and changed alone.
#[test]
fn files_of_the_policies_use_each_other_in_one_direction() {
    let files = modules("policy");
    let file_of = |used: &[String]| {
        // The longest beginning of a path that is the module of a file.
        let of = |length: usize| files.iter().position(|file| file.module == used[..length]);
        (1..=used.len()).rev().find_map(of)
    };
    let mut edges: Vec<BTreeSet<usize>> = files.iter().map(|_| BTreeSet::new()).collect();
    for (from, file) in files.iter().enumerate() {
        let uses = file.uses(Tests::Excluded);
        edges[from].extend(uses.iter().filter_map(|used| file_of(used)).filter(|to| *to != from));
    }
    let is_engine = |index: usize| files[index].module.get(1).is_some_and(|floor| floor == "engine");
    for (from, to) in (0..files.len()).flat_map(|from| edges[from].iter().map(move |to| (from, *to))) {
        let (from_path, to_path) = (files[from].path.display(), files[to].path.display());
        assert!(!is_engine(from) || is_engine(to), "{from_path} is of the engine and uses {to_path}");
    }
    let mut left: BTreeSet<usize> = (0..files.len()).collect();
    while let Some(free) = left.iter().copied().find(|file| edges[*file].is_disjoint(&left)) {
        left.remove(&free);
    }
    let circle: Vec<_> = left.iter().map(|file| files[*file].path.display().to_string()).collect();
    assert!(circle.is_empty(), "these files use each other in a circle: {circle:#?}");
    assert!(edges.iter().map(BTreeSet::len).sum::<usize>() > 200, "uses are not found any more");
}

/// A kind is written and compiled in its own file. The room `config` knows the registry, and only those kinds that lists of policies need.
#[test]
fn config_names_no_kind_of_policy() {
    const KNOWN: &[&str] = &["Choose", "Forward", "ForwardRequest", "Retry"];
    let mut named = 0;
    for (path, text) in sources("config") {
        for (at, variant) in text.match_indices("Statement::") {
            let is_part = |c: char| c.is_ascii_alphanumeric();
            let name: String = text[at + variant.len()..].chars().take_while(|c| is_part(*c)).collect();
            let is_kind = name.starts_with(|c: char| c.is_ascii_uppercase());
            assert!(!is_kind || KNOWN.contains(&&*name), "{} names the kind `{name}`", path.display());
            named += usize::from(is_kind);
        }
    }
    assert!(named > 0, "uses are not found any more");
    let kinds: BTreeSet<String> = sources("policy/kinds").iter().flat_map(|(_, text)| implementors(text)).collect();
    assert!(kinds.len() > 40, "kinds are not found any more");
    for file in modules("config") {
        for used in file.uses(Tests::Excluded).iter().filter(|used| used.first().is_some_and(|room| room == "policy")) {
            let kind = used.iter().find(|name| kinds.contains(*name) && !KNOWN.contains(&name.as_str()));
            assert_eq!(kind, None, "{} names a kind", file.path.display());
        }
    }
}

/// Returns the types for which a text implements `Kind`.
fn implementors(text: &str) -> Vec<String> {
    let items = syn::parse_file(text).unwrap().items;
    let name = |item: &syn::Item| match item {
        syn::Item::Impl(block) if block.trait_.as_ref().is_some_and(|(_, path, _)| path.is_ident("Kind")) => {
            match &*block.self_ty {
                syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
                _ => None,
            }
        }
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

#[test]
fn uses_are_found_in_every_form() {
    let uses = |text: &str, module: &[&str]| {
        let module = module.iter().map(|name| (*name).to_owned()).collect();
        let file = Module { path: PathBuf::new(), module, syntax: syn::parse_file(text).unwrap() };
        file.uses(Tests::Excluded).iter().map(|used| used.join("::")).collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("use crate::{model::{Api, Host}, policy::Permit as P};", vec!["model::Api", "model::Host", "policy::Permit"]),
        ("pub use crate::{policy::*, route};", vec!["policy", "route"]),
        ("use super::super::b; use self::c::D;", vec!["b", "room::a::c::D"]),
        ("fn f() { crate::route::select(); let _: super::Kind; }", vec!["route::select", "room::Kind"]),
        ("fn f() { assert!(crate::route::is_one(&super::kind())); }", vec!["route::is_one", "room::kind"]),
        ("mod inner { use super::super::b; }", vec!["room::b"]),
        ("mod inner; use inner::Kind; use std::fmt;", vec!["room::a::inner::Kind"]),
        ("#[cfg(test)] mod tests { use crate::route; }", vec![]),
    ] {
        assert_eq!(uses(text, &["room", "a"]), expected, "{text}");
    }
}

/// A file of the user half.
struct Module {
    path: PathBuf,
    /// Its path as a module, without `crate`.
    module: Vec<String>,
    syntax: syn::File,
}

/// Whether what only tests use counts.
#[derive(Clone, Copy, PartialEq)]
enum Tests {
    Included,
    Excluded,
}

fn modules(room: &str) -> Vec<Module> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |(path, text): (PathBuf, String)| {
        let inner = path.strip_prefix(&source).unwrap().with_extension("");
        let module = inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Module { path, module, syntax }
    };
    sources(room).into_iter().map(module).collect()
}

impl Module {
    /// Returns all paths within the crate that the file names, without `crate`.
    fn uses(&self, tests: Tests) -> Vec<Vec<String>> {
        let mut found = Uses { module: self.module.clone(), children: Vec::new(), tests, paths: Vec::new() };
        found.visit_file(&self.syntax);
        found.paths
    }
}

struct Uses {
    /// The module that is read, which may be one within a file.
    module: Vec<String>,
    /// The modules in it: a path may begin with one.
    children: Vec<String>,
    tests: Tests,
    paths: Vec<Vec<String>>,
}

impl Uses {
    fn add(&mut self, path: &[String]) {
        let mut module = self.module.clone();
        let mut rest = path;
        match rest.first().map(String::as_str) {
            Some("crate") => {
                module.clear();
                rest = &rest[1..];
            }
            Some("self") => rest = &rest[1..],
            Some("super") => {}
            Some(first) if rest.len() > 1 && self.children.iter().any(|child| child == first) => {}
            _ => return,
        }
        while rest.first().is_some_and(|part| part == "super") {
            module.pop();
            rest = &rest[1..];
        }
        module.extend(rest.iter().cloned());
        self.paths.push(module);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.tree(&[before, &[path.ident.to_string()]].concat(), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.add(before),
            syn::UseTree::Name(name) => self.add(&[before, &[name.ident.to_string()]].concat()),
            syn::UseTree::Rename(rename) => self.add(&[before, &[rename.ident.to_string()]].concat()),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_file(&mut self, file: &'ast syn::File) {
        self.children = children(&file.items);
        visit::visit_file(self, file);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|of| of == "test")
        });
        if is_test && self.tests == Tests::Excluded {
            return;
        }
        if let Some((_, items)) = &item.content {
            let outer = std::mem::replace(&mut self.children, children(items));
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
            self.children = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    /// Who may see an item is not a use.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text: String = item.tokens.to_string().split_whitespace().collect();
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in text.match_indices(start) {
                let before = text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                    continue;
                }
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
                let path: String = text[at..].chars().take_while(|c| is_part(*c)).collect();
                self.add(&path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>());
            }
        }
        visit::visit_macro(self, item);
    }
}

fn children(items: &[syn::Item]) -> Vec<String> {
    let name = |item: &syn::Item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

#[test]
fn crates_are_named_where_they_belong() {
    for (name, rooms) in CRATES {
        for (room, _) in ROOMS.iter().filter(|(room, _)| !rooms.contains(room)) {
            for (path, text) in sources(room) {
                assert!(!text.contains(&format!("{name}::")), "{} names `{name}`", path.display());
            }
        }
    }
}

#[test]
fn pure_rooms_do_no_io() {
    for room in PURE {
        for (path, text) in sources(room) {
            for io in ["std::fs", "tokio::", "Instant::now", "SystemTime::now", "TcpStream"] {
                assert!(!text.contains(io), "{} says `{io}`", path.display());
            }
        }
    }
}
