//! Adds the search domains of a session's services to the `/etc/resolv.conf` of a container.

/// Inserts `domains` before the search domains of `text`.
pub(crate) fn with_search(text: &str, domains: &[String]) -> String {
    if domains.is_empty() {
        return text.to_owned();
    }
    let mut search: Vec<&str> = domains.iter().map(String::as_str).collect();
    let mut own: Vec<&str> = Vec::new();
    let mut result = String::with_capacity(text.len() + 80);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            // Only the last of these lines counts.
            Some("search" | "domain") => own = words.collect(),
            _ => {
                result.push_str(line);
                result.push('\n');
            }
        }
    }
    search.extend(own);
    result.push_str("search ");
    result.push_str(&search.join(" "));
    result.push('\n');
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_come_first() {
        let check = |text: &str, domains: &[&str], want: &str| {
            let domains: Vec<String> = domains.iter().map(|&domain| domain.to_owned()).collect();
            assert_eq!(with_search(text, &domains), want);
        };
        let text = "nameserver 10.87.0.1\nsearch a.example b.example\noptions ndots:3\n";
        check(text, &[], text);
        check(
            text,
            &["m.s.local", "s.local"],
            "nameserver 10.87.0.1\noptions ndots:3\nsearch m.s.local s.local a.example b.example\n",
        );
        check("nameserver 10.87.0.1\n", &["s.local"], "nameserver 10.87.0.1\nsearch s.local\n");
    }
}
