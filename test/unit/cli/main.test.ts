import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempDisposableSync,
  openSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parsePasswordHash, verifyPassword } from '../../../dataplane/auth/password-hash.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../../support/manifests.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function clientvpn(arguments_: readonly string[], input: string | Buffer = ''): Result {
  return spawnSync(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...arguments_], { input, encoding: 'utf8' });
}

/** The options of each command, which others script against. */
const COMMANDS = {
  standalone:
    '--manifests <path...> --state-dir <dir> --target-network <name> --auto-pki --quota <name=n...> ' +
    '--metrics-listen <host:port> --log-level <level>',
  validate: '--manifests <path...> --quota <name=n...> --output <format>',
  'client-config': '--state-dir <dir> --endpoint <name> --client <cn> --remote <host> --wildcard-dns --output <file>',
  status: '--state-dir <dir> --output <format>',
  connections: '--state-dir <dir> --output <format>',
  terminate: '--state-dir <dir>',
  explain:
    '--manifests <path...> --endpoint <name> --to <ip...> --group <id> --target-network <name> ' +
    '--quota <name=n...> --output <format>',
  'hash-password': '',
};

for (const [command, options] of Object.entries(COMMANDS))
  test(`${command} --help shows its options and an example`, () => {
    const { status, stdout } = clientvpn([command, '--help']);
    assert.equal(status, 0);
    const shown = [...stdout.matchAll(/^ {2}(?:-., )?(--\S+(?: <\S+>)?)/gm)].map(([, flags]) => flags);
    assert.equal(shown.filter((flags) => flags !== '--help').join(' '), options);
    assert.match(stdout, new RegExp(`Examples?:\\n[^]*clientvpn ${command}`));
  });

test('--help names each key that --output json prints', () => {
  const keys = {
    explain: 'to allowed reason route rule grantedTo',
    connections:
      'connectionId endpoint targetNetwork status username commonName groups clientIp remote transport cipher ' +
      'ingressBytes egressBytes ingressPackets egressPackets establishedTime endTime endReason',
    validate: 'severity file line kind name field message',
  };
  for (const [command, expected] of Object.entries(keys)) {
    const [, text = ''] =
      /--output json prints one .*?keys:\n([^]*?)\n\n/.exec(clientvpn([command, '--help']).stdout) ?? [];
    const named = text.split('\n').flatMap((line) => (/^ {2}(\w+(?:, \w+)*)/.exec(line)?.[1] ?? '').split(', '));
    assert.equal(named.join(' '), expected);
  }
});

test('--help marks what must be given', () => {
  const { stdout } = clientvpn(['explain', '--help']);
  const options = stdout.split(/^(?= {2}-)/m).slice(1);
  const marked = options.filter((text) => /\(required\)/.test(text)).map((text) => text.trim().split(' ')[0]);
  assert.deepEqual(marked, ['--endpoint', '--to']);
});

for (const { words, says } of [
  { words: ['valdate'], says: /unknown command 'valdate'\n\(Did you mean validate\?\)/ },
  {
    words: ['validate', '--manifests', '.', '--quotas', 'a=1'],
    says: /unknown option '--quotas'\n\(Did you mean --quota\?\)/,
  },
  {
    words: ['validate', '--manifest', '.'],
    says: /unknown option '--manifest'\n\(Did you mean --manifests\?\)/,
  },
  {
    words: ['explain', '--manifests', '.', '--endpoints', 'office', '--to', '10.0.0.1'],
    says: /unknown option '--endpoints'\n\(Did you mean --endpoint\?\)/,
  },
  {
    words: ['explain', '--manifests', '.', '--endpoint', 'x'],
    says: /required option '--to <ip\.\.\.>' not specified/,
  },
  { words: ['validate'], says: /required option '--manifests <path\.\.\.>' not specified/ },
  { words: ['status', '--state-dir', '/', '--output', 'xml'], says: /Allowed choices are table, json/ },
  { words: ['validate', '--manifests', '.', '--quota', 'routes'], says: /Expected NAME=N/ },
  { words: ['validate', '--manifests', '.', '--quota', 'users=4'], says: /unknown quota "users"/ },
  {
    words: ['standalone', '--manifests', '.', '--state-dir', 'x', '--metrics-listen', '9090'],
    says: /Expected HOST:PORT/,
  },
  { words: ['standalone', '--manifests', '.', '--state-dir', 'x', '--log-level', 'loud'], says: /Allowed choices/ },
  // Nothing is logged below debug.
  {
    words: ['standalone', '--manifests', '.', '--state-dir', 'x', '--log-level', 'trace'],
    says: /Allowed choices are debug, info, warn, error\./,
  },
  { words: ['terminate', '--state-dir', '/'], says: /missing required argument 'connection-id'/ },
  { words: ['status', '--state-dir', ''], says: /'--state-dir <dir>' argument '' is invalid\. It is empty\./ },
  { words: ['status', '--state-dir', '/nonexistent'], says: /is not there/ },
  { words: ['client-config', '--state-dir', '/nonexistent', '--endpoint', 'x', '--remote', 'y'], says: /is not there/ },
  { words: [], says: /Usage: clientvpn/ },
])
  test(`clientvpn ${words.join(' ')}: exits 2 and says why`, () => {
    const { status, stdout, stderr } = clientvpn(words);
    assert.equal(status, 2, stderr);
    assert.match(stderr + stdout, says);
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack');
  });

