// Lays out the root file system of the container image in the folder given: `image-root.mjs FOLDER`, after `make build`.
// From the machine it runs on come only Debian's programs that the gateway calls, and the libraries of all programs.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const checkout = join(dirname(fileURLToPath(import.meta.url)), '..');
const [target] = process.argv.slice(2);
if (target === undefined) {
  process.stderr.write('usage: image-root.mjs FOLDER\n');
  process.exit(2);
}
const root = resolve(target);
const app = join(root, 'app');
/**
 * What net-setup and standalone mode call; `test` tells whether the data plane's user can read a file, `cat` holds a
 * terminal that the log goes to.
 */
const PROGRAMS = ['/usr/sbin/nft', '/usr/bin/setpriv', '/usr/bin/flock', '/usr/bin/test', '/usr/bin/cat'];
const OURS = ['dist', 'crds', 'package.json', 'LICENSE', 'dataplane/native/build/Release/clientvpn.node'];
/** Parts of a package that nothing loads. */
const UNUSED = /\.(?:map|d\.[cm]?ts|md)$|\/(?:obj\.target|\.deps)$/;

rmSync(root, { recursive: true, force: true });
for (const folder of ['app', 'etc', 'proc', 'sys', 'dev', 'run', 'tmp'])
  mkdirSync(join(root, folder), { recursive: true });

for (const path of OURS) copy(join(checkout, path), join(app, path));
for (const path of productionPackages()) copyPackage(path);
copyProgram(process.execPath, '/usr/bin/node');
spawnSync('strip', [join(root, 'usr/bin/node')]);
copy(join(checkout, 'node_modules', `node-linux-${process.arch}`, 'LICENSE'), join(root, 'usr/share/doc/node/LICENSE'));
for (const program of PROGRAMS) copyProgram(program, program);

write('etc/passwd', 'root:x:0:0:root:/:\nclientvpn:x:65532:65532:clientvpn:/tmp:\n');
write('etc/group', 'root:x:0:\nclientvpn:x:65532:\n');
write('etc/nsswitch.conf', 'hosts: files dns\n');
copy('/etc/ssl/certs/ca-certificates.crt', join(root, 'etc/ssl/certs/ca-certificates.crt'));
makeDeterministic(root);
chmodSync(join(root, 'tmp'), 0o1777);

/** @returns folders below the checkout, from the lock file */
function productionPackages() {
  const { packages } = JSON.parse(readFileSync(join(checkout, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path, facts]) => path !== '' && !facts.dev && !facts.devOptional && existsSync(join(checkout, path)))
    .map(([path]) => path)
    .filter((path) => !basename(path).startsWith('node-linux-'));
}

function copyPackage(path) {
  const from = join(checkout, path);
  const nested = join(from, 'node_modules');
  cpSync(from, join(app, path), {
    recursive: true,
    filter: (source) => source !== nested && !UNUSED.test(source.slice(from.length)),
  });
}

function copyProgram(from, to) {
  copy(from, join(root, to));
  for (const library of librariesOf(from)) if (!existsSync(join(root, library))) copy(library, join(root, library));
  copyLicense(from);
}

function librariesOf(program) {
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...listed.matchAll(/(\/\S+\.so\S*)/g)].map(([, path]) => path);
}

/** The copyright file of the Debian package that a program is from, if it is from one. */
function copyLicense(program) {
  const { stdout } = spawnSync('dpkg', ['-S', program.replace(/^\/usr(?=\/s?bin\/)/, '*')], { encoding: 'utf8' });
  const [, name] = /^([^:,\s]+)/.exec(stdout ?? '') ?? [];
  const license = `/usr/share/doc/${name}/copyright`;
  if (name !== undefined && existsSync(license)) copy(license, join(root, license));
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(realpathSync(from), to, { recursive: true, dereference: true, force: true });
}

function write(path, text) {
  writeFileSync(join(root, path), text);
}

/** Times and modes of the checkout differ from one machine to the next. */
function makeDeterministic(folder) {
  const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? 0);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) makeDeterministic(path);
    else chmodSync(path, (statSync(path).mode & 0o100) === 0 ? 0o644 : 0o755);
    lutimesSync(path, epoch, epoch);
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, epoch, epoch);
}
