# Removes a test host once the test process has let go of its standard input, however that process
# ended. Arguments: name of the host, process that anchors its namespaces (or 0), directory (or "").
# Says what it could not remove, and fails then.
trap '' INT TERM HUP
read -r _
name=$1 anchor=$2 directory=$3
[ "$anchor" = 0 ] || kill -9 "$anchor" 2>/dev/null
# The kernel kills what runs in the anchor's PID namespace after the anchor itself.
remove_cgroups() {
    for cgroup in "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name"; do
        [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    [ -z "$(ls -d "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name" 2>/dev/null)" ]
}
tries=0
until remove_cgroups || [ $tries -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
ip netns delete "$name"
[ -z "$directory" ] || rm -rf --one-file-system "$directory"
left=$(ls -d "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name" "/run/netns/$name" $directory 2>/dev/null)
[ -z "$left" ] || { echo "left behind of test host $name: $left" >&2; exit 1; }
