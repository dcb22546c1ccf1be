import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes } from '../../../../dataplane/protocol/bytes.ts';
import { ControlDrop, type ControlPacket } from '../../../../dataplane/protocol/control-packet.ts';
import { tlsCryptWrap, type ControlWrap } from '../../../../dataplane/protocol/control-wrap.ts';
import { dynamicTlsCryptKey } from '../../../../dataplane/protocol/dynamic-tls-crypt.ts';
import { Opcode } from '../../../../dataplane/protocol/opcode.ts';
import { Session } from '../../../../dataplane/protocol/session.ts';
import {
  makeWrappedClientKey,
  timestampMetadata,
  tlsCryptV2ServerKey,
} from '../../../../dataplane/protocol/tls-crypt-v2.ts';
import { WrapPacketIds } from '../../../../dataplane/protocol/wrap-packet-id.ts';
import { countingBytes, toHex } from '../../../support/hex.ts';

const CLIENT_ID = countingBytes(8, 1);
const SERVER_ID = countingBytes(8, 17);
const CLIENT_KEY = countingBytes(256, 9);
const SERVER_KEY = tlsCryptV2ServerKey(countingBytes(128, 3));
const EXPORTED = countingBytes(256, 100);
const UNIX_S = 1_700_000_000;

/** A session under tls-crypt-v2 that was answered without state, and the client's end of its wraps. */
class SessionUnderTest {
  readonly tlsInputs: string[] = [];
  readonly session: Session;
  readonly #wrap = tlsCryptWrap(CLIENT_KEY, 'client');
  readonly #ids = new WrapPacketIds(UNIX_S);
  #started = 0;

