//! Pictures drawn by code, through the decoders and encoders and back.

mod colors;
mod drawn;
mod jpeg;
mod plan;
mod seen;
mod upright;
