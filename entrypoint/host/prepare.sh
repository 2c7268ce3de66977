#!/usr/bin/env bash
# Step 1: can this runner evaluate? Which image, which GPUs, where does the output go?
# shellcheck source=entrypoint/host/common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

[[ ${RUNNER_OS:-} == Linux ]] ||
    fail 4 "this action runs on Linux runners only, and this one is \`${RUNNER_OS:-unknown}\`; use runs-on: ubuntu-latest or a self-hosted Linux runner"
[[ -n $MODEL_EVAL_IMAGE || ${RUNNER_ARCH:-X64} == X64 ]] ||
    fail 4 "the images are for x86-64, and this runner is \`$RUNNER_ARCH\`; use another runner, or build an image and pass it as \`image\`"
if inside "$GITHUB_WORKSPACE" /__w; then
    fail 4 "this job runs in a container, where the paths of the workspace are not those of the Docker engine; remove \`container:\` from the job"
fi
command -v docker >/dev/null ||
    fail 4 "there is no \`docker\` command on this runner; install Docker (docs/self-hosted.md)"
if ! engine="$(timeout 60 docker info --format '{{.ServerVersion}} {{.SecurityOptions}} {{json .Runtimes}}' 2>&1)"; then
    fail 4 "the Docker engine does not answer: ${engine}; start it, and let the runner's user use it (docs/self-hosted.md)"
fi
if [[ $engine == *name=rootless* || $engine == *name=userns* ]]; then
    fail 4 "this Docker engine maps user ids (rootless or userns-remap), so that the report could not be written; use an engine without (docs/self-hosted.md)"
fi

[[ $MODEL_EVAL_COMMENT == true || $MODEL_EVAL_COMMENT == false ]] ||
    fail 2 "\`comment: $MODEL_EVAL_COMMENT\` is not true or false; correct the input"

[[ $MODEL_EVAL_ALLOW_LOOSENING == true || $MODEL_EVAL_ALLOW_LOOSENING == false ]] ||
    fail 2 "\`allow-loosening: $MODEL_EVAL_ALLOW_LOOSENING\` is not true or false; correct the input"

[[ $MODEL_EVAL_CACHE == true || $MODEL_EVAL_CACHE == false ]] ||
    fail 2 "\`cache: $MODEL_EVAL_CACHE\` is not true or false; correct the input"

temp="$(cd "$RUNNER_TEMP" && pwd -P)"
workspace="$(cd "$GITHUB_WORKSPACE" && pwd -P)"
if inside "$temp" "$workspace"; then
    fail 4 "RUNNER_TEMP lies inside the workspace, where code of a pull request would read its secrets; move the runner's work folder"
fi

nvidia_smi() { command -v nvidia-smi >/dev/null && nvidia-smi --list-gpus >/dev/null 2>&1; }
docker_has_gpus() { [[ $engine == *'"nvidia"'* ]] || command -v nvidia-container-runtime-hook >/dev/null; }
gpus=
case $MODEL_EVAL_GPUS in
    none) ;;
    auto)
        if nvidia_smi && docker_has_gpus; then
            gpus=all
        elif nvidia_smi; then
            annotate warning "this runner has a GPU that Docker cannot use, so the evaluation runs on the CPU; install the NVIDIA Container Toolkit, or say \`gpus: none\`"
        fi
        ;;
    all) gpus=all ;;
    device=*)
        [[ $MODEL_EVAL_GPUS =~ ^device=[A-Za-z0-9:./_-]+(,[A-Za-z0-9:./_-]+)*$ ]] ||
            fail 2 "\`gpus: $MODEL_EVAL_GPUS\` names no devices; write device=0,1 or auto, all, none"
        gpus="\"$MODEL_EVAL_GPUS\""
        ;;
    *) fail 2 "\`gpus: $MODEL_EVAL_GPUS\` is not auto, all, none or device=…; correct the input" ;;
esac

