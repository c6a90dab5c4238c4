//! cifra
fn main() {}
