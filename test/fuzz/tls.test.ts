// TLS of the addon: what strangers send before and after a handshake, and calls in any order with handles that lie.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { TlsState } from '../../dataplane/io/native-addon.ts';
import { utf8Bytes } from '../../dataplane/protocol/bytes.ts';
import { CLIENT_AUTH, mint, SERVER_AUTH } from '../support/certificates.ts';
import { fuzzAddon } from '../support/fuzz-addon.ts';
import { mutate } from '../support/mutation.ts';
import { TlsPair } from '../support/tls-pair.ts';

const addon = loadAddon();
const authority = await mint({ commonName: 'test CA', authority: true });
const server = await mint({ commonName: 'vpn.example.com', issuer: authority, usages: [SERVER_AUTH] });
const client = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] });
const credentials = {
  certificatePem: server.certificatePem,
  keyPem: server.keyPem,
  clientCaPem: authority.certificatePem,
};
const identity = { cert: client.certificatePem, key: client.keyPem };
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
/** Next to one input of the others. */
const HANDSHAKE_COST = 40;
const STATES: readonly number[] = Object.values(TlsState);

test('strangers: mutated flights of real clients, in pieces, and calls in any order', async (context) => {
  const corpus = (await Promise.all(VERSIONS.map(flightsOf))).flat();
  const [certificate, key, authorities] = Object.values(credentials).map(utf8Bytes);
  const tlsContext = addon.tlsContext(certificate, key, authorities);
  const open: number[] = [];
  await fuzzAddon(
    context,
    ({ below, random, reached }) => {
      if (open.length < 8) open.push(addon.tlsOpen(tlsContext));
      const tls = random() < 0.97 ? open[below(open.length)] : below(100) - 20;
      const out = new Uint8Array(1 + below(random() < 0.5 ? 40 : 16_384));
      switch (below(7)) {
        case 0:
          addon.tlsPeer(tls);
          break;
        case 1:
          addon.tlsExport(tls, below(3) as 0 | 1, out);
          break;
        case 2:
          addon.tlsWrite(tls, out);
          break;
        case 3:
          if (addon.tlsTake(tls, out) > 0) reached('answered');
          break;
        default: {
          addon.tlsReceive(tls, random() < 0.4 ? corpus[below(corpus.length)] : mutate(corpus, random));
          const state = addon.tlsRead(tls, out);
          assert.ok(STATES.includes(state), `${state} before a handshake`);
          if (state === TlsState.More) reached('mid-handshake');
          else reached(addon.tlsReason(tls) === '' ? 'failed without a reason' : 'failed');
          // A connection that failed is still asked, as often as not.
          if (random() < (state === TlsState.More ? 0.9 : 0.5)) break;
          addon.tlsClose(tls);
          open.splice(open.indexOf(tls), 1);
        }
      }
      return 1;
    },
    ['mid-handshake', 'answered', 'failed', 'refused as misuse'],
  );
});

test('clients: mutated records after a handshake', async (context) => {
  await fuzzAddon(
    context,
    async ({ below, random, reached }) => {
      const version = VERSIONS[below(2)];
      const pair = new TlsPair(credentials);
      const { socket } = await pair.handshake(1, { minVersion: version, maxVersion: version, ...identity });
      const sent: Uint8Array[] = [];
      pair.tap = (bytes) => sent.push(bytes);
      for (let n = 0; n < 4; n += 1) socket.write(new Uint8Array(1 + below(2000)));
      await new Promise(setImmediate);
      pair.tap = null;
      let fed = 0;
      // The first record that does not verify ends the connection; one that is cut short waits for its rest.
      for (; pair.endpoint.size > 0 && fed < 40; fed += 1) {
        pair.endpoint.input(1, mutate(sent, random));
        await Promise.resolve();
      }
      reached(pair.endpoint.size > 0 ? 'waits' : 'refused');
      pair.endpoint.close(1);
      return fed;
    },
    ['refused'],
    HANDSHAKE_COST,
  );
});

/** What a real client sends during a handshake. */
async function flightsOf(version: (typeof VERSIONS)[number]): Promise<Uint8Array[]> {
  const pair = new TlsPair(credentials);
  const flights: Uint8Array[] = [];
  pair.tap = (bytes) => flights.push(bytes);
  await pair.handshake(1, { minVersion: version, maxVersion: version, ...identity });
  return flights;
}
