// The AWS client writes its half of the key exchange in a form of its own, over as many TLS records as it takes. It cannot
// be had here: our own client plays it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runTwin } from '../support/client-twin.ts';
import { endpoint, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const ALICE = { name: 'alice', password: 'of alice', groups: ['staff'] };

for (const transport of ['udp', 'tcp'] as const)
  test(`[P55] a client with AWS framing logs in and renews over ${transport}`, { skip }, async (t) => {
    const world = await World.create(t, {
      manifests: {
        'all.yaml': yamlOf(
          endpoint({ transport, local: 'staff' }),
          targetNetwork(),
          rule('192.168.0.0/24', 'staff'),
          ...users('staff', [ALICE]),
        ),
      },
    });
    const ca = /<ca>\n([^]*?)<\/ca>/.exec(world.gateway.clientConfig())?.[1] ?? '';
    const findingsFor = (password: string) =>
      runTwin(world.lab.gateway, {
        port: 1194,
        transport,
        wrap: 'none',
        wrapKey: '',
        protocolBits: 990,
        maxTlsVersion: 'TLSv1.3',
        renewal: 'by-client',
        ca,
        identity: null,
        credentials: { framing: 'aws', username: 'alice', password },
        pingAddress: '10.200.0.1',
      });

    const good = await findingsFor(ALICE.password);
    assert.deepEqual([good.answeredBefore, good.answeredAfter, good.keyIds], [true, true, [0, 1]]);
    // As long as an assertion may be: eight TLS records, more than a hundred packets, and read to its end.
    const wrong = await findingsFor('A'.repeat(120 * 1024));
    assert.match(wrong.closed ?? '', /^AUTH_FAILED/);
    assert.equal(world.gateway.connections().at(-1)?.endReason, 'bad-password');
  });
