import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../../../dataplane/protocol/opcode.ts';
import { AdmissionControl, type SessionStart } from '../../../../dataplane/sessions/admission.ts';
import { controlWrapsFor } from '../../../../dataplane/sessions/control-wraps.ts';
import { DEFAULT_LIMITS } from '../../../../dataplane/sessions/engine-options.ts';
import { countingBytes } from '../../../support/hex.ts';
import { CLIENT_SESSION_ID, clientPacket, decodePlain } from '../../../support/raw-control.ts';
import { udpRemote } from '../../../support/simulated-world.ts';

const WRAPS = controlWrapsFor('None', null);
const REMOTE = udpRemote('192.0.2.7', 5000);

/** What a session is made from, once a client has proven its address; its first packet carries a whole datagram. */
function startOver(transport: 'udp' | 'tcp'): SessionStart {
  const admission = new AdmissionControl({
    limits: DEFAULT_LIMITS,
    random: (bytes) => countingBytes(bytes, 1),
    wallClock: () => 1_767_225_600_000,
    handshakes: () => 'few',
  });
  const payload = countingBytes(1_100);
  let outcome = admission.considerTcp(REMOTE, clientPacket({ payload }), WRAPS, 0);
  if (transport === 'udp') {
    const answer = admission.considerUdp(REMOTE, clientPacket(), WRAPS, 0);
    assert.ok(answer.kind === 'answer');
    const peerSessionId = decodePlain(answer.packet).sessionId;
    const first = { opcode: Opcode.ControlV1, acks: [0], peerSessionId, messageId: 1, payload } as const;
    outcome = admission.considerUdp(REMOTE, clientPacket(first), WRAPS, 0);
  }
  assert.ok(outcome.kind === 'start', JSON.stringify(outcome));
  return outcome.start;
}

for (const transport of ['udp', 'tcp'] as const) {
  test(`what a session is made from keeps nothing of the datagram it came in (${transport})`, () => {
    const { ourSessionId, peerSessionId } = startOver(transport);
    assert.deepEqual(peerSessionId, CLIENT_SESSION_ID);
    for (const id of [ourSessionId, peerSessionId]) assert.equal(id.buffer.byteLength, 8);
  });
}
