#!/bin/sh
# What a machine without a service manager sees of install.sh: fetched and piped into a shell, run a
# second time, and removed. Runs in namespaces of its own, where the folders that an installation
# writes into are overlays that go with them.
#
#   installer.sh INSTALL_SH EXECUTABLE KUBECTL CGROUP WORK
set -eu
install=$1 executable=$2 kubectl=$3 cgroup=$4 work=$5
for folder in etc usr/local var/log var/lib; do
    mkdir -p "$work/upper/$folder" "$work/work/$folder"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/upper/$folder,workdir=$work/work/$folder" "/$folder"
done
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add eth0 type veth peer name up0
ip link set up0 up
ip address add 10.77.0.1/24 dev eth0
ip link set eth0 up
ip route add default via 10.77.0.254 dev eth0 onlink
mkdir "$work/www"
cp "$install" "$work/www/install.sh"
cp "$executable" "$work/www/nauplius-amd64"
cp "$executable" "$work/www/nauplius-arm64"
busybox httpd -p 127.0.0.1:8000 -h "$work/www"
digest=$(sha256sum "$executable" | cut -d' ' -f1)

installs() {
    curl -sfL http://127.0.0.1:8000/install.sh | INSTALL_NAUPLIUS_DOWNLOAD_URL=http://127.0.0.1:8000/nauplius \
        INSTALL_NAUPLIUS_SHA256="$1" sh -s - --node-ip 10.77.0.1 --cgroup "$cgroup"
}

node_is_ready() {
    for _ in $(seq 300); do
        "$kubectl" --kubeconfig /etc/nauplius/nauplius.yaml get nodes 2>/dev/null | grep -w Ready && return
        sleep 0.2
    done
    cat /var/log/nauplius.log
    return 1
}

! installs "$(echo other | sha256sum | cut -d' ' -f1)" || { echo "an executable with another digest was installed"; exit 1; }
[ ! -e /usr/local/bin/nauplius ]
installs "$digest"
node_is_ready
installs "$digest"
node_is_ready
[ "$(pgrep -c -x nauplius)" = 1 ] || { echo "the first one still runs"; exit 1; }
nauplius uninstall --cgroup "$cgroup"
for left in /etc/nauplius /usr/local/bin/nauplius /var/lib/nauplius /run/nauplius /run/nauplius.pid /var/log/nauplius.log; do
    [ ! -e "$left" ] || { echo "left behind: $left"; exit 1; }
done
if pgrep -x nauplius; then exit 1; fi
[ -z "$(ip -o link | grep -v ' lo:\| eth0@\| up0@')" ] || { ip link; exit 1; }
