#!/bin/sh
# Build the wheel, install it into an environment of its own, and run the tests that need no root rights from another directory.
# PYTHON is the interpreter of the project's own environment, whose locked tools the new one borrows.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

"$PYTHON" -m build --wheel --no-isolation --outdir dist "$source" > build.log 2>&1 || { cat build.log; exit 1; }
"$PYTHON" -m venv --without-pip venv
tools=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
purelib=$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$PYTHON" -m pip --python venv/bin/python install --quiet --disable-pip-version-check --no-deps dist/gcd-*.whl
# The borrowed tools come after the wheel's own package on the path, and without the editable install's hook.
echo "$tools" > "$purelib/borrowed.pth"

cp -r "$source/tests" "$source/docs" "$source/config" "$source/pyproject.toml" "$source/README.md" "$source/CHANGELOG.md" .
where=$(venv/bin/python -c 'import gcd; print(gcd.__file__)')
case $where in
    "$scratch"/*) ;;
    *) echo "the tests would not run against the wheel but against $where"; exit 1 ;;
esac
venv/bin/gcd version
venv/bin/python -m pytest -q -n "${JOBS:-4}" --dist worksteal -p no:cacheprovider -m "not root and not engine" "$@"
