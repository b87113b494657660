//! What the scanner needs to know of a module and of the API besides the code.

/// A Python module, as its project file describes it.
#[derive(Clone, Debug, Default)]
pub struct PythonModule {
    /// The name of the main class.
    pub main_class: String,
    /// The package that contains the code, unless the project declares a main object.
    pub package: String,
    /// The main object that the project declares: `package:Class`.
    pub main_object: Option<String>,
    /// The names of the packages that the project depends on, beside the library.
    pub requirements: Vec<String>,
    /// Those of them that come from elsewhere than a package index, so that they may register
    /// types.
    pub local_packages: Vec<String>,
}

/// A type of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiType {
    /// An object with an ID.
    Object,
    /// A scalar.
    Scalar,
    /// An enum: the names of its members in Python, each with the name that the library gives it.
    Enum(Vec<(String, String)>),
    /// Anything that is not a type of arguments or results in Python.
    Other,
}

/// The API as the module's code sees it, without its dependencies.
pub trait Api {
    /// The type `name`. `None` if there is none.
    fn find(&self, name: &str) -> Option<ApiType>;

    /// The names of all types.
    fn names(&self) -> Vec<String>;

    /// Whether the type `name` has the field `field`.
    fn has_field(&self, name: &str, field: &str) -> bool;
}
