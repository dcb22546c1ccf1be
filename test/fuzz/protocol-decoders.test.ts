// Seeded mutation of valid input for every decoder of dataplane/protocol. FUZZ_ITERATIONS sets the inputs per decoder,
// FUZZ_SECONDS fuzzes each decoder for that long instead, TEST_SEED repeats a run.
import assert from 'node:assert/strict';
import { checkToken, issueToken } from '../../dataplane/protocol/auth-token.ts';
import { concatBytes, utf8Bytes, utf8Text } from '../../dataplane/protocol/bytes.ts';
import { parsePasswordField } from '../../dataplane/protocol/challenge.ts';
import { ControlMessageReader } from '../../dataplane/protocol/control-message.ts';
import { decodeControlBody, decodeControlHeader, type ControlPacket } from '../../dataplane/protocol/control-packet.ts';
import { plainWrap, tlsAuthWrap, tlsCryptWrap, type ControlWrap } from '../../dataplane/protocol/control-wrap.ts';
import { KeyMethodParser } from '../../dataplane/protocol/key-method.ts';
import { DEFAULT_CIPHERS, negotiate, negotiatedPushOptions } from '../../dataplane/protocol/negotiation.ts';
import { parseClientOptions } from '../../dataplane/protocol/occ-options.ts';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { parsePeerInfo } from '../../dataplane/protocol/peer-info.ts';
import { pushProblem, PushReply } from '../../dataplane/protocol/push.ts';
import { ReceiveQueue, SendQueue } from '../../dataplane/protocol/reliability.ts';
import { formatStaticKey, parseStaticKey } from '../../dataplane/protocol/static-key.ts';
import {
  formatClientKeyPem,
  formatServerKeyPem,
  makeWrappedClientKey,
  parseClientKeyPem,
  parseMetadata,
  parseServerKeyPem,
  splitWrappedClientKey,
  timestampMetadata,
  tlsCryptV2ServerKey,
  unwrapClientKey,
} from '../../dataplane/protocol/tls-crypt-v2.ts';
import { WrapPacketIds, WrapPacketIdWindow } from '../../dataplane/protocol/wrap-packet-id.ts';
import { encodeClientKeyMethod } from '../support/client-key-method.ts';
import { CLIENT_2_6 } from '../support/client-io.ts';
import { FakeTcpKernel } from '../support/fake-tcp-kernel.ts';
import { fuzzTarget, type FuzzTarget } from '../support/fuzz-targets.ts';
import { countingBytes } from '../support/hex.ts';
import { frameForTcp, maxTcpPacketBytes, TcpFrameReader } from '../support/tcp-frames.ts';

const KEY = countingBytes(256, 7);
const SERVER_KEY = tlsCryptV2ServerKey(countingBytes(128, 3));
const PACKETS = samplePackets();
const WRAPPED_CLIENT_KEY = makeWrappedClientKey(SERVER_KEY, KEY, timestampMetadata(1_700_000_000));

const wrapTarget = (
  name: string,
  client: ControlWrap,
  server: ControlWrap,
  mustReach: readonly string[],
): FuzzTarget => ({
  name: `control wrap ${name}`,
  corpus: PACKETS.map((packet) => client.wrap(packet, new WrapPacketIds(1_700_000_000))),
  mustReach,
  feed(input, reached) {
    if (decodeControlHeader(input).ok) reached('header');
    const unwrapped = server.unwrap(input);
    if (!unwrapped.ok) return;
    reached('packet');
    assert.ok(unwrapped.packet.acks.length <= 8);
    assert.equal(unwrapped.packet.messageId === null, unwrapped.packet.opcode === Opcode.AckV1);
    if (unwrapped.packetId !== null) new WrapPacketIdWindow().accept(unwrapped.packetId, 0);
  },
});

const textTarget = (
  name: string,
  texts: readonly string[],
  feed: (text: string, reached: (layer: string) => void) => void,
  mustReach: readonly string[],
): FuzzTarget => ({
  name,
  corpus: texts.map((text) => utf8Bytes(text)),
  mustReach,
  feed: (input, reached) => feed(utf8Text(input), reached),
});

