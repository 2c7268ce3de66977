#!/usr/bin/env bash
# Fills this folder with every wheel that the Dockerfile installs, so that the image can be built
# without a network. pip's own configuration says where wheels come from; run it on Linux, on the
# architecture of the image.
#
#   wheels/fill.sh                      # VARIANT=cpu, torch 2.13.0, for Python 3.11
#   TORCH_INDEX_URL=… wheels/fill.sh    # the index of PyTorch's CPU builds
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
variant="${VARIANT:-cpu}"
torch="torch==${TORCH_VERSION:-2.13.0}"
download=("${PYTHON:-python3}" -m pip download --quiet --dest wheels --only-binary ':all:'
    --python-version "${PYTHON_VERSION:-3.11}")

echo "wheels: what requirements.lock and requirements-build.lock pin"
"${download[@]}" --no-deps --require-hashes -r requirements.lock
"${download[@]}" --no-deps --require-hashes -r requirements-build.lock

index=()
[[ -z "${TORCH_INDEX_URL:-}" ]] || index=(--index-url "$TORCH_INDEX_URL")
echo "wheels: $torch ($variant)"
case "$variant" in
    cpu)
        "${download[@]}" --no-deps "${index[@]}" "$torch"
        # A CUDA build without CUDA's libraries would be an image that cannot import torch.
        for wheel in wheels/torch-*.whl; do
            if ! "${PYTHON:-python3}" -c 'import re, sys, zipfile
version = zipfile.ZipFile(sys.argv[1]).read("torch/version.py")
sys.exit(not re.search(rb"(?m)^cuda\b.*= *None", version))' "$wheel"; then
                rm "$wheel"
                echo "\`$wheel\` was a CUDA build and is removed: set TORCH_INDEX_URL to the index of PyTorch's CPU builds, or VARIANT=cuda" >&2
                exit 2
            fi
        done
        ;;
    # The CUDA libraries are torch's own dependencies, pinned exactly by its metadata.
    cuda) "${download[@]}" "${index[@]}" "$torch" ;;
    *) echo "VARIANT is \`$variant\`; it is cpu or cuda" >&2 && exit 2 ;;
esac
du -sh wheels
