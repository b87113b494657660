//! "Did you mean": the names closest to one that does not exist.

/// A sentence with up to five names near `wanted`, with a leading space; empty when nothing is
/// near.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    if wanted.len() > 100 {
        return String::new();
    }
    let mut near: Vec<(usize, &str)> = names
        .filter(|name| name.len() <= 100)
        .filter_map(|name| {
            let far = distance(&wanted.to_ascii_lowercase(), &name.to_ascii_lowercase());
            (far <= wanted.len() * 2 / 5 + 1).then_some((far, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    let shown: Vec<String> = near.iter().take(5).map(|(_, name)| format!("\"{name}\"")).collect();
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => format!(" Did you mean {only}?"),
        Some((last, [one])) => format!(" Did you mean {one} or {last}?"),
        Some((last, rest)) => format!(" Did you mean {}, or {last}?", rest.join(", ")),
    }
}

fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
