// Builds the addon against the headers of the pinned Node, not those of whatever Node the machine has.
//   build.mjs              → build/Release/clientvpn.node
//   build.mjs --sanitize   → build/Debug/clientvpn.node, with AddressSanitizer and UndefinedBehaviorSanitizer
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const root = join(folder, '..', '..');
const nodeDirectory = join(root, 'node_modules', `node-linux-${process.arch}`);
const nodeGyp = join(root, 'node_modules', '.bin', 'node-gyp');
const sanitize = process.argv.includes('--sanitize');

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function has(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}

if (!has(process.env.CXX ?? 'g++') || !has('make') || !has('python3')) {
  stop('The addon needs a C++ compiler, make and Python: apt-get install g++ make python3');
}
if (!existsSync(join(nodeDirectory, 'include', 'node', 'node_api.h')) || !existsSync(nodeGyp)) {
  stop(`${nodeDirectory} or node-gyp is missing: run make build`);
}

// `nodedir` of a .npmrc reaches node-gyp by way of npm, and would win over the argument.
delete process.env.npm_config_nodedir;
const target = ['-C', folder, `--nodedir=${nodeDirectory}`];
if (sanitize) {
  nodeGypRun('configure', '--debug', ...target, '--', '-Dsanitize=address,undefined');
  nodeGypRun('build', '--debug', ...target);
} else {
  nodeGypRun('rebuild', ...target);
}

function nodeGypRun(...args) {
  const { status } = spawnSync(process.execPath, [nodeGyp, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) process.exit(status ?? 1);
}
