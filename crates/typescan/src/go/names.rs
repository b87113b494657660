//! Names of types.

/// Finds the name of a type of the API from the name of its Go type.
pub type FindApiType<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The name of the main object's type: the words of the module's name, each capitalized.
pub fn main_type(module: &str) -> String {
    let mut name = String::new();
    let mut starts = true;
    for c in module.trim().chars() {
        match c {
            '_' | '-' | '.' | ' ' => starts = true,
            c => {
                name.extend(if starts { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] });
                starts = c.is_ascii_digit();
            }
        }
    }
    name
}