const TARGETS: readonly FuzzTarget[] = [
  wrapTarget('none', plainWrap(), plainWrap(), ['header', 'packet']),
  wrapTarget(
    'tls-auth',
    tlsAuthWrap(KEY, { digest: 'SHA256', direction: 'client' }),
    tlsAuthWrap(KEY, { digest: 'SHA256', direction: 'server' }),
    ['header'],
  ),
  wrapTarget('tls-crypt', tlsCryptWrap(KEY, 'client'), tlsCryptWrap(KEY, 'server'), ['header']),
  {
    // Behind the wrap: whoever holds the static key can send any body.
    name: 'control body of an authenticated peer',
    corpus: PACKETS.map((packet) => plainWrap().wrap(packet, new WrapPacketIds(1)).subarray(9)),
    mustReach: ['packet', 'accepted', 'delivered'],
    feed(input, reached) {
      const decoded = decodeControlBody({ opcode: Opcode.ControlV1, keyId: 0, sessionId: countingBytes(8, 1) }, input);
      if (!decoded.ok) return;
      reached('packet');
      const { packet } = decoded;
      const timing = { retransmitMs: 2000, leastRetransmitMs: 500, retransmits: true };
      const sender = new SendQueue({ ...timing, firstMessageId: 0, maxPayloadBytes: 100 });
      sender.pushStream(new Uint8Array(1000));
      sender.due(0);
      sender.ack(packet.acks, 1);
      assert.ok(sender.due(1).length <= 6);
      const receiver = new ReceiveQueue();
      if (receiver.receive(packet.messageId ?? 0, packet.opcode, packet.payload) === 'accepted') reached('accepted');
      if (receiver.next() !== undefined) reached('delivered');
      assert.ok(receiver.takeAcks('control').length <= 4);
    },
  },
  {
    name: 'wrapped client key',
    corpus: PACKETS.map((packet) =>
      concatBytes(tlsCryptWrap(KEY, 'client').wrap(packet, new WrapPacketIds(1)), WRAPPED_CLIENT_KEY),
    ),
    mustReach: ['split', 'unwrapped'],
    feed(input, reached) {
      const split = splitWrappedClientKey(input);
      if (!split.ok) return;
      reached('split');
      assert.equal(split.packet.length + split.wrappedClientKey.length, input.length);
      const unwrapped = unwrapClientKey(SERVER_KEY, split.wrappedClientKey);
      if (!unwrapped.ok) return;
      reached('unwrapped');
      if (tlsCryptWrap(unwrapped.clientKey, 'server').unwrap(split.packet).ok) reached('packet');
    },
  },
  {
    name: 'client key metadata',
    corpus: [timestampMetadata(1_700_000_000), Uint8Array.of(0, 1, 2, 3)],
    mustReach: ['timestamp', 'user', 'unknown'],
    feed: (input, reached) => reached(parseMetadata(input).kind),
  },
  {
    name: 'key method',
    corpus: (['stock', 'aws'] as const).map((framing) => sampleKeyMethod(framing)),
    mustReach: ['done', 'negotiated', 'failed'],
    feed(input, reached) {
      const parser = new KeyMethodParser();
      const cut = Math.floor(input.length / 2);
      let step = parser.push(input.subarray(0, cut));
      if (step.kind === 'more') step = parser.push(input.subarray(cut));
      if (step.kind === 'more') step = parser.finishLegacy();
      reached(step.kind);
      if (step.kind !== 'done') return;
      const { options, peerInfo } = step.message;
      if (negotiatesSanely(peerInfo, options)) reached('negotiated');
    },
  },
  {
    name: 'control messages of a client',
    corpus: ['PUSH_REQUEST\0', 'EXIT\0', 'CR_RESPONSE,c2VjcmV0\0', 'ACC,6,A,3,abc\0'].map((text) => utf8Bytes(text)),
    mustReach: ['pushRequest', 'exit', 'challengeResponse', 'ignored'],
    feed(input, reached) {
      for (const message of new ControlMessageReader().push(input)) reached(message.kind);
    },
  },
  {
    name: 'TCP frames',
    corpus: [
      ...PACKETS.map((packet) => frameForTcp(plainWrap().wrap(packet, new WrapPacketIds(1)))),
      concatBytes(...[1, 2, 300].map((length) => frameForTcp(countingBytes(length, 0x48)))),
    ],
    mustReach: ['whole', 'broken', 'several'],
    feed(input, reached) {
      const kernel = new FakeTcpKernel();
      const frames = new TcpFrameReader(maxTcpPacketBytes(FakeTcpKernel.TUN_MTU)).push(input);
      const pieceBytes = 1 + (input[0] ?? 0);
      for (let at = 0; at < input.length; at += pieceBytes)
        kernel.send(input.subarray(at, at + pieceBytes), 1, at * 1000);
      kernel.transport.expire(Infinity);
      kernel.serve(Infinity);
      if (kernel.closed[0] === 'too many control frames at once') return;
      assert.equal(kernel.closed.length, frames.ok ? 0 : 1);
      if (frames.ok) assert.deepEqual(kernel.packets, frames.packets);
      reached(frames.ok ? 'whole' : 'broken');
      if (kernel.packets.length > 1) reached('several');
    },
  },
  textTarget(
    'peer info and options',
    [peerInfoText(), 'IV_PROTO=2\nIV_NCP=2\n', 'IV_CIPHERS=AES-128-GCM\nIV_MTU=1400'],
    (text, reached) => {
      if (negotiatesSanely(text, `${text},comp-lzo`)) reached('negotiated');
    },
    ['negotiated'],
  ),
  textTarget(
    'password field',
    ['CRV1::state::response', 'ACS::35001', 'plain'],
    (text, reached) => reached(parsePasswordField(text).kind),
    ['plain', 'dynamicChallenge', 'federatedStart', 'malformed'],
  ),
  textTarget(
    'auth token',
    [issueToken(KEY.subarray(0, 32), 'ada', 1_700_000_000, countingBytes(12))],
    (text, reached) => {
      const limits = { lifetimeS: 86_400, renewalS: 3600, nowS: 1_700_000_000 };
      reached(checkToken(KEY.subarray(0, 32), 'ada', text, limits).kind);
    },
    ['invalid'],
  ),
  textTarget(
    'key files',
    [
      formatStaticKey(KEY),
      formatServerKeyPem(countingBytes(128)),
      formatClientKeyPem({ clientKey: KEY, wrappedClientKey: WRAPPED_CLIENT_KEY }),
    ],
    (text, reached) => {
      if (parseStaticKey(text)?.length === 256) reached('static');
      if (parseServerKeyPem(text) !== undefined) reached('server');
      if (parseClientKeyPem(text) !== undefined) reached('client');
    },
    ['static', 'server', 'client'],
  ),
  textTarget(
    'pushed options',
    ['route 10.0.0.0 255.0.0.0', 'dhcp-option DNS 10.0.0.2', 'echo "a b" \\" \'c\''],
    (text, reached) => {
      if (pushProblem(text) === undefined) reached('fit');
      const built = new PushReply().add(text, text, text, text).addToLast(text).build();
      assert.equal(built.ok, pushProblem(text) === undefined);
      if (built.ok) assert.ok(built.messages.every((message) => utf8Bytes(message).length <= 1023));
    },
    ['fit'],
  ),
];

