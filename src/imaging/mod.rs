//! Pictures in, thumbnails out: pure work on bytes, no file, no store, no database, no clock but a deadline.
//!
//! [`probe()`] reads headers and says what a picture is; [`price()`] says what it costs to decode, before anybody pays;
//! [`make`] decodes it once and makes every size. All three take bytes that nobody trusts: they answer a [`Fault`],
//! never panic on purpose, never take more memory than the price said. Called by `media`, which decides when and how
//! many at once; panics of decoders are contained there.

pub mod color;
mod decode;
mod encode;
mod fault;
pub mod flatten;
mod inks;
mod libwebp;
mod made;
pub mod orient;
mod pipeline;
mod pixels;
pub mod placeholder;
pub mod plan;
mod price;
mod probe;
pub mod resize;
mod turbojpeg;

pub use decode::{Limits, Needed, decode};
pub use encode::{Encoding, encode};
pub use fault::{Fault, Reason};
pub use made::{Made, Orientation, Picture, Stages, Thumbnail};
pub use pipeline::{draw, make, plan};
pub use pixels::{Decoded, Layout, Pixels};
pub use price::price;
pub use probe::{Format, HEAD_BYTES, Probe, probe};
