//! Pictures drawn by code, through the decoders and encoders and back.

mod drawn;
mod jpeg;
mod plan;
mod upright;
