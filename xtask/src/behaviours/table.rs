//! The table of behaviours.

const TABLE: &str = include_str!("../../data/behaviours.tsv");

/// One behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Its number, as `CTR-002`.
    pub(super) number: &'static str,
    pub(super) behaviour: &'static str,
    /// Why it is not done, or not in full; empty when a test shows all of it.
    pub(super) reason: &'static str,
}

impl Row {
    /// `CTR` of `CTR-002`.
    pub(super) fn family(&self) -> &'static str {
        self.number.rsplit_once('-').map_or(self.number, |(family, _)| family)
    }

    /// `002` of `CTR-002`.
    pub(super) fn short_number(&self) -> &'static str {
        self.number.rsplit_once('-').map_or("", |(_, number)| number)
    }
}

/// Every row, in the order of the table.
///
/// # Errors
/// A line without three cells, a number of another form, or one that is there twice.
pub(super) fn rows() -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let &[number, behaviour, reason] = cells.as_slice() else {
            return Err(format!("`xtask/data/behaviours.tsv`: expected three cells in `{line}`"));
        };
        let row = Row { number, behaviour, reason };
        let digits = row.short_number();
        let family = row.family();
        let formed = digits.len() == 3
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && family.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
            && !behaviour.is_empty();
        if !formed || rows.iter().any(|other| other.number == number) {
            return Err(format!(
                "`xtask/data/behaviours.tsv`: `{number}` is no number, has no words, or is there twice"
            ));
        }
        rows.push(row);
    }
    Ok(rows)
}
