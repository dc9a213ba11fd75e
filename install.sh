#!/bin/sh
# Installs Nauplius and starts it as a service.
#
#   curl -sfL <where this file is> | sh -            a server: a whole cluster on this machine
#   curl -sfL … | NAUPLIUS_URL=https://server:6443 NAUPLIUS_TOKEN=… sh -    a node of that server
#   ./install.sh                                     the same, from a checkout
#
# Arguments are passed on to "nauplius server" or "nauplius agent"; the first one may name the role.
#
# Variables (after those of k3s):
#   INSTALL_NAUPLIUS_BIN            executable to install; by default the one beside this file, the
#                                   one the checkout has built, or the one that is installed already
#   INSTALL_NAUPLIUS_DOWNLOAD_URL   where to fetch the executable from (…-amd64 or …-arm64 is added)
#   INSTALL_NAUPLIUS_SHA256         what its SHA-256 must be
#   INSTALL_NAUPLIUS_BIN_DIR        where it goes                               (/usr/local/bin)
#   INSTALL_NAUPLIUS_EXEC           role and flags, like the arguments
#   INSTALL_NAUPLIUS_NAME           name of the service                         (nauplius or nauplius-agent)
#   INSTALL_NAUPLIUS_SKIP_ENABLE    true: install only
#   INSTALL_NAUPLIUS_SKIP_START     true: do not start now
#   NAUPLIUS_*                      kept for the service (NAUPLIUS_TOKEN, NAUPLIUS_URL, NAUPLIUS_NODE_NAME, …)
set -eu

say() { echo "nauplius: $*"; }
die() { echo "nauplius: $*" >&2; exit 1; }

