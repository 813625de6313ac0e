#!/bin/sh
# Build the wheel, install it into an environment of its own, and run from another directory the tests of what a wheel
# can break: which files are in it, that nothing in it needs the clone, the entry point, all commands and reports, the
# demo, the settings, the generated pages (from docstrings), the architecture. The rest is the same code in the same
# Python, which `make test` has tested: the files are compared with the clone's, byte by byte.
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

diff -r -x __pycache__ "$source/gcd" "$purelib/gcd" || { echo "the wheel does not hold the package as it is"; exit 1; }
cp -r "$source/tests" "$source/docs" "$source/config" "$source/pyproject.toml" "$source/README.md" "$source/CHANGELOG.md" .
where=$(venv/bin/python -c 'import gcd; print(gcd.__file__)')
case $where in
    "$scratch"/*) ;;
    *) echo "the tests would not run against the wheel but against $where"; exit 1 ;;
esac
venv/bin/gcd version
venv/bin/python -m pytest -q -n "${JOBS:-4}" --dist worksteal -p no:cacheprovider -m "not root and not engine" "$@" \
    tests/commands tests/demo tests/inspect tests/report tests/root/test_listing.py tests/root/test_files.py tests/root/test_sound.py tests/rules/test_document.py tests/test_architecture.py \
    tests/test_cli.py tests/test_hooks.py tests/test_logs.py tests/test_policies.py tests/test_settings.py \
    tests/test_state.py tests/web/test_app.py tests/web/test_page.py
