//! Pages for people: `/docs` and `/problems`. Made here, once, from the document and the texts of problems.
//!
//! Plain HTML with a style of its own: no script, nothing from elsewhere, and a policy that says so to the browser.

mod curl;
mod docs;
mod html;
mod problems;
mod shapes;

pub(super) use docs::*;
pub(super) use problems::*;
