#!/bin/bash
# Every node of the cluster runs this once, as root, when it is configured: bootstrap.sh FOLDER WHEEL VENV
#   FOLDER  in S3, with WHEEL (raypipe's) and constraints.txt
#   VENV    on the data volume: the head node installs there what the others then find
# A step that fails ends the node; its log (/var/log/cfn-init.log, /var/log/cloud-init-output.log) says which.
set -euo pipefail
folder=$1 wheel=$2 venv=$3

# shellcheck disable=SC1090  # written by ParallelCluster
. "${CFNCONFIG:-/etc/parallelcluster/cfnconfig}"

# The venv's python is a link to this one, so every node needs it.
command -v python3.11 >/dev/null || dnf install --quiet --assumeyes python3.11

if [ "$cfn_node_type" != HeadNode ]; then
    exit 0
fi

new=$(mktemp --directory)
trap 'rm -rf "$new"' EXIT
cd "$new"
for file in "$wheel" constraints.txt; do
    aws s3 cp --only-show-errors "$folder/$file" "$file"
done

# A volume that comes from a snapshot may have all of it already.
wanted=$(sha256sum "$wheel" constraints.txt)
if [ "$(cat "$venv/installed" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
rm -rf "$venv"
mkdir -p "$(dirname "$venv")"
python3.11 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt "./$wheel"
echo "$wanted" >"$venv/installed" # last: what was interrupted begins anew
