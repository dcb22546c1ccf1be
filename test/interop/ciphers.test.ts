import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const cipher of ['AES-128-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305']) {
  test(`a client that offers ${cipher} alone gets it`, { skip }, async (t) => {
    const world = await World.create(t);
    const client = await world.connect({ options: ['--data-ciphers', cipher] });
    await client.log.waitFor(new RegExp(`Data Channel: cipher '${cipher}'`));
    assert.ok(await world.agent().reaches(TARGETS.vpc));
    assert.equal(world.gateway.connections()[0]?.cipher, cipher);
  });
}

for (const { version, options } of [
  { version: 'TLSv1.2', options: ['--tls-version-max', '1.2'] },
  { version: 'TLSv1.3', options: ['--tls-version-min', '1.3'] },
]) {
  test(`a client that speaks ${version} alone connects`, { skip }, async (t) => {
    const world = await World.create(t);
    const client = await world.connect({ options });
    await client.log.waitFor(new RegExp(`Control Channel: ${version}`));
    assert.ok(await world.agent().reaches(TARGETS.vpc));
  });
}

test('[P47] a client that offers TLS 1.1 at most does not connect', { skip }, async (t) => {
  const world = await World.create(t);
  const client = world.client({
    options: ['--tls-version-min', '1.0', '--tls-version-max', '1.1', '--tls-cipher', 'DEFAULT:@SECLEVEL=0'],
  });
  await client.log.waitFor(/TLS Error: TLS handshake failed|tls-version-max|no protocols available|TLS_ERROR/i, {
    timeoutMs: 20_000,
  });
  assert.deepEqual(
    world.gateway.connections().filter(({ status }) => status === 'active'),
    [],
  );
});

test('[P75] a client without a cipher in common hears so', { skip }, async (t) => {
  const world = await World.create(t);
  const client = world.client({ options: ['--data-ciphers', 'AES-256-CBC', '--cipher', 'AES-256-CBC'] });
  assert.match(await client.refused(), /AUTH_FAILED,Data channel cipher negotiation failed/);
});
