"""The shell programs that keep, boot and end a cluster of namespaces, as texts; touches nothing.

A cluster is a tree of process namespaces: the head's holds slurmctld, munged and every node; a node's holds its slurmd
and its jobs. Whoever kills the first process of a namespace ends all in it, and with the last process go its network,
its mounts and its /dev/shm. So a cluster can end in one way only, whatever happened before: its head's first process
goes, which it does when it reads a line from whoever started it or when that one is gone.
"""

from shlex import quote

from tests.slurm.configuration import HEAD, HEAD_ADDRESS, SUBNET_BITS, Layout


def programs(layout: Layout) -> dict[str, str]:
    """Render all programs, by file name; a directory `bin` of the layout's is where they go."""
    return {
        "keep": _keep(layout),
        "head": _head(layout),
        "boot": _boot(layout),
        "node": _node(layout),
        "crash": _crash(layout),
        "resume": _resume(layout),
        "suspend": _suspend(layout),
    }


def _keep(layout: Layout) -> str:
    """`keep`: on the machine itself; runs the head, and removes what no namespace removes."""
    return f"""\
#!/bin/sh
cd /
unshare --net --uts --ipc --pid --mount --fork {layout.directory}/bin/head
for attempt in 1 2 3 4 5; do # a dead task leaves its cgroup a moment later
    left=$(find /sys/fs/cgroup -depth -type d -path '*/slurm_{layout.prefix}*' 2>/dev/null)
    [ -z "$left" ] && break
    echo "$left" | xargs rmdir 2>/dev/null || sleep 0.2
done
rm -rf --one-file-system {layout.directory}
"""


def _head(layout: Layout) -> str:
    """`head`: first process of the head; ends at a line on its standard input, or when that is closed."""
    at = layout.directory
    return f"""\
#!/bin/sh
set -eu
exec 3<&0 </dev/null >>{at}/log/head.out 2>&1
read -r pid _ </proc/self/stat # /proc is still the machine's: our number as the machine sees it
hostname {HEAD}
mount -t proc proc /proc
mount --bind {at}/hosts /etc/hosts
# other names are unknown at once, instead of after a time in which nobody answered
[ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf
{_own_tmp(layout)}
own_tmp {at}/head/tmp
mount -t tmpfs -o size={layout.shm_mb}m,mode=1777 tmpfs /dev/shm
ip link set lo up
ip link add nodes type bridge
ip address add {HEAD_ADDRESS}/{SUBNET_BITS} dev nodes
ip link set nodes up
ip route add default dev nodes # leads nowhere; programs that ask which address they would send from get ours
munged --foreground --force --socket={at}/munge.socket --key-file={at}/munge.key --pid-file={at}/munged.pid \\
    --log-file={at}/log/munged.log --seed-file={at}/munged.seed &
until [ -S {at}/munge.socket ]; do sleep 0.02; done
slurmctld -D -c -f {layout.slurm_conf} &
echo "$pid" >{at}/head/pid.part
mv {at}/head/pid.part {at}/head/pid
mount -t tmpfs none {at}/head # its /tmp is not to be seen in itself
head -n 1 <&3 >/dev/null &
wait $! # and reaps orphans meanwhile
"""


def _boot(layout: Layout) -> str:
    """`boot NODE`: on the head; starts a node unless it runs, with an empty /tmp, and returns when its slurmd starts."""
    return f"""\
#!/bin/sh
set -eu
at={layout.directory}/nodes/$1
if [ -e "$at/pid" ] && kill -0 "$(cat "$at/pid")" 2>/dev/null; then exit 0; fi
rm -rf --one-file-system "$at/tmp" "$at/pid"
setsid unshare --net --uts --ipc --pid --mount --fork {layout.directory}/bin/node "$1" \\
    </dev/null >>{layout.directory}/log/"$1".out 2>&1 &
for attempt in $(seq 500); do
    if [ -e "$at/pid" ]; then exit 0; fi
    kill -0 $! 2>/dev/null || break
    sleep 0.02
done
cat {layout.directory}/log/"$1".out >&2
exit 1
"""


