//! `chord`: the command line.

fn main() -> std::process::ExitCode {
    chord::main()
}
