//! Medians and ratios, for people and as JSON.

use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// All that a bench measured.
pub(crate) struct Report {
    bench: &'static str,
    rounds: u32,
    /// Who Egret is compared with: name and version.
    peers: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
}

struct Figure {
    scenario: String,
    name: &'static str,
    unit: &'static str,
    /// Contestant and its value in each round.
    values: Vec<(&'static str, Vec<f64>)>,
}

impl Report {
    pub(crate) fn new(bench: &'static str, rounds: u32, peers: Vec<(&'static str, String)>) -> Self {
        Self { bench, rounds, peers, figures: Vec::new() }
    }

    /// One more value of a figure.
    pub(crate) fn add(&mut self, scenario: &str, name: &'static str, unit: &'static str, of: &'static str, value: f64) {
        let at = self.figures.iter().position(|figure| figure.scenario == scenario && figure.name == name);
        let at = at.unwrap_or_else(|| {
            self.figures.push(Figure { scenario: scenario.to_owned(), name, unit, values: Vec::new() });
            self.figures.len() - 1
        });
        let values = &mut self.figures[at].values;
        match values.iter_mut().find(|(contestant, _)| *contestant == of) {
            Some((_, values)) => values.push(value),
            None => values.push((of, vec![value])),
        }
    }

    /// Prints the table and writes the JSON.
    pub(crate) fn publish(&self, path: &Path) {
        let mut contestants: Vec<&'static str> = Vec::new();
        for (contestant, _) in self.figures.iter().flat_map(|figure| &figure.values) {
            if !contestants.contains(contestant) {
                contestants.push(contestant);
            }
        }
        let compared = !self.peers.is_empty();
        let mut table = Table::new();
        let mut header = vec!["SCENARIO".to_owned(), "FIGURE".to_owned(), "UNIT".to_owned()];
        header.extend(contestants.iter().map(|name| name.to_uppercase()));
        if compared {
            header.push("EGRET / BEST PEER".to_owned());
        }
        table.load_style(presets::NOTHING).set_header(header);
        for figure in &self.figures {
            let mut row = vec![figure.scenario.clone(), figure.name.to_owned(), figure.unit.to_owned()];
            row.extend(contestants.iter().map(|name| figure.median(name).map_or_else(|| "-".to_owned(), short)));
            if compared {
                row.push(figure.ratio(&self.peers).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            }
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let peers: Vec<_> = self.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
        println!("{table}\nmedians of {} rounds; absolutes are this machine's, compare the ratios", self.rounds);
        if compared {
            println!("peers: {}", peers.join(", "));
        }
        let figures: Vec<_> = self.figures.iter().map(|figure| figure.to_json(&contestants, &self.peers)).collect();
        let document = json!({
            "bench": self.bench, "rounds": self.rounds, "peers": peers, "kernel": kernel(), "figures": figures,
        });
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).expect("a directory for the figures");
        }
        fs::write(path, format!("{document:#}\n")).expect("the figures are written");
        println!("as JSON: {}", path.display());
    }
}

impl Figure {
    fn median(&self, of: &str) -> Option<f64> {
        let (_, values) = self.values.iter().find(|(contestant, _)| *contestant == of)?;
        let mut values = values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Egret to the best of the peers that did this; below 1 is better, except for rates.
    fn ratio(&self, peers: &[(&'static str, String)]) -> Option<f64> {
        let more_is_better = self.unit.ends_with("/s");
        let peers = peers.iter().filter_map(|(peer, _)| self.median(peer));
        let best = peers.reduce(if more_is_better { f64::max } else { f64::min })?;
        Some(self.median("egret")? / best)
    }

    fn to_json(&self, contestants: &[&'static str], peers: &[(&'static str, String)]) -> Value {
        let medians: serde_json::Map<_, _> =
            contestants.iter().filter_map(|name| Some(((*name).to_owned(), json!(self.median(name)?)))).collect();
        let rounds: serde_json::Map<_, _> =
            self.values.iter().map(|(name, values)| ((*name).to_owned(), json!(values))).collect();
        json!({
            "scenario": self.scenario, "figure": self.name, "unit": self.unit, "median": medians, "rounds": rounds,
            "egret_to_best_peer": self.ratio(peers),
        })
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
