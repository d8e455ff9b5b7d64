# Packages for a virtual environment, and for the user's own directory.
python=/usr/bin/python3
"$python" -m venv ~/venv
pip() { ~/venv/bin/python -m pip --disable-pip-version-check "$@"; }
set -- --quiet --no-index --find-links "$TOOLS/wheels" --no-compile --root-user-action=ignore \
  --no-warn-script-location networkx docutils rich setuptools
pip install "$@"
pip --python "$python" install --user --break-system-packages "$@"
~/venv/bin/python -c 'import docutils.core, networkx, rich, setuptools; print(networkx.path_graph(3))'
"$python" -c 'import site, networkx; print(networkx.__file__.startswith(site.getusersitepackages()))'
~/.local/bin/docutils --version | cut -d, -f1
pip uninstall --quiet --yes --root-user-action=ignore networkx
pip check
pip list --format freeze
mkdir ~/out
cp -a ~/venv/lib ~/out/venv
cp -a ~/.local/lib ~/out/local
