#!/usr/bin/env bash
# Step 5, always: removes the containers by their names, whatever became of the steps that started them,
# and makes the output folder safe to upload. A link in it would upload a file of the runner, and a
# closed folder would break the next job's clean-up.
# shellcheck source=entrypoint/host/common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

if [[ -n $MODEL_EVAL_CONTAINER ]]; then
    for name in "$MODEL_EVAL_CONTAINER-base" "$MODEL_EVAL_CONTAINER-evaluate" "$MODEL_EVAL_CONTAINER-publish"; do
        docker rm --force "$name" >/dev/null 2>&1 || true
    done
fi
[[ -z $MODEL_EVAL_OUTPUT_DIR ]] || rm -rf -- "$MODEL_EVAL_OUTPUT_DIR-base"
[[ -z $MODEL_EVAL_STORE ]] || rm -rf -- "$MODEL_EVAL_STORE"
if [[ -n $MODEL_EVAL_OUTPUT_DIR && -d $MODEL_EVAL_OUTPUT_DIR ]]; then
    chmod -R u+rwX,a-st -- "$MODEL_EVAL_OUTPUT_DIR"
    find "$MODEL_EVAL_OUTPUT_DIR" -mindepth 1 ! -type f ! -type d -delete
fi
