// The container image: built as `make image` does, then its entry point run in its root file system by its user.
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess, type SpawnSyncReturns } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LogLines } from '../support/log-lines.ts';
import { ROOT } from '../support/source-tree.ts';
import { waitFor } from '../support/wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'clientvpn-image-'));
const rootFs = join(folder, 'root');

describe('the image', { skip: reasonToSkip() }, () => {
  let config: ImageConfig;

  before(() => {
    const built = spawnSync(join(ROOT, '.ci', 'image'), { encoding: 'utf8' });
    assert.equal(built.status, 0, built.stderr);
    config = unpack(join(ROOT, '.cache', 'image', 'clientvpn.tar'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('runs the command line as user 65532', () => {
    assert.equal(config.User, '65532:65532');
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string };
    const { status, stdout, stderr } = run(config, [...config.Entrypoint, '--version']);
    assert.equal(stderr, '');
    assert.deepEqual({ status, stdout }, { status: 0, stdout: `${version}\n` });
  });

  it('validates manifests with the schemas it carries', () => {
    const manifests = join(rootFs, 'tmp', 'manifests');
    mkdirSync(manifests);
    cpSync(join(ROOT, 'examples', 'quickstart'), manifests, { recursive: true });
    const { status, stderr } = run(config, [...config.Entrypoint, 'validate', '--manifests', '/tmp/manifests']);
    assert.equal(status, 0, stderr);
    assert.equal(run(config, [...config.Entrypoint, 'validate', '--manifests', '/tmp/none']).status, 2);
  });

  it('loads its addons, also for the unprivileged data plane', () => {
    const script =
      "const { loadAddon } = await import('/app/dist/dataplane/io/load-addon.js');" +
      "const { loadNetlink } = await import('/app/dist/dataplane/net-setup/netlink-library.js');" +
      'console.log(typeof loadAddon().keyInstall, typeof (await loadNetlink()).open, process.getuid());';
    const { stdout, stderr } = run(config, ['node', '--input-type=module', '--eval', script]);
    assert.equal(stdout, 'function function 65532\n', stderr);
  });

  it('carries the programs that net-setup and standalone mode call', () => {
    for (const program of ['nft', 'setpriv', 'flock', 'cat']) {
      const { status, stderr } = run(config, [program, '--version']);
      assert.equal(status, 0, `${program}: ${stderr}`);
    }
  });

  it('runs a gateway on a terminal, with the capabilities of the manual', async (t) => {
    const manifests = join(rootFs, 'etc', 'clientvpn');
    cpSync(join(ROOT, 'examples', 'quickstart'), manifests, { recursive: true });
    const options = ['--manifests', '/etc/clientvpn', '--state-dir', '/state', '--auto-pki'];
    const gateway = runOnTerminal(config, [...config.Entrypoint, 'standalone', ...options]);
    t.after(() => gateway.kill('SIGKILL'));
    const log = new LogLines();
    if (gateway.stdout !== null) log.add(gateway.stdout);
    await log.waitFor(/"msg":"Ready"/);
    gateway.stdin?.write('\x03');
    await waitFor('the gateway to end', () => gateway.exitCode !== null);
    assert.equal(gateway.exitCode, 0, log.lines.join('\n'));
    assert.doesNotMatch(log.lines.join('\n'), /straight to the terminal/);
    assert.equal(existsSync(join(rootFs, 'state', 'run.json')), false);
  });

  it('holds no shell, no compiler and no development package', () => {
    assert.deepEqual(readdirSync(join(rootFs, 'usr', 'bin')).sort(), ['cat', 'flock', 'node', 'setpriv', 'test']);
    const packages = readdirSync(join(rootFs, 'app', 'node_modules'));
    for (const name of ['typescript', 'oxlint', 'prettier', 'node-gyp', 'fast-check', `node-linux-${process.arch}`])
      assert.ok(!packages.includes(name), name);
  });
});

interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Env: readonly string[];
}

/** Unpacks the one layer of an OCI archive as a runtime would. */
function unpack(archive: string): ImageConfig {
  const oci = join(folder, 'oci');
  mkdirSync(oci);
  mkdirSync(rootFs);
  must('tar', '-xf', archive, '-C', oci);
  const json = (path: string): unknown => JSON.parse(readFileSync(join(oci, path), 'utf8'));
  const blob = (digest: string): string => join('blobs', ...digest.split(':'));
  const index = json('index.json') as { readonly manifests: readonly [{ readonly digest: string }] };
  const manifest = json(blob(index.manifests[0].digest)) as {
    readonly config: { readonly digest: string };
    readonly layers: readonly { readonly digest: string }[];
  };
  for (const { digest } of manifest.layers) must('tar', '-xzf', join(oci, blob(digest)), '-C', rootFs);
  return (json(blob(manifest.config.digest)) as { readonly config: ImageConfig }).config;
}

function must(command: string, ...rest: readonly string[]): void {
  const { status, stderr } = spawnSync(command, rest, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

/** As in a pod's container: its own root and processes, its user, no capability, only the environment of the image. */
function run(config: ImageConfig, command: readonly string[]): SpawnSyncReturns<string> {
  const [uid = '', gid = ''] = config.User.split(':');
  const user = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--bounding-set=-all', '--inh-caps=-all'];
  const start = 'mount -t proc proc proc && exec chroot . /usr/bin/setpriv "$@"';
  const env = Object.fromEntries(config.Env.map((entry) => entry.split(/=(.*)/s).slice(0, 2))) as NodeJS.ProcessEnv;
  const rest = ['sh', '-c', start, 'sh', ...user, '--no-new-privs', '--', ...command];
  return spawnSync('unshare', ['--mount', '--pid', '--fork', '--', ...rest], { cwd: rootFs, encoding: 'utf8', env });
}

/** As the `docker run` of docs/operations.md does it, but on a terminal and in a network of its own. */
function runOnTerminal({ Env }: ImageConfig, command: readonly string[]): ChildProcess {
  const capabilities = ['-all', ...CAPABILITIES.map((name) => `+${name}`)].join(',');
  const script = [
    'mount -t proc proc proc && mount -t tmpfs tmpfs dev && mkdir dev/net && mknod dev/net/tun c 10 200',
    'mknod dev/null c 1 3 && ip link set lo up',
    `exec chroot . /usr/bin/setpriv --bounding-set=${capabilities} --inh-caps=-all -- ${command.join(' ')}`,
  ].join(' && ');
  // Without `exec`, a shell such as dash stays, and Ctrl-C ends it: that would be the exit code.
  const start = `exec env --ignore-environment ${Env.join(' ')} unshare --mount --net --pid --fork -- sh -c '${script}'`;
  const terminal = ['--quiet', '--return', '--command', start, '/dev/null'];
  return spawn('script', terminal, { cwd: rootFs, stdio: ['pipe', 'pipe', 'ignore'] });
}

function reasonToSkip(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  const found = spawnSync('buildah', ['--version'], { stdio: 'ignore' }).error === undefined;
  return found ? false : 'needs buildah (Debian package buildah)';
}

/** As docs/operations.md has them. */
const CAPABILITIES = ['net_admin', 'net_bind_service', 'setuid', 'setgid', 'setpcap', 'kill'];
