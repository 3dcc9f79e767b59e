//! `kubectl chord`: the same program, which knows by its name that it is a plugin.

fn main() -> std::process::ExitCode {
    chord::main()
}
