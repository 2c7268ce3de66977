# shellcheck shell=bash
# What the steps of action.yml share. Sourced; parses in bash 3.2, so that a Mac gets a message.
set -euo pipefail

# Programs come from the system's folders first, and never from the workspace, whose files are a pull
# request's: `echo "$PWD/.venv/bin" >> "$GITHUB_PATH"` is a common line.
safe_path() {
    local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin entry
    local IFS=:
    set -f
    for entry in $PATH; do
        case $entry in
            "$GITHUB_WORKSPACE" | "$GITHUB_WORKSPACE"/*) ;;
            /*) path=$path:$entry ;;
        esac
    done
    set +f
    printf '%s' "$path"
}
PATH="$(safe_path)"
export PATH

# annotate LEVEL MESSAGE: `error`, `warning` or `notice`, inert whatever the message holds.
annotate() {
    local text=$2
    text=${text//'%'/%25}
    text=${text//$'\r'/%0D}
    text=${text//$'\n'/%0A}
    printf '::%s title=model-eval::%s\n' "$1" "$text"
}

# fail STATUS MESSAGE: what is wrong; what to do. The statuses are those of model-eval.
fail() {
    annotate error "$2"
    exit "$1"
}

set_output() {
    case $2 in *$'\n'*) fail 4 "the output $1 would hold a line break; nothing was written" ;; esac
    printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

# The input `spec`, which the steps use one after the other.
require_spec() {
    case /$1/ in
        // ) fail 2 "the input \`spec\` is empty; name a YAML file in the workspace" ;;
        //* | */../* | *[[:cntrl:]]*)
            fail 2 "\`spec: $1\` does not stay inside the workspace; give a relative path without \`..\`" ;;
    esac
}

# inside PATH FOLDER: is it the folder, or in it? Both absolute.
inside() {
    [[ $1 == "$2" || $1 == "${2%/}"/* ]]
}

# bind SOURCE TARGET [readonly]: the value of docker's --mount, a line of CSV. Unlike -v it takes every
# character but a line break, and refuses a source that is missing instead of making it as root.
bind() {
    printf 'type=bind,"source=%s","target=%s"%s' "${1//\"/\"\"}" "${2//\"/\"\"}" "${3:+,$3}"
}

# What a container needs to speak to GitHub, added to `arguments`; none of it is of the workspace.
speak_to_github() {
    local variable
    arguments+=(--pids-limit 256 --memory 2g --network "${MODEL_EVAL_PUBLISH_NETWORK:-bridge}")
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
        arguments+=(--env "$variable")
    done
    # A GitHub Enterprise Server with a certificate of its own.
    if [[ -f ${REQUESTS_CA_BUNDLE:-} ]]; then
        arguments+=(--env REQUESTS_CA_BUNDLE --mount "$(bind "$REQUESTS_CA_BUNDLE" "$REQUESTS_CA_BUNDLE" readonly)")
    fi
}

# Runs a container under a name, and passes a cancellation on: the runner signals this shell only, and
# kills it 10 s later. Returns the container's status. The caller removes the container.
run_container() {
    local name=$1 status=0
    shift
    container_client=
    # shellcheck disable=SC2064  # the name of now
    trap "stop_container '$name'" INT TERM HUP
    docker run --name "$name" --pull never --init --log-driver none \
        --read-only --tmpfs /tmp:rw,nosuid,nodev,noexec,mode=1777 \
        --cap-drop ALL --security-opt no-new-privileges --user "$(id -u):$(id -g)" \
        --ulimit core=0 "$@" &
    container_client=$!
    wait "$container_client" || status=$?
    trap - INT TERM HUP
    return "$status"
}

stop_container() {
    trap '' INT TERM HUP
    docker stop --time 3 "$1" >/dev/null 2>&1 || true
    [[ -z $container_client ]] || kill -KILL "$container_client" 2>/dev/null || true
    exit 143
}
