import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SessionStart } from '../../../../dataplane/sessions/admission.ts';
import type { Instant } from '../../../../dataplane/sessions/engine-io.ts';
import { WaitingRoom, type WaitingStart } from '../../../../dataplane/sessions/waiting-room.ts';
import { udpRemote } from '../../../support/simulated-world.ts';

const SESSION_ID = new Uint8Array(8).fill(7);

function waiting(address: string): WaitingStart {
  return {
    remote: udpRemote(address, 5000),
    start: { peerSessionId: SESSION_ID } as unknown as SessionStart,
    packets: [packet(0)],
    since: 0 as Instant,
  };
}

/** Of a client, told apart by its last byte. */
function packet(number: number, sessionId = SESSION_ID): Uint8Array {
  return Uint8Array.of(0x20, ...sessionId, number);
}

function roomWith(...entries: readonly WaitingStart[]): WaitingRoom {
  const room = new WaitingRoom(100);
  for (const entry of entries) assert.ok(room.admit(entry));
  return room;
}

/** Everybody who waits, in their order. */
function order(room: WaitingRoom): readonly string[] {
  const found: string[] = [];
  for (let next = room.take(); next !== undefined; next = room.take()) found.push(next.remote.address);
  assert.equal(room.size, 0);
  return found;
}

test('who came first is next', () => {
  const room = roomWith(waiting('10.0.0.2'), waiting('10.0.0.1'));
  assert.equal(room.size, 2);
  assert.deepEqual(order(room), ['10.0.0.2', '10.0.0.1']);
});

test('networks take turns, so that a flood waits behind itself', () => {
  const flood = Array.from({ length: 4 }, (_, host) => waiting(`10.0.0.${host + 1}`));
  const room = roomWith(...flood, waiting('10.0.1.1'), waiting('10.0.2.1'));
  assert.deepEqual(order(room), ['10.0.0.1', '10.0.1.1', '10.0.2.1', '10.0.0.2', '10.0.0.3', '10.0.0.4']);
});

test('what a client says meanwhile is kept in its order, four packets at the most, and costs it no turn', () => {
  const room = roomWith(waiting('10.0.0.1'), waiting('10.0.0.2'));
  const { remote } = waiting('10.0.0.1');
  for (let number = 1; number <= 9; number += 1) assert.ok(room.hear(remote, packet(number)));
  const next = room.take();
  assert.equal(next?.remote.address, '10.0.0.1');
  assert.deepEqual(
    next.packets.map((bytes) => bytes.at(-1)),
    [0, 1, 2, 3],
  );
  assert.equal(room.hear(remote, packet(1)), false, 'it waits no longer');
});

test('a client that began anew at its old address is not taken for the old one, and waits anew', () => {
  const room = roomWith(waiting('10.0.0.1'), waiting('10.0.0.2'));
  const { remote } = waiting('10.0.0.1');
  assert.equal(room.hear(remote, packet(1, new Uint8Array(8).fill(8))), false);
  assert.equal(room.hear(remote, new Uint8Array(3)), false);
  assert.ok(room.admit(waiting('10.0.0.1')));
  assert.deepEqual(order(room), ['10.0.0.2', '10.0.0.1']);
});

test('there is no place beyond the last, and an eighth of all for one network', () => {
  const room = new WaitingRoom(16);
  const admitted = (network: number): number =>
    [1, 2, 3].filter((host) => room.admit(waiting(`10.0.${network}.${host}`))).length;
  assert.deepEqual(
    Array.from({ length: 9 }, (_, network) => admitted(network)),
    [2, 2, 2, 2, 2, 2, 2, 2, 0],
  );
  room.forget(waiting('10.0.0.1').remote);
  assert.ok(room.admit(waiting('10.0.9.1')));
});

test('who is forgotten is not next, nor counted', () => {
  const room = roomWith(waiting('10.0.0.1'), waiting('10.0.0.2'), waiting('10.0.1.1'));
  room.forget(waiting('10.0.0.1').remote);
  room.forget(waiting('10.0.1.1').remote);
  room.forget(waiting('10.0.7.7').remote);
  assert.equal(room.size, 1);
  assert.deepEqual(order(room), ['10.0.0.2']);
  room.admit(waiting('10.0.0.1'));
  room.clear();
  assert.deepEqual([room.size, room.take()], [0, undefined]);
});

test('what is no control packet, or longer than one may be, is not kept for anybody', () => {
  const room = roomWith(waiting('10.0.0.1'));
  const { remote } = waiting('10.0.0.1');
  for (const bytes of [Uint8Array.of(0xff, ...SESSION_ID), new Uint8Array(2_049).fill(0x20).fill(7, 1)])
    assert.equal(room.hear(remote, bytes), false);
  assert.equal(room.hear(remote, packet(1)), true);
  assert.equal(room.take()?.packets.length, 2);
});
