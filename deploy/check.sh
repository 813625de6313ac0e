#!/bin/sh
# The Ansible role by ansible-lint and by a play on this host that changes nothing, and the manifests by the schemas of
# Kubernetes. Needs Python, and root rights for the play; a minute of processor time, half of it to install what checks.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r check-requirements.txt
PATH="$scratch/venv/bin:$PATH"
export PATH

echo "ansible-lint"
(cd ansible && ansible-lint --offline --profile production .)

echo "ansible-playbook --check"
touch "$scratch/gcd-0-py3-none-any.whl"
for settings in \
    '{}' \
    "{\"gcd_act\": true, \"gcd_policy\": \"$PWD/../config/policies/production.toml\", \"gcd_wheel\": \"$scratch/gcd-0-py3-none-any.whl\"}"
do
    (cd ansible && ansible-playbook --inventory localhost, --connection local --check check.yml \
        --extra-vars ansible_python_interpreter="$(command -v /usr/bin/python3)" --extra-vars "$settings")
done

echo "kubernetes-validate"
for version in 1.30 1.34 1.37; do
    kubernetes-validate --strict --kubernetes-version "$version" \
        kubernetes/namespace.yml kubernetes/daemonset.yml
done
if command -v kubectl > /dev/null; then
    kubectl kustomize kubernetes | kubernetes-validate --strict -
fi
