//! `Directory`: a directory of a tree, its entries, and changes to it.

mod build;
mod change;
mod read;
mod value;

use rondel_surface::Surface;

pub(crate) use value::of;
pub use value::value;

pub(crate) fn register(surface: &mut Surface) {
    build::register(surface);
    change::register(surface);
    read::register(surface);
}
