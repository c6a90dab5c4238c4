//! Pictures drawn by code, through the decoders and encoders and back.

mod colors;
mod drawn;
mod foreign;
mod hostile;
mod jpeg;
mod memory;
mod others;
mod outputs;
mod plan;
mod png;
mod seen;
mod upright;
mod webp;
