#!/usr/bin/env bash
# Step 3: evaluates in a container that has no network, no token and no environment of the runner, that
# can write to the output folder only, and that sees the workspace without its git credentials.
# The step succeeds whatever the verdict: publishing comes next, and the last step fails.
# shellcheck source=entrypoint/host/common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

spec=$MODEL_EVAL_SPEC
require_spec "$spec"
[[ $MODEL_EVAL_PIDS_LIMIT =~ ^[1-9][0-9]{0,6}$ ]] ||
    fail 2 "\`pids-limit: $MODEL_EVAL_PIDS_LIMIT\` is not a whole number; correct the input"
[[ ${MODEL_EVAL_DEADLINE:-} =~ ^([1-9][0-9]{0,6})?$ ]] ||
    fail 2 "\`deadline: $MODEL_EVAL_DEADLINE\` is not a whole number of seconds; correct the input"
for limit in "memory $MODEL_EVAL_MEMORY" "shm-size $MODEL_EVAL_SHM_SIZE"; do
    [[ $limit =~ ^[a-z-]+\ ([1-9][0-9]*[bkmgBKMG]?)?$ ]] ||
        fail 2 "\`${limit/ /: }\` is not a size; write it like 512m or 12g"
done

arguments=(--network none --pids-limit "$MODEL_EVAL_PIDS_LIMIT"
    --mount "$(bind "$GITHUB_WORKSPACE" "$GITHUB_WORKSPACE" readonly)"
    --mount "$(bind "$MODEL_EVAL_OUTPUT_DIR" "$MODEL_EVAL_OUTPUT_DIR")")
[[ -z $MODEL_EVAL_MEMORY ]] || arguments+=(--memory "$MODEL_EVAL_MEMORY" --memory-swap "$MODEL_EVAL_MEMORY")
[[ -z $MODEL_EVAL_SHM_SIZE ]] || arguments+=(--shm-size "$MODEL_EVAL_SHM_SIZE")
[[ -z $MODEL_EVAL_GPUS ]] || arguments+=(--gpus "$MODEL_EVAL_GPUS")
# Docker's client would add its own proxies, whose addresses may hold a password.
for proxy in HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY; do
    lower="$(tr '[:upper:]' '[:lower:]' <<<"$proxy")"
    arguments+=(--env "$proxy=" --env "$lower=")
done

# actions/checkout leaves the token in .git/config. Every git directory, whatever its name, is covered
# by an empty folder; a search that cannot see everything is an error. -H, because a folder that is itself
# a link would be searched as the link, and nothing found.
hide_git_directories() {
    local folder=$1 found list
    shift
    # Not from a process substitution: bash does not always know how one has ended.
    list="$(mktemp "$MODEL_EVAL_OUTPUT_DIR.XXXXXXXXXX")"
    find -H "$folder" "$@" \( -type d -name .git -prune -o -name HEAD \) -print0 >"$list" ||
        fail 4 "\`$folder\` cannot be searched for git credentials; give the runner's user access to all of it"
    while IFS= read -r -d '' found; do
        case $found in
            */HEAD)
                found=${found%/HEAD}
                [[ -e $found/config && -d $found/objects ]] || continue
                ;;
        esac
        arguments+=(--mount "type=tmpfs,\"target=${found//\"/\"\"}\",tmpfs-size=4096,tmpfs-mode=0555")
    done <"$list"
    rm -f -- "$list"
}
hide_git_directories "$GITHUB_WORKSPACE"

