import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counter } from '../../../../dataplane/tunnel/thread-counters.ts';
import { ForwarderWorld } from '../../../support/forwarder-world.ts';
import { mendChecksums, tcpPacket, TcpFlag } from '../../../support/ip-twin.ts';

const CLIENT = '10.8.0.2';
const SERVER = '192.168.0.9';
type Fields = Partial<Parameters<typeof tcpPacket>[0]>;

function packet(fields: Fields = {}): Uint8Array {
  const ends = { source: [CLIENT, 4000], destination: [SERVER, 80] } as const;
  return tcpPacket({ ...ends, sequence: 7, payload: new Uint8Array(0), ...fields });
}

const ack = (acknowledgement: number, fields: Fields = {}): Uint8Array => packet({ acknowledgement, ...fields });

function timestamps(value: number): Uint8Array {
  return Uint8Array.of(1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, 1);
}

/** Which of the packets of one batch, by place, were written to the network. */
function written(...packets: readonly Uint8Array[]): { readonly places: readonly number[]; readonly counted: number } {
  const world = new ForwarderWorld();
  world.setPolicy('*→0.0.0.0/0');
  world.addPeer(0, CLIENT);
  world.fromClients(...packets.map((inner) => world.wire(0, inner)));
  const sent = world.port.toNetwork.map((bytes) => Buffer.from(bytes).toString('hex'));
  const places = packets.flatMap((inner, place) => (sent.includes(Buffer.from(inner).toString('hex')) ? [place] : []));
  return { places, counted: world.counters.value(Counter.AcksSuperseded) };
}

test('of the acknowledgements of a flow in one batch the last is written', () => {
  assert.deepEqual(written(ack(100), ack(200), ack(300)), { places: [2], counted: 2 });
  assert.deepEqual(written(ack(0xffff_ff00), ack(50)), { places: [1], counted: 1 });
  const stamped = [1, 2, 3].map((value) => ack(value * 100, { options: timestamps(value) }));
  assert.deepEqual(written(...stamped), { places: [2], counted: 2 });
});

test('flows do not touch one another', () => {
  const other = { source: [CLIENT, 4001] } as const;
  assert.deepEqual(written(ack(100), ack(100, other), ack(200), ack(200, other)), { places: [2, 3], counted: 2 });
});

test('batches do not touch one another', () => {
  const world = new ForwarderWorld();
  world.setPolicy('*→0.0.0.0/0');
  world.addPeer(0, CLIENT);
  world.fromClients(world.wire(0, ack(100)));
  world.fromClients(world.wire(0, ack(200)));
  assert.equal(world.port.toNetwork.length, 2);
});

test('what says anything else is written', () => {
  const sack = Uint8Array.of(1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0);
  const marked = ack(200);
  marked[1] = 3;
  mendChecksums(marked);
  const variants: Readonly<Record<string, readonly Uint8Array[]>> = {
    'a duplicate': [ack(100), ack(100)],
    'a window update': [ack(100), ack(100, { window: 900 })],
    'an older one, overtaken on the way': [ack(200), ack(100)],
    'selective acknowledgement, before': [ack(100, { options: sack }), ack(200)],
    'selective acknowledgement, behind': [ack(100), ack(200, { options: sack })],
    data: [ack(100), packet({ acknowledgement: 200, payload: Uint8Array.of(1) })],
    'data between': [ack(100), packet({ acknowledgement: 150, payload: Uint8Array.of(1) }), ack(200, { sequence: 8 })],
    'the end': [ack(100), ack(200, { flags: TcpFlag.Ack | TcpFlag.Fin })],
    'an echoed congestion mark': [ack(100, { flags: TcpFlag.Ack | 0x40 }), ack(200)],
    'a congestion mark on itself': [ack(100), marked],
    'another sequence number': [ack(100), ack(200, { sequence: 9 })],
  };
  for (const [what, packets] of Object.entries(variants))
    assert.deepEqual(written(...packets), { places: packets.map((_, place) => place), counted: 0 }, what);
});

test('an acknowledgement that may not pass takes no other with it', () => {
  const world = new ForwarderWorld();
  world.setPolicy('*→192.168.0.0/24');
  world.addPeer(0, CLIENT);
  world.fromClients(world.wire(0, ack(100)), world.wire(0, ack(200, { source: ['10.8.0.99', 4000] })));
  assert.equal(world.port.toNetwork.length, 1);
});