for (const target of TARGETS) fuzzTarget(target);

function negotiatesSanely(peerInfo: string, options: string): boolean {
  const policy = { ciphers: DEFAULT_CIPHERS, fallbackCipher: null, tunMtuBytes: 1500, allowEpoch: true };
  const result = negotiate(parsePeerInfo(peerInfo), parseClientOptions(options), policy);
  if (!result.ok) {
    assert.match(result.message, /^[ -~]{1,200}$/);
    return false;
  }
  for (const option of negotiatedPushOptions(result.negotiated, 0)) assert.equal(pushProblem(option), undefined);
  assert.ok(result.negotiated.tunMtuBytes >= 576 && result.negotiated.tunMtuBytes <= 1500);
  return true;
}

function samplePackets(): readonly ControlPacket[] {
  const base = {
    keyId: 0,
    sessionId: countingBytes(8, 1),
    acks: [],
    peerSessionId: null,
    messageId: 0,
    payload: new Uint8Array(0),
  };
  return [
    { ...base, opcode: Opcode.HardResetClientV2 },
    {
      ...base,
      opcode: Opcode.ControlV1,
      messageId: 1,
      acks: [0],
      peerSessionId: countingBytes(8, 17),
      payload: countingBytes(200),
    },
    { ...base, opcode: Opcode.ControlV1, payload: countingBytes(50) },
    { ...base, opcode: Opcode.AckV1, messageId: null, acks: [0, 1, 2, 3], peerSessionId: countingBytes(8, 17) },
    { ...base, opcode: Opcode.SoftResetV1, keyId: 1 },
  ];
}

function peerInfoText(): string {
  const lines = Object.entries({ ...CLIENT_2_6.peerInfo, IV_PROTO: '990' });
  return lines.map(([key, value]) => `${key}=${value}\n`).join('');
}

function sampleKeyMethod(framing: 'stock' | 'aws'): Uint8Array {
  return encodeClientKeyMethod({
    framing,
    source: { preMaster: countingBytes(48), random1: countingBytes(32), random2: countingBytes(32) },
    options: CLIENT_2_6.options,
    username: 'ada',
    password: 'secret',
    peerInfo: peerInfoText(),
  });
}