def _node(layout: Layout) -> str:
    """`node NODE`: first process of a node; lives on when slurmd dies, as a real node would."""
    at = layout.directory
    cases = (f"    {name}) address={it} ;;" for name, it in layout.addresses.items())
    addresses = "\n".join(cases)
    return f"""\
#!/bin/sh
set -eu
case $1 in
{addresses}
esac
at={at}/nodes/$1
read -r pid _ </proc/self/stat # /proc is still the head's: our number as the head sees it
hostname "$1"
# one end of the cable goes to the bridge in the head's network, the other comes to this one
nsenter --net=/proc/1/ns/net ip link add name veth%d master nodes up type veth peer name eth0 netns 1
mount -t proc proc /proc
mount -t tmpfs -o size={layout.shm_mb}m,mode=1777 tmpfs /dev/shm
{_own_tmp(layout)}
own_tmp "$at/tmp"
ip link set lo up
ip address add "$address/{SUBNET_BITS}" dev eth0
ip link set eth0 up
ip route add default via {HEAD_ADDRESS}
# -b: it booted just now; else Slurm takes the machine's uptime for the node's and waits for a later boot
slurmd -D -b -N "$1" -f {layout.slurm_conf} &
echo "$pid" >"$at/pid.part"
mv "$at/pid.part" "$at/pid" # it is on
mount -t tmpfs none {at}/nodes # its /tmp is not to be seen in itself, nor are those of others
sleep infinity &
wait # and reaps orphans meanwhile
"""


def _own_tmp(layout: Layout) -> str:
    """Shell function `own_tmp DIR`: DIR becomes /tmp, with what all nodes share seen in it where it was."""
    shared = [each for each in (layout.directory, *layout.shared) if each.is_relative_to("/tmp")]
    binds = "\n".join(
        f'    mkdir -p "$1"/{quote(str(each.relative_to("/tmp")))}\n'
        f'    mount --bind {quote(str(each))} "$1"/{quote(str(each.relative_to("/tmp")))}'
        for each in shared
    )
    return f"""\
own_tmp() {{
    mkdir -p "$1"
    chmod 1777 "$1"
{binds}
    mount --rbind "$1" /tmp
}}"""


def _crash(layout: Layout) -> str:
    """`crash NODE`: on the head; the node's first process is killed, and with it all of the node."""
    return f"""\
#!/bin/sh
set -eu
at={layout.directory}/nodes/$1
[ -e "$at/pid" ] || exit 0
pid=$(cat "$at/pid")
rm "$at/pid"
kill -KILL "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
"""


def _resume(layout: Layout) -> str:
    """`resume NODES`: Slurm wants cloud nodes; those that are refused get the reason that ParallelCluster gives."""
    return f"""\
#!/bin/sh
export SLURM_CONF={layout.slurm_conf}
exec >>{layout.directory}/log/power.log 2>&1
for node in $(scontrol show hostnames "$1"); do
    echo "$(date +%T) resume $node"
    at={layout.directory}/nodes/$node
    if [ -e "$at/refused" ]; then
        scontrol update NodeName="$node" State=DOWN \\
            Reason="(Code:InsufficientInstanceCapacity)Failure when resuming nodes"
    else
        touch "$at/wanted"
        (sleep {layout.boot_delay_s}; [ ! -e "$at/wanted" ] || {layout.directory}/bin/boot "$node") &
    fi
done
"""


def _suspend(layout: Layout) -> str:
    """`suspend NODES`: Slurm lets cloud nodes go."""
    return f"""\
#!/bin/sh
export SLURM_CONF={layout.slurm_conf}
exec >>{layout.directory}/log/power.log 2>&1
for node in $(scontrol show hostnames "$1"); do
    echo "$(date +%T) suspend $node"
    rm -f {layout.directory}/nodes/"$node"/wanted
    {layout.directory}/bin/crash "$node"
done
"""
