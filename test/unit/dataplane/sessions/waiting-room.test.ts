import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SessionStart } from '../../../../dataplane/sessions/admission.ts';
import type { Instant } from '../../../../dataplane/sessions/engine-io.ts';
import { WaitingRoom, type WaitingStart } from '../../../../dataplane/sessions/waiting-room.ts';
import { udpRemote } from '../../../support/simulated-world.ts';

const PATIENCE_MS = 1_000;

function waiting(host: number, changes: { since?: number; session?: number; bytes?: number } = {}): WaitingStart {
  const { since = 0, session = 1, bytes = 22 } = changes;
  return {
    remote: udpRemote(`192.0.2.${host}`, 5000),
    start: { peerSessionId: new Uint8Array(8).fill(session) } as unknown as SessionStart,
    bytes: new Uint8Array(bytes),
    since: since as Instant,
  };
}

/** Everybody who waits, in their order, as address and bytes. */
function order(room: WaitingRoom, now = 0): readonly string[] {
  const found: string[] = [];
  for (let next = room.next(now as Instant); next !== undefined; next = room.next(now as Instant)) {
    found.push(`${next.remote.address} ${next.bytes.length}`);
    room.forget(next.remote.key);
  }
  return found;
}

test('who came first is next, and who repeats itself keeps its place', () => {
  const room = new WaitingRoom(3, PATIENCE_MS);
  for (const entry of [waiting(1), waiting(2), waiting(3), waiting(1, { since: 5 })]) assert.ok(room.admit(entry));
  assert.deepEqual(order(room), ['192.0.2.1 22', '192.0.2.2 22', '192.0.2.3 22']);
});

test('the first words of TLS take the place of a bare acknowledgement, not the other way round', () => {
  const room = new WaitingRoom(3, PATIENCE_MS);
  for (const entry of [waiting(1), waiting(2, { bytes: 300 }), waiting(1, { bytes: 300 }), waiting(2)])
    room.admit(entry);
  assert.deepEqual(order(room), ['192.0.2.1 300', '192.0.2.2 300']);
});

test('a client that began anew at its old address waits anew', () => {
  const room = new WaitingRoom(3, PATIENCE_MS);
  for (const entry of [waiting(1, { bytes: 300 }), waiting(2), waiting(1, { session: 2 })]) room.admit(entry);
  assert.deepEqual(order(room), ['192.0.2.2 22', '192.0.2.1 22']);
});

test('there is no place beyond the last, until somebody has left', () => {
  const room = new WaitingRoom(2, PATIENCE_MS);
  assert.deepEqual(
    [waiting(1), waiting(2), waiting(3), waiting(2)].map((entry) => room.admit(entry)),
    [true, true, false, true],
  );
  room.forget(waiting(1).remote.key);
  assert.ok(room.admit(waiting(3)));
});

test('who has waited too long is passed over, however often it repeated itself', () => {
  const room = new WaitingRoom(3, PATIENCE_MS);
  for (const entry of [waiting(1), waiting(2, { since: 500 }), waiting(1, { since: 900, bytes: 300 })])
    room.admit(entry);
  assert.deepEqual(order(room, PATIENCE_MS), ['192.0.2.2 22']);
  assert.equal(room.size, 0);
});