variant=cpu
[[ -z $gpus ]] || variant=cuda
image=$MODEL_EVAL_IMAGE
if [[ -z $image ]]; then
    while read -r name reference; do
        [[ $name != "$variant" ]] || image=$reference
    done <"${BASH_SOURCE[0]%/*}/../../image.lock"
    [[ -n $image ]] ||
        fail 4 "no $variant image has been released with this version of the action; build one (\`make wheels image\` in the action's repository; see its README, Before a release) and pass \`image: model-eval:local\`"
fi
[[ $image =~ ^[A-Za-z0-9][A-Za-z0-9._/:@-]*$ ]] ||
    fail 2 "\`image: $image\` is not the name of an image; correct the input"

# By its id from here on: the evaluation and the publishing get the same image, whatever its tag does.
id="$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null)" || {
    for pause in 5 20 0; do
        ! docker pull --quiet "$image" || break
        sleep "$pause"
    done
    id="$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null)" ||
        fail 4 "the image \`$image\` is not on this runner and could not be pulled; check its name, the network and the registry's login"
}

output="$(mktemp -d "$temp/model-eval.XXXXXXXXXX")"

# head_of FOLDER: the commit that is checked out by this git directory. Nothing where its files do not say
# so plainly, as those of a worktree and of a submodule: git itself would read settings of the workspace.
head_of() {
    local head='' ref commit name
    [[ ! -f $1/HEAD ]] || read -r head <"$1/HEAD" || true
    if [[ $head == 'ref: refs/'* ]]; then
        ref=${head#ref: } head=
        [[ ! -f $1/$ref ]] || read -r head <"$1/$ref" || true
        if [[ -z $head && -f $1/packed-refs ]]; then
            while read -r commit name; do
                [[ $name != "$ref" ]] || head=$commit
            done <"$1/packed-refs"
        fi
    fi
    printf '%s' "$head"
}

# Is what is checked out around the spec the commit that this run is for? A workflow may check out any
# other: `workflow_dispatch` on the main branch, and a pull request's ref.
is_checked_out() {
    local folder=$workspace rest=$1 found=
    while true; do
        if [[ -e $folder/.git ]]; then
            [[ "$(head_of "$folder/.git")" == "${GITHUB_SHA:-unknown}" ]] || return 1
            found=true
        fi
        [[ $rest == */* ]] || break
        folder=$folder/${rest%%/*} rest=${rest#*/}
    done
    [[ -n $found ]]
}

# The store has the same path in every run, because GitHub's cache finds folders by their path. Only a run
# whose code is that of a branch may add to it; what a pull request would add, a later run would believe.
if [[ $MODEL_EVAL_CACHE == true ]]; then
    store=$temp/model-eval-store
    # Of a use of this action before in the same job, or of a job that was killed.
    rm -rf -- "$store"
    mkdir -- "$store"
    writable=false
    case ${GITHUB_EVENT_NAME:-} in
        push | schedule | workflow_dispatch)
            if is_checked_out "$MODEL_EVAL_SPEC"; then
                writable=true
            else
                annotate notice "the cache is read, and nothing is added to it: git does not say that what is checked out is the commit of this run (${GITHUB_SHA:-unknown}); check that out, with git installed"
            fi
            ;;
    esac
    prefix="model-eval-v1-$(printf '%s' "$MODEL_EVAL_SPEC" | sha256sum | cut -c 1-16)-"
    set_output store "$store"
    set_output store-writable "$writable"
    set_output store-prefix "$prefix"
    set_output store-key "$prefix${GITHUB_SHA:-0}-${GITHUB_RUN_ID:-0}-${GITHUB_RUN_ATTEMPT:-0}-${output##*.}"
fi

set_output image "$id"
set_output gpus "$gpus"
set_output output-dir "$output"
set_output container "model-eval-${GITHUB_RUN_ID:-0}-${GITHUB_RUN_ATTEMPT:-0}-${output##*.}"
echo "model-eval: image $image ($id), GPUs: ${gpus:-none}"
