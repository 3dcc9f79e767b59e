# Sourced: from here on the compiler lints as it compiles, and refuses what a lint finds,
# so that what is linted and what is run is built once.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver
export CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
