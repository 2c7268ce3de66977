#!/usr/bin/env bash
# Writes requirements.lock and requirements-build.lock again: `make lock`. The newest versions that fit
# pyproject.toml, for the image's Python, with the hashes of every platform's files.
#
# torch is left out of the lock but takes part in the resolution, and it has to be a CPU build or CUDA's
# libraries come along: FIND_LINKS is a folder or page with one, by default pip's own `find-links`.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
find_links="${FIND_LINKS:-$(python3 -m pip config get global.find-links 2>/dev/null || true)}"

# Keeps the comment that the file begins with, and replaces the rest.
compile() {
    local file=$1
    shift
    local comment
    comment="$(grep '^#' "$file")"
    { printf '%s\n' "$comment"; uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"; } >"$file.part"
    mv "$file.part" "$file"
}

compile requirements.lock pyproject.toml --no-emit-package torch \
    --constraint <(echo "torch==${TORCH_VERSION:-2.13.0}") ${find_links:+--find-links "$find_links"}
compile requirements-build.lock <(echo hatchling)

if grep --quiet '^nvidia-' requirements.lock; then
    echo "lock: a CUDA build of torch was resolved; set FIND_LINKS to a page with PyTorch's CPU builds" >&2
    exit 1
fi
