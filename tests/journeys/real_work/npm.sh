# npm itself, a package of two thousand files, installed and run as a project's dependency.
PATH="$TOOLS/node/bin:$PATH"
cp "$TOOLS/npm.tgz" ~
mkdir ~/out
cd ~/out
echo '{"name": "project", "version": "1.0.0", "scripts": {"hello": "echo built"}}' >package.json
npm install --offline --no-audit --no-fund --silent ../npm.tgz
node_modules/.bin/npm run --silent hello
npm ls | tail -n +2
npm uninstall --no-audit --no-fund --silent npm
ls
npm install --offline --no-audit --no-fund --silent ../npm.tgz
node -e 'console.log(require("npm/package.json").name)'
