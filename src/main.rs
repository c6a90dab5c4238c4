//! The program `cifra`; everything is in the library, see `cifra::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cifra::cli::main()
}