test('--version prints that of the package', () => {
  assert.match(clientvpn(['--version']).stdout, /^\d+\.\d+\.\d+\n$/);
});

test('hash-password leaves exactly one line break out', async () => {
  for (const [input, password] of [
    ['secret', 'secret'],
    ['secret\n', 'secret'],
    ['secret\r\n', 'secret'],
    ['secret\n\n', 'secret\n'],
    [' blank ', ' blank '],
  ] as const) {
    const { stdout } = clientvpn(['hash-password'], input);
    const hash = parsePasswordHash(stdout.trimEnd());
    assert.ok(hash !== undefined && (await verifyPassword(password, hash)), JSON.stringify(input));
  }
  assert.equal(clientvpn(['hash-password'], '\n').status, 2);
});

test('hash-password refuses what is no UTF-8, for which other passwords would be taken too', () => {
  const { status, stdout, stderr } = clientvpn(['hash-password'], Buffer.from('Gr\xfc\xdfe\n', 'latin1'));
  assert.deepEqual([status, stdout, stderr], [2, '', 'The password is not UTF-8 text\n']);
});

test('a full disk behind standard output is said without a stack, and is no success', () => {
  const full = openSync('/dev/full', 'w');
  for (const arguments_ of [['--help'], ['validate', join(ROOT, 'examples', 'quickstart')], ['hash-password']]) {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...arguments_], {
      input: 'secret',
      stdio: ['pipe', full, 'pipe'],
      encoding: 'utf8',
    });
    assert.equal(status, 2, stderr);
    assert.match(stderr, /^Standard output could not be written: ENOSPC: no space left on device, write$/m);
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack');
  }
  closeSync(full);
});

test('hash-password, interrupted at its prompt, exits 2 without a stack', async () => {
  for (const key of ['\u0003', '\u0004']) {
    const command = `${process.execPath} ${join(ROOT, 'cli', 'main.ts')} hash-password`;
    const terminal = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null']);
    let shown = '';
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      // By then the terminal hands keys on as they are.
      if (shown === '') terminal.stdin.write(key);
      shown += text;
    });
    const [status] = (await once(terminal, 'close')) as [number | null];
    assert.equal(status, 2, shown);
    assert.match(shown, /^Password: \s+No password was entered\s*$/);
  }
});

test('options that take several values also may be repeated, and manifests are taken as plain arguments', (t) => {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-cli-'));
  t.after(() => folder.remove());
  const [a, b] = [join(folder.path, 'a.yaml'), join(folder.path, 'b.yaml')];
  writeFileSync(a, yamlOf(endpoint(), targetNetwork()));
  writeFileSync(b, yamlOf(rule('192.168.0.0/24')));
  for (const manifests of [
    ['--manifests', a, b],
    ['--manifests', a, '--manifests', b],
    [a, b],
    [b, '--manifests', a],
  ]) {
    assert.equal(clientvpn(['validate', ...manifests, '--quota', 'routes=20', 'endpoints=3']).status, 0);
    const to = ['--endpoint', 'office', '--to', '192.168.0.1', '--to', '192.168.1.1', '--output', 'json'];
    const { status, stdout } = clientvpn(['explain', ...manifests, ...to]);
    assert.equal(status, 1);
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { allowed: boolean }).allowed),
      [true, false],
    );
  }
});

test('explain takes what comes after a group for manifests, not for another group', () => {
  const scenarios = join(ROOT, 'examples', 'restrict-by-group');
  const statusOf = (...words: readonly string[]): number | null =>
    clientvpn(['explain', join(scenarios, 'base'), '--endpoint', 'groups', ...words, '--to', '172.16.0.10']).status;
  const rules = join(scenarios, '1-single-destination.yaml');
  assert.equal(statusOf('--group', 'Eng', rules), 0);
  assert.equal(statusOf('--group', 'Mgr', '--group', 'Eng', rules), 0);
  assert.equal(statusOf('--group', 'Mgr', rules), 1);
  assert.equal(statusOf('--group', 'Mgr', 'Eng', rules), 2, 'there is no such file');
});

const unbuilt = existsSync(join(ROOT, 'dist', 'cli', 'main.js')) ? false : 'needs make build';

test('bin/clientvpn runs through a link from any folder', { skip: unbuilt }, (t) => {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-cli-'));
  t.after(() => folder.remove());
  symlinkSync(join(ROOT, 'bin', 'clientvpn'), join(folder.path, 'one'));
  symlinkSync('one', join(folder.path, 'two'));
  const result = spawnSync('./two', ['--version'], { cwd: folder.path, encoding: 'utf8' });
  assert.deepEqual([result.status, result.stderr], [0, '']);
  assert.match(result.stdout, /^\d/);
});

test('bin/clientvpn that is not built says how to build it', (t) => {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-cli-'));
  t.after(() => folder.remove());
  mkdirSync(join(folder.path, 'bin'));
  copyFileSync(join(ROOT, 'bin', 'clientvpn'), join(folder.path, 'bin', 'clientvpn'));
  const result = spawnSync(join(folder.path, 'bin', 'clientvpn'), ['--version'], { encoding: 'utf8' });
  assert.equal(result.status, 2);
  assert.match(result.stderr, /Run: make -C \S+ build/);
});