  constructor() {
    this.session = new Session({
      port: {
        transmit: () => undefined,
        tlsStart: () => (this.#started += 1),
        tlsInput: (_, bytes) => this.tlsInputs.push(toHex(bytes)),
        tlsWrite: () => undefined,
        tlsClose: () => undefined,
        mayHear: () => true,
        mayCollect: () => true,
        onSoftReset: () => undefined,
        onClientRenewal: () => undefined,
        onKeyMethod: () => undefined,
        onActive: () => undefined,
        onMessage: () => undefined,
        onKeyFailed: () => undefined,
      },
      timers: { handWindowMs: 60_000, retransmitMs: 2000, clientRenewalPauseMs: 0, retiringControlMs: 60_000 },
      transport: 'udp',
      ourSessionId: SERVER_ID,
      peerSessionId: CLIENT_ID,
      wrap: tlsCryptWrap(CLIENT_KEY, 'server'),
      wrapKey: CLIENT_KEY,
      wrapPacketIds: new WrapPacketIds(UNIX_S, 2),
      hasWrappedClientKeys: true,
      start: 'answered',
      nowMs: 0,
    });
  }

  wrapped(packet: Partial<ControlPacket>, wrap: ControlWrap = this.#wrap): Uint8Array {
    const whole: ControlPacket = {
      opcode: Opcode.ControlV1,
      keyId: 0,
      sessionId: CLIENT_ID,
      acks: [],
      peerSessionId: null,
      messageId: 1,
      payload: Uint8Array.of(0xaa),
      ...packet,
    };
    return wrap.wrap(whole, this.#ids);
  }
}

test('[P36] a packet meant for another receiver is dropped, its message and its acknowledgements', () => {
  const { session, tlsInputs, wrapped } = bound(new SessionUnderTest());
  const foreign = wrapped({ acks: [0], peerSessionId: countingBytes(8, 18) });
  assert.equal(session.receive(foreign, 0), 'wrong-receiver');
  assert.deepEqual(tlsInputs, []);
  assert.equal(session.receive(wrapped({ acks: [0], peerSessionId: SERVER_ID }), 0), undefined);
  assert.deepEqual(tlsInputs, ['aa']);
});

test('[P41] a replayed packet is dropped and the session lives', () => {
  const { session, tlsInputs, wrapped } = bound(new SessionUnderTest());
  const packet = wrapped({});
  assert.equal(session.receive(packet, 0), undefined);
  assert.equal(session.receive(packet, 0), 'control-replayed');
  assert.equal(session.receive(wrapped({ messageId: 2, payload: Uint8Array.of(0xbb) }), 0), undefined);
  assert.deepEqual(tlsInputs, ['aa', 'bb']);
});

test('[P44] a wrapped client key in mid-session is cut off and changes no key', () => {
  const { session, tlsInputs, wrapped } = bound(new SessionUnderTest());
  const otherKey = makeWrappedClientKey(SERVER_KEY, countingBytes(256, 77), timestampMetadata(UNIX_S));
  const carrier = concatBytes(wrapped({ opcode: Opcode.ControlWkcV1 }), otherKey);
  assert.equal(session.receive(carrier, 0), undefined, 'the rest counts as a CONTROL_V1');
  const underOther = wrapped({ messageId: 2 }, tlsCryptWrap(countingBytes(256, 77), 'client'));
  assert.equal(session.receive(underOther, 0), ControlDrop.BadAuthentication);
  assert.equal(session.receive(wrapped({ messageId: 2, payload: Uint8Array.of(0xbb) }), 0), undefined);
  assert.deepEqual(tlsInputs, ['aa', 'bb']);
});

test('[P46] a soft reset under the base key is dropped once dynamic tls-crypt was agreed, one under the derived key is not', () => {
  const { session, wrapped } = bound(new SessionUnderTest());
  session.onTlsReady(session.current.tls, { dataKeys: EXPORTED.slice(), dynamicTlsCrypt: EXPORTED.slice() });
  session.establish('dynamic-tls-crypt', new WrapPacketIds(UNIX_S));
  const reset = { opcode: Opcode.SoftResetV1, keyId: 1, messageId: 0, payload: new Uint8Array(0) } as const;
  assert.equal(session.receive(wrapped(reset), 0), ControlDrop.BadAuthentication);
  const negotiatingKeyId = (): number | undefined => session.negotiating?.keyId;
  assert.equal(negotiatingKeyId(), undefined);
  const derived = tlsCryptWrap(dynamicTlsCryptKey(EXPORTED, CLIENT_KEY), 'client');
  assert.equal(session.receive(wrapped(reset, derived), 0), undefined);
  assert.equal(negotiatingKeyId(), 1);
});

test('what TLS exported is wiped and let go once it has been used', () => {
  const { session } = bound(new SessionUnderTest());
  const exported = { dataKeys: EXPORTED.slice(), dynamicTlsCrypt: EXPORTED.slice() };
  session.onTlsReady(session.current.tls, exported);
  session.current.wipe();
  session.establish('dynamic-tls-crypt', new WrapPacketIds(UNIX_S));
  for (const secret of Object.values(exported)) assert.deepEqual(secret, new Uint8Array(256));
  assert.deepEqual(session.current.facts, { dataKeys: new Uint8Array(0), dynamicTlsCrypt: new Uint8Array(0) });
});

test('[P89] a soft reset is dropped before the session stands, and for any key id but the next', () => {
  const { session, wrapped } = bound(new SessionUnderTest());
  const reset = (keyId: number) =>
    wrapped({ opcode: Opcode.SoftResetV1, keyId, messageId: 0, payload: new Uint8Array(0) });
  assert.equal(session.receive(reset(1), 0), 'renewal-not-allowed');
  session.establish('base', new WrapPacketIds(UNIX_S));
  assert.equal(session.receive(reset(3), 0), 'renewal-not-allowed');
  assert.equal(session.receive(reset(1), 0), undefined);
});

test('[P97] when both sides ask for a renewal at once, there is one new key', () => {
  const { session, wrapped } = bound(new SessionUnderTest());
  session.establish('base', new WrapPacketIds(UNIX_S));
  const ours = session.startRenewal(0);
  const theirs = wrapped({ opcode: Opcode.SoftResetV1, keyId: 1, messageId: 0, payload: new Uint8Array(0) });
  assert.equal(session.receive(theirs, 0), undefined);
  assert.equal(session.negotiating, ours);
  assert.equal(session.startRenewal(0), undefined);
});

function bound(subject: SessionUnderTest) {
  const { session, tlsInputs } = subject;
  return { session, tlsInputs, wrapped: subject.wrapped.bind(subject) };
}
