//! Uploads on a store that does not show its parts, with two nodes on it: who learns what when, what a failure leaves,
//! and that nothing wrong is ever visible.

mod announced;
mod deletions;
mod ends;
mod hashes;
mod killed;
mod left_behind;
mod nodes;
mod read_back;
mod room;
mod services;
mod wayward;
mod writers;
