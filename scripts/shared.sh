#!/usr/bin/env bash
# Runs a command, as a rule cargo, with the flags and in the folder of scripts/build.sh:
# what one of them has compiled the others need not compile again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

eval "$(scripts/build.sh --env)"
exec "$@"