# A data path must not open what the sandbox closes: it may not hold any of these, nor lie in one (but in
# the home folder and in RUNNER_TEMP, where earlier steps put data).
add_data_path() {
    local path=$1 real closed
    [[ $path == /* && -e $path ]] ||
        fail 2 "\`data-paths\`: \`$path\` is not an absolute path of something that is there; correct the input"
    real="$(realpath -- "$path")"
    for closed in "$GITHUB_WORKSPACE" /etc /proc /sys /dev /run "$RUNNER_TEMP"/_* "$RUNNER_TEMP" "${HOME:-/root}"; do
        closed="$(realpath -m -- "$closed")"
        if inside "$closed" "$real" || { [[ $closed != "$temp" && $closed != "$home" ]] && inside "$real" "$closed"; }; then
            fail 2 "\`data-paths\`: \`$path\` is, holds or lies in \`$closed\`, which is mounted already or stays closed; name another folder"
        fi
    done
    arguments+=(--mount "$(bind "$real" "$path" readonly)")
    hide_git_directories "$path" -maxdepth 2
    options+=(--allow-path "$path")
}
temp="$(realpath -- "$RUNNER_TEMP")"
home="$(realpath -m -- "${HOME:-/root}")"
options=(--root "$GITHUB_WORKSPACE")
while IFS= read -r line; do
    line="${line#"${line%%[![:space:]]*}"}"
    line="${line%"${line##*[![:space:]]}"}"
    [[ -z $line ]] || add_data_path "${line%/}"
done <<<"$MODEL_EVAL_DATA_PATHS"

# The store of measurements. Read-only where a pull request's code runs: what it could leave there would
# outlive it.
if [[ -n $MODEL_EVAL_STORE ]]; then
    options+=(--cache /store)
    if [[ $MODEL_EVAL_STORE_WRITABLE == true ]]; then
        arguments+=(--mount "$(bind "$MODEL_EVAL_STORE" /store)")
    else
        arguments+=(--mount "$(bind "$MODEL_EVAL_STORE" /store readonly)")
        options+=(--cache-read-only)
    fi
else
    options+=(--no-cache)
fi
# With their content: an entry may be replaced under its name.
kept() {
    [[ -z $MODEL_EVAL_STORE ]] ||
        (cd -- "$MODEL_EVAL_STORE" &&
            find . -mindepth 3 -maxdepth 3 -type f -name manifest.json ! -path './*/.*' -exec sha256sum {} + | sort)
}
kept_before="$(kept)"
# A part of the samples, which is not judged, or all parts, whose folders lie in the workspace.
base=$MODEL_EVAL_BASE
loosening=$MODEL_EVAL_ALLOW_LOOSENING
command=(run "$GITHUB_WORKSPACE/$spec")
if [[ -n $MODEL_EVAL_SHARD ]]; then
    [[ $MODEL_EVAL_SHARD =~ ^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$ ]] ||
        fail 2 "\`shard: $MODEL_EVAL_SHARD\` is not a part such as 2/8; correct the input"
    [[ -z $MODEL_EVAL_SHARDS ]] ||
        fail 2 "\`shard\` runs a part and \`shards\` joins all of them; give one of the two"
    options+=(--shard "$MODEL_EVAL_SHARD")
    base=none loosening=false
elif [[ -n $MODEL_EVAL_SHARDS ]]; then
    MODEL_EVAL_SHARDS=${MODEL_EVAL_SHARDS%/}
    case /$MODEL_EVAL_SHARDS/ in
        *//* | */../* | *[[:cntrl:]]*)
            fail 2 "\`shards: $MODEL_EVAL_SHARDS\` does not stay inside the workspace; give a relative path without \`..\`" ;;
    esac
    shopt -s nullglob
    folders=("$GITHUB_WORKSPACE/$MODEL_EVAL_SHARDS"/*/)
    shopt -u nullglob
    ((${#folders[@]})) ||
        fail 4 "\`shards: $MODEL_EVAL_SHARDS\` holds no folder, so nothing was judged; download what the shards left into it"
    command=(merge "$GITHUB_WORKSPACE/$spec" "${folders[@]%/}")
fi

# Whether there is a spec to be held against must be known: what is empty here is not `none`.
case $base in
    found)
        arguments+=(--mount "$(bind "$MODEL_EVAL_OUTPUT_DIR-base/spec.yaml" /base-spec.yaml readonly)")
        options+=(--base-spec /base-spec.yaml)
        ;;
    absent) options+=(--new-spec) ;;
    none) ;;
    *) fail 4 "it is not known whether the base branch has this spec, so nothing was judged; run the job again" ;;
esac
[[ $loosening == false ]] || options+=(--allow-loosening)
[[ -z ${MODEL_EVAL_DEADLINE:-} ]] || options+=(--deadline "$MODEL_EVAL_DEADLINE")

# What code of the pull request prints is shown and never obeyed: the commands that would end this are
# behind a token that it cannot know, and both of its streams are one, so that none overtakes the end.
token="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
name=$MODEL_EVAL_CONTAINER-evaluate
printf '::group::model-eval %s %s\n::stop-commands::%s\n' "${command[0]}" "$spec" "$token"
status=0
run_container "$name" "${arguments[@]}" "$MODEL_EVAL_IMAGE" \
    "${command[@]}" --output "$MODEL_EVAL_OUTPUT_DIR" "${options[@]}" 2>&1 || status=$?
printf '\n::%s::\n::endgroup::\n' "$token"

case $status in
    0 | 1 | 2 | 3 | 4) ;;
    125 | 126 | 127)
        annotate error "Docker could not start the evaluation (its message is in the log above); check the image, the inputs \`gpus\`, \`memory\` and \`shm-size\`, and that the engine sees this runner's files" ;;
    *)
        if [[ $(docker inspect --format '{{.State.OOMKilled}}' "$name" 2>/dev/null) == true ]]; then
            annotate error "the evaluation ran out of memory and was killed; lower run.batch_size, or raise the input \`memory\`"
        else
            annotate error "the evaluation was killed (status $status); nothing was judged"
        fi
        ;;
esac
docker rm --force "$name" >/dev/null 2>&1 || true
set_output exit-status "$status"
# What is kept is files and folders: a link in it would be followed by who restores it.
if [[ -n $MODEL_EVAL_STORE && $MODEL_EVAL_STORE_WRITABLE == true ]]; then
    chmod -R u+rwX,a-st -- "$MODEL_EVAL_STORE"
    find "$MODEL_EVAL_STORE" -mindepth 1 ! -type f ! -type d -delete
    [[ "$(kept)" == "$kept_before" ]] || set_output store-changed true
fi