main() {
    [ "$(id -u)" = 0 ] || die "installing needs root: run this with sudo"
    [ "$(uname -s)" = Linux ] || die "Nauplius runs on Linux, this is $(uname -s)"
    BIN_DIR=${INSTALL_NAUPLIUS_BIN_DIR:-/usr/local/bin}
    case $BIN_DIR in /*) ;; *) die "INSTALL_NAUPLIUS_BIN_DIR: $BIN_DIR is not an absolute path" ;; esac
    # The variable holds words, as on a command line, and no patterns.
    set -f
    # shellcheck disable=SC2086  # see above
    [ $# -gt 0 ] || set -- ${INSTALL_NAUPLIUS_EXEC:-}
    set +f
    choose_role "$@"
    case ${1:-} in server | agent) shift ;; esac
    install_executable
    [ "${INSTALL_NAUPLIUS_SKIP_ENABLE:-}" = true ] && { say "installed $BIN_DIR/nauplius"; return; }
    write_environment
    if [ -d /run/systemd/system ]; then
        install_systemd "$@"
    elif [ -x /sbin/openrc-run ]; then
        install_openrc "$@"
    else
        start_in_background "$@"
    fi
    [ "$ROLE" = agent ] || [ "${INSTALL_NAUPLIUS_SKIP_START:-}" = true ] || tell_what_next
}

choose_role() {
    case ${1:-} in
        server | agent) ROLE=$1 ;;
        *) if [ -n "${NAUPLIUS_URL:-}" ]; then ROLE=agent; else ROLE=server; fi ;;
    esac
    if [ "$ROLE" = agent ]; then default=nauplius-agent; else default=nauplius; fi
    NAME=${INSTALL_NAUPLIUS_NAME:-$default}
    case $NAME in *[!a-zA-Z0-9_-]* | "") die "INSTALL_NAUPLIUS_NAME may have letters, digits, - and _ only" ;; esac
    if [ "$ROLE" = agent ] && [ -z "${NAUPLIUS_URL:-}" ]; then
        case "$*" in *--server* | *" -s "*) ;; *) die "an agent needs NAUPLIUS_URL or --server: the server to join" ;; esac
    fi
}

install_executable() {
    source=$(find_executable)
    mkdir -p "$BIN_DIR"
    if [ -n "$source" ] && [ "$(readlink -f "$source")" = "$(readlink -f "$BIN_DIR/nauplius" 2>/dev/null || true)" ]; then
        return
    fi
    temporary=$(mktemp "$BIN_DIR/.nauplius.XXXXXX")
    trap 'rm -f "$temporary"' EXIT
    trap 'exit 130' INT TERM
    if [ -n "$source" ]; then cat "$source" >"$temporary"; else download >"$temporary"; fi
    if [ -n "${INSTALL_NAUPLIUS_SHA256:-}" ]; then
        echo "$INSTALL_NAUPLIUS_SHA256  $temporary" | sha256sum -c - >/dev/null 2>&1 ||
            die "the executable's SHA-256 is not $INSTALL_NAUPLIUS_SHA256"
    fi
    chmod 0755 "$temporary"
    "$temporary" --version >/dev/null 2>&1 || die "the executable does not run on this machine ($(uname -m))"
    # Renaming replaces the file also while the old one is running.
    mv -f "$temporary" "$BIN_DIR/nauplius"
    trap - EXIT
    say "installed $("$BIN_DIR/nauplius" --version) in $BIN_DIR"
}

# Prints the executable to install; nothing if it is to be downloaded.
find_executable() {
    if [ -n "${INSTALL_NAUPLIUS_BIN:-}" ]; then
        [ -f "$INSTALL_NAUPLIUS_BIN" ] || die "INSTALL_NAUPLIUS_BIN: $INSTALL_NAUPLIUS_BIN does not exist"
        echo "$INSTALL_NAUPLIUS_BIN"
        return
    fi
    [ -z "${INSTALL_NAUPLIUS_DOWNLOAD_URL:-}" ] || return 0
    # Read from a pipe, this file has no folder, and the current one may hold anything.
    case $0 in
        *install.sh) here=$(dirname "$0") built=$here/target/$(uname -m)-unknown-linux-gnu/release ;;
        *) here=$BIN_DIR built=$BIN_DIR ;;
    esac
    for candidate in "$here/nauplius" "$built/nauplius" "$here/target/release/nauplius" "$BIN_DIR/nauplius"; do
        if [ -f "$candidate" ] && [ -x "$candidate" ]; then echo "$candidate"; return; fi
    done
    die "no executable found: build one with 'make build', or set INSTALL_NAUPLIUS_BIN or INSTALL_NAUPLIUS_DOWNLOAD_URL"
}

download() {
    case $(uname -m) in
        x86_64 | amd64) architecture=amd64 ;;
        aarch64 | arm64) architecture=arm64 ;;
        *) die "there is no executable for $(uname -m)" ;;
    esac
    url=$INSTALL_NAUPLIUS_DOWNLOAD_URL-$architecture
    if command -v curl >/dev/null; then
        curl -sfL "$url" || die "failed to download $url"
    elif command -v wget >/dev/null; then
        wget -qO- "$url" || die "failed to download $url"
    else
        die "neither curl nor wget is there to download $url"
    fi
}

# The service's environment: every NAUPLIUS_ variable, readable by root alone since it may hold the token.
write_environment() {
    mkdir -p /etc/nauplius
    ENVIRONMENT=/etc/nauplius/$NAME.env
    temporary=$(mktemp "/etc/nauplius/.$NAME.XXXXXX")
    for variable in $(env | sed -n 's/^\(NAUPLIUS_[A-Z0-9_]*\)=.*/\1/p' | sort -u); do
        eval "value=\${$variable-}"
        printf '%s=%s\n' "$variable" "$(shell_quoted "$value")"
    done >"$temporary"
    mv -f "$temporary" "$ENVIRONMENT"
}

# Words in quotes that mean the same to a shell and to systemd's EnvironmentFile, which, unlike a
# shell, does not know 'it'\''s'.
shell_quoted() {
    separator=""
    for word in "$@"; do
        printf "%s'%s'" "$separator" "$(printf %s "$word" | sed "s/'/'\"'\"'/g")"
        separator=" "
    done
}

