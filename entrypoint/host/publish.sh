#!/usr/bin/env bash
# Step 4: publishes in a container that has the token and the network, and nothing of the workspace. The
# report was written by code of a pull request: it is handed over as one file, never as a link, and
# model-eval validates it and compares it with how the evaluation ended.
# shellcheck source=entrypoint/host/common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

report=$MODEL_EVAL_OUTPUT_DIR/report.json
evaluated=${MODEL_EVAL_EXIT_STATUS:-4}
[[ $evaluated =~ ^[0-4]$ ]] || evaluated=4

arguments=(--mount "$(bind "$GITHUB_OUTPUT" "$GITHUB_OUTPUT")"
    --mount "$(bind "$GITHUB_STEP_SUMMARY" "$GITHUB_STEP_SUMMARY")")
# By name only: a value on a command line is readable by everybody on the machine.
for variable in \
    GITHUB_ACTIONS GITHUB_API_URL GITHUB_EVENT_NAME GITHUB_OUTPUT GITHUB_REPOSITORY GITHUB_RUN_ATTEMPT \
    GITHUB_RUN_ID GITHUB_SERVER_URL GITHUB_SHA GITHUB_STEP_SUMMARY \
    MODEL_EVAL_HEAD_SHA MODEL_EVAL_PULL_REQUEST MODEL_EVAL_TOKEN; do
    arguments+=(--env "$variable")
done
speak_to_github
if [[ -f $report && ! -L $report ]]; then
    arguments+=(--mount "$(bind "$report" "$report" readonly)")
fi

command=(publish --report "$report" --exit-status "$evaluated"
    "--comment-key=${MODEL_EVAL_COMMENT_KEY:-$MODEL_EVAL_SPEC}")
[[ $MODEL_EVAL_COMMENT != false ]] || command+=(--no-comment)

# The evaluation did not even start, and its step has said why.
[[ -n ${MODEL_EVAL_EXIT_STATUS:-} ]] || command+=(--quiet)

name=$MODEL_EVAL_CONTAINER-publish
published=0
run_container "$name" "${arguments[@]}" "$MODEL_EVAL_IMAGE" "${command[@]}" || published=$?
docker rm --force "$name" >/dev/null 2>&1 || true

# A pass needs both: the evaluation said so, and its report was found to be valid and to say the same.
if [[ ${MODEL_EVAL_EXIT_STATUS:-} != "$published" ]]; then
    : >"$GITHUB_OUTPUT" # half of an output would take in what follows
    [[ -z ${MODEL_EVAL_EXIT_STATUS:-} ]] ||
        annotate error "no verdict: the evaluation ended with status \`$MODEL_EVAL_EXIT_STATUS\` and its publication with \`$published\`; see the log above"
    set_output verdict error
    set_output exit-code 4
    set_output report ""
    set_output metrics "{}"
fi
