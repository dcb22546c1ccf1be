import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CLIENT_AUTH, mint } from '../support/certificates.ts';
import { endpoint, rule, secret, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { METRICS_LISTEN, metricValue } from '../support/metrics.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { totpCode } from '../support/totp.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const DAY_S = 86_400;
const SHIM = fileURLToPath(new URL('../support/stepped-clock.c', import.meta.url));

// Nearly all of their time is waiting for renewals and codes: two at once, each with a clock of its own.
describe('clock', { concurrency: 2 }, () => {
  for (const { direction, stepS } of [
    { direction: 'ahead', stepS: DAY_S },
    { direction: 'back', stepS: -DAY_S },
  ]) {
    test(
      `the clock jumps a day ${direction}: sessions live on, certificates are judged by the new time`,
      { skip },
      async (t) => {
        const authority = await mint({ commonName: 'ca', authority: true, ...around(-30, 30) });
        const lasting = await mint({
          commonName: 'lasting',
          issuer: authority,
          usages: [CLIENT_AUTH],
          ...around(-10, 10),
        });
        const brief = await mint({
          commonName: 'brief',
          issuer: authority,
          usages: [CLIENT_AUTH],
          ...around(-0.5, 0.5),
        });
        const clock = steppedClock(t);
        const world = await World.create(t, {
          clients: 2,
          environment: clock.environment,
          timers: { pingMs: 1_000, pingRestartMs: 5_000, renegotiateMs: 3_000 },
          manifests: {
            'all.yaml': yamlOf(
              endpoint(),
              targetNetwork(),
              rule('192.168.0.0/24'),
              secret('clients', { 'ca.crt': authority.certificatePem }),
            ),
          },
        });
        const profileOf = ({ certificatePem, keyPem }: { certificatePem: string; keyPem: string }): string =>
          world.gateway
            .clientConfig()
            .replace(/<cert>[^]*<\/cert>/, `<cert>\n${certificatePem}</cert>`)
            .replace(/<key>[^]*<\/key>/, `<key>\n${keyPem}</key>`);
        const client = await world.connect({ certificate: null, profile: profileOf(lasting) });
        const [before] = world.gateway.connections();

        clock.step(stepS);
        const exchanges = client.keyExchanges();
        await waitFor('two renewals', () => client.keyExchanges() >= exchanges + 2, 20_000);
        assert.ok(world.lab.client().ping(TARGETS.vpc));
        const active = world.gateway.connections().filter(({ status }) => status === 'active');
        assert.deepEqual(
          active.map(({ connectionId }) => connectionId),
          [before?.connectionId],
        );
        const refused = world.client({ index: 1, certificate: null, profile: profileOf(brief) });
        assert.match(await refused.refused(), /certificate not accepted/);
        await refused.exited();
        const late = await world.client({ index: 1, certificate: null, profile: profileOf(lasting) }).connected();
        await late.stop();
        // Set back, the gateway's own certificate is not valid yet, and edits wait until it is.
        if (stepS > 0) await world.gateway.apply('more.yaml', yamlOf(rule('172.16.0.0/24')));

        clock.step(0);
        await world.client({ index: 1, certificate: null, profile: profileOf(brief) }).connected();
        assert.equal(await world.gateway.stop(), 0);
      },
    );
  }

  test('a server certificate that auto PKI made is renewed without a restart', { skip }, async (t) => {
    const clock = steppedClock(t);
    const world = await World.create(t, {
      environment: clock.environment,
      options: ['--metrics-listen', METRICS_LISTEN],
    });
    await world.connect();
    const [before] = world.gateway.connections();
    const days = (): number => metricValue(world.lab, 'clientvpn_server_certificate_days_to_expiry');
    const authority = readFileSync(join(world.gateway.stateDir, 'pki', 'default', 'server', 'ca.pem'), 'utf8');
    const from = world.gateway.log.mark();
    clock.step(800 * DAY_S);
    await world.gateway.log.waitFor(/"msg":"Applied"/, { from });
    await waitFor('the new certificate', () => Math.round(days()) === 825);
    assert.equal(readFileSync(join(world.gateway.stateDir, 'pki', 'default', 'server', 'ca.pem'), 'utf8'), authority);
    assert.ok(world.lab.client().ping(TARGETS.vpc));
    const active = world.gateway.connections().filter(({ status }) => status === 'active');
    assert.deepEqual(
      active.map(({ connectionId }) => connectionId),
      [before?.connectionId],
    );
  });

  test('codes follow the clock, and a jump back locks nobody out', { skip }, async (t) => {
    const clock = steppedClock(t);
    const totpSecret = 'JBSWY3DPEHPK3PXP';
    const people = [{ name: 'alice', password: 'correct', totpSecret }];
    const world = await World.create(t, {
      environment: clock.environment,
      manifests: {
        'all.yaml': yamlOf(
          endpoint({ local: 'staff' }),
          targetNetwork(),
          rule('192.168.0.0/24'),
          ...users('staff', people, true),
        ),
      },
    });
    const logIn = async (offsetS: number): Promise<void> => {
      const code = (): string => totpCode(totpSecret, Date.now() + offsetS * 1_000);
      const credentials = { username: 'alice', password: 'correct', code };
      const client = await world.connect({ certificate: null, credentials });
      await client.stop();
    };
    await logIn(0);
    clock.step(DAY_S);
    await logIn(DAY_S);
    clock.step(-DAY_S);
    await logIn(-DAY_S);
  });
});

/** Validity from and to so many days from now. */
function around(fromDays: number, toDays: number): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: new Date(Date.now() + fromDays * DAY_S * 1_000),
    notAfter: new Date(Date.now() + toDays * DAY_S * 1_000),
  };
}

/** The data plane gets the shim through a `setpriv` of ours, since the gateway passes on nothing that preloads. */
function steppedClock(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'stepped-clock-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const library = join(folder, 'stepped-clock.so');
  const stepFile = join(folder, 'step');
  const programs = join(folder, 'bin');
  mkdirSync(programs);
  execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, SHIM, '-ldl']);
  const preload = `LD_PRELOAD=${library}`;
  const script = `#!/bin/sh\nexec /usr/bin/env ${preload} /usr/bin/setpriv "$@"\n`;
  writeFileSync(join(programs, 'setpriv'), script, { mode: 0o755 });
  execFileSync('chmod', ['-R', 'a+rX', folder]);
  const step = (seconds: number): void => writeFileSync(stepFile, String(seconds), { mode: 0o644 });
  step(0);
  return {
    environment: {
      CLIENTVPN_STEPPED_CLOCK: stepFile,
      LD_PRELOAD: library,
      PATH: `${programs}${delimiter}${process.env['PATH'] ?? ''}`,
    },
    step,
  };
}
