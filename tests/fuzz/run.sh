#!/usr/bin/env bash
# Runs the fuzzers, each for TIME seconds: `make fuzz`, `make fuzz ARGS=manifest TIME=600`. What they find anew is in
# tests/fuzz/found, what fails in tests/fuzz/artifacts: copy that into tests/fuzz/corpus once it is mended.
set -euo pipefail
cd "$(dirname "$0")/../.."
time=${TIME:-60}

if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
    rustup toolchain install nightly --profile minimal
fi

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cd tests/fuzz/corpus && ls)
fi
for target in "${targets[@]}"; do
    echo "== $target, $time s"
    mkdir -p "tests/fuzz/found/$target"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "tests/fuzz/found/$target" "tests/fuzz/corpus/$target" -- \
        -max_total_time="$time" -timeout=20 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 -verbosity=0
done
