// TLS of the addon: what strangers send before and after a handshake, and calls in any order with handles that lie.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { TlsState } from '../../dataplane/io/native-addon.ts';
import { utf8Bytes } from '../../dataplane/protocol/bytes.ts';
import { CLIENT_AUTH, mint, SERVER_AUTH } from '../support/certificates.ts';
import { reportInputs } from '../support/fuzz-report.ts';
import { mutate } from '../support/mutation.ts';
import { randomFrom, seeded } from '../support/seed.ts';
import { TlsPair } from '../support/tls-pair.ts';

const INPUTS = Number(process.env['FUZZ_ITERATIONS'] ?? 60_000);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 0);

const addon = loadAddon();
const authority = await mint({ commonName: 'test CA', authority: true });
const server = await mint({ commonName: 'vpn.example.com', issuer: authority, usages: [SERVER_AUTH] });
const client = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] });
const credentials = {
  certificatePem: server.certificatePem,
  keyPem: server.keyPem,
  clientCaPem: authority.certificatePem,
};
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
const STATES: readonly number[] = Object.values(TlsState);

test('strangers: mutated flights of real clients, in pieces, and calls in any order', async (context) => {
  const corpus = (await Promise.all(VERSIONS.map(flightsOf))).flat();
  const contextHandle = addon.tlsContext(
    utf8Bytes(credentials.certificatePem),
    utf8Bytes(credentials.keyPem),
    utf8Bytes(credentials.clientCaPem),
  );
  const open: number[] = [];
  await fuzz(context, ['mid-handshake', 'answered', 'failed', 'misuse'], ({ below, random, reached }) => {
    if (open.length < 8) open.push(addon.tlsOpen(contextHandle));
    const at = below(open.length);
    const tls = random() < 0.97 ? open[at] : below(100) - 20;
    const out = new Uint8Array(1 + below(random() < 0.5 ? 40 : 16_384));
    try {
      switch (below(7)) {
        case 0:
          addon.tlsPeer(tls);
          return;
        case 1:
          addon.tlsExport(tls, below(3) as 0 | 1, out);
          return;
        case 2:
          addon.tlsWrite(tls, out);
          return;
        case 3:
          if (addon.tlsTake(tls, out) > 0) reached('answered');
          return;
        default: {
          addon.tlsReceive(tls, random() < 0.4 ? corpus[below(corpus.length)] : mutate(corpus, random));
          const state = addon.tlsRead(tls, out);
          assert.ok(STATES.includes(state), `${state} before a handshake`);
          if (state === TlsState.More) reached('mid-handshake');
          else reached(addon.tlsReason(tls) === '' ? 'failed without a reason' : 'failed');
          // A connection that failed is still asked, as often as not.
          if (state === TlsState.More ? random() > 0.1 : random() < 0.5) return;
          addon.tlsClose(tls);
          open.splice(open.indexOf(tls), 1);
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      reached('misuse');
    }
  });
});

test('clients: mutated records after a handshake', async (context) => {
  await fuzz(context, ['refused', 'read'], async ({ below, random, reached }) => {
    const version = VERSIONS[below(2)];
    const pair = new TlsPair(credentials);
    const identity = { cert: client.certificatePem, key: client.keyPem };
    const { socket } = await pair.handshake(1, { minVersion: version, maxVersion: version, ...identity });
    const sent: Uint8Array[] = [];
    pair.tap = (bytes) => sent.push(bytes.slice());
    for (let n = 0; n < 4; n += 1) socket.write(new Uint8Array(1 + below(2000)));
    await new Promise(setImmediate);
    pair.tap = null;
    for (let n = 0; n < 40; n += 1) pair.endpoint.input(1, mutate(sent, random));
    await new Promise(setImmediate);
    for (const { kind } of pair.inputs) {
      if (kind === 'tlsPlaintext') reached('read');
      if (kind === 'tlsFailed') reached('refused');
    }
    pair.endpoint.close(1);
    return 40;
  });
});

interface Fuzz {
  readonly below: (limit: number) => number;
  readonly random: () => number;
  readonly reached: (layer: string) => void;
}

/** Calls `round`, which takes care of one input or as many as it returns, until there were enough. */
async function fuzz(
  context: TestContext,
  mustReach: readonly string[],
  round: (fuzz: Fuzz) => void | Promise<number>,
): Promise<void> {
  const random = randomFrom(seeded(context).seed);
  const layers = new Map<string, number>();
  const tools: Fuzz = {
    random,
    below: (limit) => Math.floor(random() * limit),
    reached: (layer) => void layers.set(layer, (layers.get(layer) ?? 0) + 1),
  };
  const untilMs = performance.now() + SECONDS * 1000;
  let inputs = 0;
  while (SECONDS > 0 ? performance.now() < untilMs : inputs < INPUTS) {
    const done = round(tools);
    inputs += done === undefined ? 1 : await done;
  }
  reportInputs(context, inputs, layers);
  for (const layer of mustReach) assert.ok((layers.get(layer) ?? 0) > 0, `nothing reached ${layer}`);
}

/** What a real client sends during a handshake. */
async function flightsOf(version: (typeof VERSIONS)[number]): Promise<Uint8Array[]> {
  const pair = new TlsPair(credentials);
  const flights: Uint8Array[] = [];
  pair.tap = (bytes) => flights.push(bytes.slice());
  const identity = { cert: client.certificatePem, key: client.keyPem };
  await pair.handshake(1, { minVersion: version, maxVersion: version, ...identity });
  return flights;
}
