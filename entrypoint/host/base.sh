#!/usr/bin/env bash
# Step 2: the spec as the base branch has it, which the pull request's is held against. It is asked of
# GitHub, in a container that has the token and the network and nothing of the workspace: a checkout is
# one commit deep, and its files are the pull request's. Whatever goes wrong is an error: a spec that
# could not be had must not look like one that is not there.
# shellcheck source=entrypoint/host/common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

require_spec "$MODEL_EVAL_SPEC"
if [[ -z $MODEL_EVAL_BASE_SHA ]]; then
    echo "model-eval: not a pull request, so there is no base branch to compare the spec with"
    set_output state none
    exit 0
fi

# The path in the repository. A checkout may lie in a folder of the workspace (`path:` of
# actions/checkout): the outermost git directory counts, because a submodule is the pull request's to add.
path=$MODEL_EVAL_SPEC rest=$MODEL_EVAL_SPEC folder=$GITHUB_WORKSPACE checkouts=0
while true; do
    while [[ $rest == ./* ]]; do rest=${rest#./}; done
    if [[ -e $folder/.git ]]; then
        ((checkouts)) || path=$rest
        checkouts=$((checkouts + 1))
    fi
    [[ $rest == */* ]] || break
    folder=$folder/${rest%%/*} rest=${rest#*/}
done

folder=$MODEL_EVAL_OUTPUT_DIR-base
mkdir -m 0700 -- "$folder"
arguments=(--mount "$(bind "$GITHUB_OUTPUT" "$GITHUB_OUTPUT")" --mount "$(bind "$folder" "$folder")")
for variable in GITHUB_ACTIONS GITHUB_API_URL GITHUB_OUTPUT GITHUB_REPOSITORY \
    MODEL_EVAL_BASE_SHA MODEL_EVAL_TOKEN; do
    arguments+=(--env "$variable")
done
speak_to_github

name=$MODEL_EVAL_CONTAINER-base
status=0
run_container "$name" "${arguments[@]}" "$MODEL_EVAL_IMAGE" \
    base-spec --output "$folder/spec.yaml" -- "$path" || status=$?
docker rm --force "$name" >/dev/null 2>&1 || true
case $status in
    0) ;;
    2 | 4) exit "$status" ;; # and said why
    *) fail 4 "the base branch's spec could not be had (status $status); see the log above" ;;
esac

# That the base branch has no such spec lets a pull request bring its own gates. It says nothing where the
# path may be another one there: below two git directories, or where actions/checkout found no git and left none.
if [[ ! -e $folder/spec.yaml ]] && ((checkouts != 1)); then
    unknown="it is not known where the repository begins, so that the base branch may have the spec by another path than \`$path\`:"
    ((checkouts)) ||
        fail 4 "$unknown no folder on the way to \`$MODEL_EVAL_SPEC\` holds .git; install git 2.18 or newer on the runner, without which actions/checkout leaves none"
    fail 4 "$unknown $checkouts folders on the way to \`$MODEL_EVAL_SPEC\` hold .git; check out each repository into a folder of its own (\`path:\` of actions/checkout), none inside another"
fi
