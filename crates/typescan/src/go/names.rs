//! Names of types.

/// Finds the name of a type of the API from the name of its Go type.
pub type FindApiType<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The name of the main object's type: the words of the module's name, each capitalized. Two names
/// that differ in how they write a run of capitals are one: `MariaDB` is `MariaDb`.
pub fn main_type(module: &str) -> String {
    let mut name = String::new();
    let mut starts = true;
    let mut after_capital = false;
    for (index, c) in module.trim().chars().enumerate() {
        let is_capital = c.is_ascii_uppercase();
        match c {
            c if c.is_ascii_alphabetic() => {
                let lowers = !starts && (index == 0 || (after_capital && is_capital));
                name.push(match (starts, lowers) {
                    (true, _) => c.to_ascii_uppercase(),
                    (_, true) => c.to_ascii_lowercase(),
                    _ => c,
                });
                starts = false;
            }
            c if c.is_ascii_digit() => {
                name.push(c);
                starts = true;
            }
            c => starts = matches!(c, '_' | '-' | '.' | ' '),
        }
        after_capital = is_capital;
    }
    name
}