# Words as systemd reads them in ExecStart, where % and $ are special inside quotes too.
systemd_quoted() {
    separator=""
    for word in "$@"; do
        printf '%s"%s"' "$separator" "$(printf %s "$word" | sed 's/["\\]/\\&/g; s/%/%%/g; s/\$/$$/g')"
        separator=" "
    done
}

install_systemd() {
    unit=/etc/systemd/system/$NAME.service
    role_unit "$@" >"$unit"
    systemctl daemon-reload
    systemctl enable --quiet "$NAME"
    if [ "${INSTALL_NAUPLIUS_SKIP_START:-}" = true ]; then say "enabled $NAME; it starts with the machine"; return; fi
    say "starting $NAME"
    systemctl restart "$NAME"
}

# systemd/nauplius*.service, written out here so that this file works on its own.
role_unit() {
    cat <<UNIT
[Unit]
Description=Nauplius: Kubernetes in one executable ($ROLE)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/nauplius/%N.env
ExecStart=$(systemd_quoted "$BIN_DIR/nauplius" "$ROLE" "$@")
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=1s

[Install]
WantedBy=multi-user.target
UNIT
}

install_openrc() {
    cat >"/etc/init.d/$NAME" <<SERVICE
#!/sbin/openrc-run
name="$NAME"
supervisor="supervise-daemon"
command=$(shell_quoted "$BIN_DIR/nauplius")
command_args=$(shell_quoted "$(shell_quoted "$ROLE" "$@")")
output_log="/var/log/$NAME.log"
error_log="/var/log/$NAME.log"
pidfile="/run/$NAME.pid"
respawn_delay=1
respawn_max=0
rc_ulimit="-n 1048576 -u unlimited -c unlimited"

depend() {
    after network-online
    want cgroups
}

start_pre() {
    set -o allexport
    if [ -f "$ENVIRONMENT" ]; then . "$ENVIRONMENT"; fi
    set +o allexport
}
SERVICE
    chmod 0755 "/etc/init.d/$NAME"
    rc-update add "$NAME" default >/dev/null
    if [ "${INSTALL_NAUPLIUS_SKIP_START:-}" = true ]; then say "enabled $NAME; it starts with the machine"; return; fi
    say "starting $NAME"
    rc-service "$NAME" restart
}

# No service manager: a plain background process that does not come back after a reboot.
start_in_background() {
    if [ "${INSTALL_NAUPLIUS_SKIP_START:-}" = true ]; then say "installed; start it with: nauplius $ROLE"; return; fi
    log=/var/log/$NAME.log
    pid_file=/run/$NAME.pid
    if runs_in_background; then
        say "stopping the $NAME that runs"
        kill "$(cat "$pid_file")"
        while runs_in_background; do sleep 0.1; done
    fi
    (
        set -o allexport
        # shellcheck disable=SC1090  # written above
        . "$ENVIRONMENT"
        set +o allexport
        exec setsid "$BIN_DIR/nauplius" "$ROLE" "$@" >>"$log" 2>&1 </dev/null
    ) &
    echo $! >"$pid_file"
    say "neither systemd nor OpenRC is here: started in the background, logging to $log"
    say "after a reboot start it again: nauplius $ROLE $*"
}

# The number in the file may belong to another program by now.
runs_in_background() {
    [ -f "$pid_file" ] || return 1
    case $(readlink "/proc/$(cat "$pid_file")/exe") in */nauplius | */nauplius" (deleted)") ;; *) return 1 ;; esac
}

tell_what_next() {
    kubeconfig=${NAUPLIUS_KUBECONFIG_OUTPUT:-/etc/nauplius/nauplius.yaml}
    say "the cluster is starting. To use it:"
    say "    export KUBECONFIG=$kubeconfig"
    say "    kubectl get nodes"
    say "To add a machine, run there what was run here, with these before the last \"sh\" or \"./install.sh\":"
    say "    NAUPLIUS_URL=https://$(hostname -I 2>/dev/null | cut -d' ' -f1):6443 NAUPLIUS_TOKEN=<what \"nauplius token\" prints here>"
    say "To remove everything: nauplius uninstall"
}

main "$@"
