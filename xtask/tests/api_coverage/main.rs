//! The API that this engine serves is the API that every compared version had, member by member.
//!
//! `cargo xtask api-coverage` prints what this compares: it names a file in `RONDEL_API_COVERAGE`
//! and prints that.

mod compare;
mod ours;
mod report;
mod table;

use ours::Ours;
use report::Report;
use table::Table;

#[test]
fn every_view_agrees() {
    let report = Report::new(&Table::read(), &Ours::new());
    if let Some(path) = std::env::var_os("RONDEL_API_COVERAGE") {
        std::fs::write(path, report.text()).expect("the report can be written");
    }
    assert!(report.agrees(), "missing or different:\n{}", report.differences());
}
