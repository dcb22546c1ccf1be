import assert from 'node:assert/strict';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gatewayProcesses } from '../support/gateway-processes.ts';
import { clientvpn } from '../support/gateway.ts';
import { endpoint, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { METRICS_LISTEN, metricsText } from '../support/metrics.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { totpCode } from '../support/totp.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const PASSWORD = 'planted-password-8731';
const WRONG = 'planted-mistyped-4410';
const IN_PLACE_OF_HASH = 'planted-plain-3321';
const IN_BROKEN_YAML = 'planted-broken-7765';
const ENVIRONMENT = 'planted-environment-5519';
const TOTP_SECRET = 'PLANTEDPLANTEDPLANTEDPLANTEDPLAN';

test('[C133] at log level debug nothing that is said or kept in the open holds a secret', { skip }, async (t) => {
  const person = { name: 'alice', password: PASSWORD, groups: ['staff'], totpSecret: TOTP_SECRET };
  const good = yamlOf(...users('staff', [person], true));
  const world = await World.create(t, {
    options: ['--log-level', 'debug', '--metrics-listen', METRICS_LISTEN],
    environment: { PLANTED_FOR_TEST: ENVIRONMENT },
    timers: { renegotiateMs: 3000 },
    manifests: {
      'all.yaml': yamlOf(
        endpoint({ local: 'staff', mutual: true, controlWrap: 'TlsCrypt' }),
        targetNetwork(),
        rule('192.168.0.0/24'),
      ),
      'users.yaml': good,
    },
  });
  const { gateway } = world;
  const said: string[] = [];

  const codes: string[] = [];
  const code = (): string => {
    const fresh = totpCode(TOTP_SECRET, Date.now());
    codes.push(fresh);
    return fresh;
  };
  const refused = world.client({ certificate: 'alice', credentials: { username: 'alice', password: WRONG, code } });
  await refused.refused();
  await refused.exited();
  const client = await world.connect({
    certificate: 'alice',
    credentials: { username: 'alice', password: PASSWORD, code },
    options: ['--reneg-sec', '0'],
  });
  await waitFor('two renewals by token', () => client.keyExchanges() >= 3, 20_000);

  for (const passwordHash of [IN_PLACE_OF_HASH, `[${IN_BROKEN_YAML}`]) {
    const from = gateway.log.mark();
    const document = `users:\n- name: alice\n  passwordHash: ${passwordHash}\n  groups: []\n`;
    gateway.write('users.yaml', good.replace(/users.yaml: [\s\S]*/, `users.yaml: ${JSON.stringify(document)}\n`));
    await gateway.log.waitFor(/Refused|refused/, { from });
    const { status, stdout, stderr } = clientvpn('validate', '--manifests', gateway.manifests);
    assert.equal(status, 2);
    said.push(stdout, stderr, JSON.stringify(gateway.status()));
  }
  gateway.write('users.yaml', good);

  const { child, parent } = await gatewayProcesses(gateway);
  said.push(
    metricsText(world.lab),
    JSON.stringify(gateway.connections()),
    gateway.must('connections', '--state-dir', gateway.stateDir),
    gateway.must('status', '--state-dir', gateway.stateDir),
    world.lab.gateway.must('sh', '-c', 'cat /proc/[0-9]*/cmdline 2>/dev/null || true'),
    world.lab.gateway.must('nft', 'list', 'ruleset'),
    readFileSync(`/proc/${child}/environ`, 'utf8'),
    ...gateway.log.lines,
  );
  assert.ok(said.some((text) => text.includes('clientvpn_active_connections')));

  const kept = filesBelow(gateway.stateDir);
  const keys = kept.flatMap(({ path, isFile }) => (isFile ? keyLinesOf(readFileSync(path, 'utf8')) : []));
  assert.ok(keys.length > 10, `${keys.length} lines of keys in the state folder`);
  const visible = said.join('\n');
  const planted = [PASSWORD, WRONG, IN_PLACE_OF_HASH, IN_BROKEN_YAML, ENVIRONMENT, TOTP_SECRET, '$argon2id$'];
  for (const text of [...planted, 'SESS_ID_AT_', 'SCRV1:', ...keys]) assert.ok(!visible.includes(text), text);
  for (const spent of codes) assert.doesNotMatch(gateway.log.lines.join('\n'), new RegExp(`\\b${spent}\\b`));

  for (const { path, mode, uid } of kept) assert.deepEqual([mode & 0o077, uid], [0, 0], path);
  // The data plane holds sockets, TUN queues and what Node itself opens, but no file.
  for (const target of descriptorTargets(child))
    assert.match(target, /^(socket:|pipe:|anon_inode:|\/dev\/(net\/tun|null|pts\/))/, target);
  assert.notEqual(parent, child);
});

interface Kept {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly isFile: boolean;
}

function filesBelow(folder: string): readonly Kept[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return ['', ...names].map((name) => {
    const path = join(folder, name);
    const stats = lstatSync(path);
    return { path, mode: stats.mode, uid: stats.uid, isFile: stats.isFile() };
  });
}

/** Lines of private keys and static keys, also of those inside JSON; certificates are for everybody. */
function keyLinesOf(text: string): readonly string[] {
  const blocks = text
    .replaceAll('\\n', '\n')
    .matchAll(/-----BEGIN ([^-]*(?:KEY|Static key)[^-]*)-----([^-]+)-----END/g);
  return [...blocks].flatMap(([, , body]) => body.split('\n').filter((line) => line.length >= 32));
}

function descriptorTargets(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch (error) {
      // Closed since it was listed.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
}
