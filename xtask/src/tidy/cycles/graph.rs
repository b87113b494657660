//! Files that import one another, as strongly connected components.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// One path in the file `from` that names an item of the file `to`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
    pub(super) path: String,
}

/// Files of which each leads to every other one.
pub(super) struct Cycle {
    /// In order.
    pub(super) files: Vec<String>,
    /// The shortest way from one of them back to itself.
    shortest: Vec<Edge>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, files) = (self.files.len(), self.files.join(", "));
        write!(f, "{count} files import one another: {files}; move what both need below them")?;
        for Edge { from, to, line, path } in &self.shortest {
            write!(f, "\n    {from}:{line} names `{path}` of {to}")?;
        }
        Ok(())
    }
}

/// From each file to those that it imports, with the first line that does.
type Graph = BTreeMap<String, BTreeMap<String, Edge>>;

/// The cycles, those of most files first.
pub(super) fn cycles(mut edges: Vec<Edge>) -> Vec<Cycle> {
    edges.sort();
    let mut graph = Graph::new();
    for edge in edges {
        graph.entry(edge.from.clone()).or_default().entry(edge.to.clone()).or_insert(edge);
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|file| (file, from(&graph, file).into_keys().collect())).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (file, reaches) in &reached {
        if !reaches.contains(file) || seen.contains(file) {
            continue;
        }
        let back = |other: &&&String| reached.get(*other).is_some_and(|others| others.contains(file));
        let files: Vec<&String> = reaches.iter().filter(back).copied().collect();
        seen.extend(files.iter().copied());
        let shortest = files.iter().map(|file| way_back(&graph, file)).min_by_key(Vec::len).unwrap_or_default();
        found.push(Cycle { files: files.into_iter().cloned().collect(), shortest });
    }
    found.sort_by_key(|cycle| std::cmp::Reverse(cycle.files.len()));
    found
}

/// Every file that `start` leads to, with the import by which it is reached first.
fn from<'g>(graph: &'g Graph, start: &str) -> BTreeMap<&'g String, &'g Edge> {
    let mut found = BTreeMap::new();
    let mut next: VecDeque<&str> = [start].into();
    while let Some(file) = next.pop_front() {
        for (to, edge) in graph.get(file).into_iter().flatten() {
            if !found.contains_key(to) {
                found.insert(to, edge);
                next.push_back(to);
            }
        }
    }
    found
}

fn way_back(graph: &Graph, start: &str) -> Vec<Edge> {
    let reached = from(graph, start);
    let mut way = Vec::new();
    let mut file = start;
    while let Some(edge) = reached.get(&file.to_owned()) {
        way.push((*edge).clone());
        file = &edge.from;
        if file == start {
            break;
        }
    }
    way.reverse();
    way
}
