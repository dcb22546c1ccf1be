import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { utf8Bytes } from '../../../../dataplane/protocol/bytes.ts';
import type { ControlPacket } from '../../../../dataplane/protocol/control-packet.ts';
import { tlsAuthWrap, tlsCryptWrap, type ControlWrap } from '../../../../dataplane/protocol/control-wrap.ts';
import { dataKeysFromBlock, keyBlockFromPrf, prf10 } from '../../../../dataplane/protocol/data-keys.ts';
import { epochKeyFrom, expandLabel, nextEpochSecret } from '../../../../dataplane/protocol/epoch-keys.ts';
import { KeyMethodParser } from '../../../../dataplane/protocol/key-method.ts';
import { Opcode } from '../../../../dataplane/protocol/opcode.ts';
import {
  makeWrappedClientKey,
  timestampMetadata,
  unwrapClientKey,
} from '../../../../dataplane/protocol/tls-crypt-v2.ts';
import { WrapPacketIds } from '../../../../dataplane/protocol/wrap-packet-id.ts';
import { openDataPacket, sealDataPacket } from '../../../support/data-packet.ts';
import { countingBytes, fromHex, toHex } from '../../../support/hex.ts';
import {
  AWS_KEY_METHOD,
  CONSTRUCTED_PRF,
  EPOCH,
  LIVE_SESSION,
  PING_PAYLOAD,
  WRAPS,
} from '../../../vectors/protocol-vectors.ts';

const STATIC_KEY = countingBytes(256);
const CLIENT_ID = fromHex('0102030405060708');
const SERVER_ID = fromHex('1112131415161718');

const CLIENT_RESET: ControlPacket = {
  opcode: Opcode.HardResetClientV2,
  keyId: 0,
  sessionId: CLIENT_ID,
  acks: [],
  peerSessionId: null,
  messageId: 0,
  payload: new Uint8Array(0),
};
const SERVER_RESET: ControlPacket = {
  ...CLIENT_RESET,
  opcode: Opcode.HardResetServerV2,
  sessionId: SERVER_ID,
  acks: [0],
  peerSessionId: CLIENT_ID,
};

test('[P59] derives the key block of a recorded session (A.1)', () => {
  const block = keyBlockFromPrf({
    client: {
      preMaster: fromHex(LIVE_SESSION.preMaster),
      random1: fromHex(LIVE_SESSION.clientRandom1),
      random2: fromHex(LIVE_SESSION.clientRandom2),
    },
    server: { random1: fromHex(LIVE_SESSION.serverRandom1), random2: fromHex(LIVE_SESSION.serverRandom2) },
    clientSessionId: fromHex(LIVE_SESSION.clientSessionId),
    serverSessionId: fromHex(LIVE_SESSION.serverSessionId),
  });
  assert.equal(toHex(block), LIVE_SESSION.block);
});

test('[P59] derives the constructed key block and its master secret (A.2)', () => {
  const client = {
    preMaster: countingBytes(48),
    random1: new Uint8Array(32).fill(0x11),
    random2: new Uint8Array(32).fill(0x22),
  };
  const server = { random1: new Uint8Array(32).fill(0x33), random2: new Uint8Array(32).fill(0x44) };
  const seed = new Uint8Array([...utf8Bytes('OpenVPN master secret'), ...client.random1, ...server.random1]);
  assert.equal(toHex(prf10(client.preMaster, seed, 48)), CONSTRUCTED_PRF.master);
  const block = keyBlockFromPrf({
    client,
    server,
    clientSessionId: utf8Bytes('CLIENTID'),
    serverSessionId: utf8Bytes('SERVERID'),
  });
  assert.equal(toHex(block), CONSTRUCTED_PRF.block);
});

test('[P64] seals and opens the recorded packets of both directions (A.1)', () => {
  for (const vector of [LIVE_SESSION.toServer, LIVE_SESSION.toClient]) {
    const direction = {
      cipher: 'AES-256-GCM',
      key: fromHex(vector.key),
      implicitIv: fromHex(vector.implicitIv),
    } as const;
    const opened = openDataPacket(direction, 'V2', fromHex(vector.packet));
    assert.equal(toHex(opened?.plain ?? new Uint8Array(0)), vector.plain);
    assert.ok(opened);
    assert.equal(toHex(sealDataPacket(direction, opened.header, opened.plain)), vector.packet);
  }
});

test('[P64] cuts a key block into the directions of the recorded packets (A.1)', () => {
  const keys = dataKeysFromBlock(fromHex(LIVE_SESSION.block), { keyId: 0, cipher: 'AES-256-GCM', epochFormat: false });
  assert.ok(keys);
  assert.equal(toHex(keys.encryptKey), LIVE_SESSION.toClient.key);
  assert.equal(toHex(keys.encryptIv), LIVE_SESSION.toClient.implicitIv);
  assert.equal(toHex(keys.decryptKey), LIVE_SESSION.toServer.key);
  assert.equal(toHex(keys.decryptIv), LIVE_SESSION.toServer.implicitIv);
});

for (const { cipher, format, packet } of [
  { cipher: 'AES-256-GCM', format: 'V2', packet: CONSTRUCTED_PRF.pingV2Aes },
  { cipher: 'CHACHA20-POLY1305', format: 'V2', packet: CONSTRUCTED_PRF.pingV2ChaCha },
  { cipher: 'AES-256-GCM', format: 'V1', packet: CONSTRUCTED_PRF.pingV1Aes },
] as const) {
  test(`[P64] seals the ping of ${format} ${cipher} (A.2)`, () => {
    const keys = dataKeysFromBlock(fromHex(CONSTRUCTED_PRF.block), { keyId: 0, cipher, epochFormat: false });
    assert.ok(keys);
    const direction = { cipher, key: keys.encryptKey, implicitIv: keys.encryptIv };
    const sealed = sealDataPacket(direction, { format, keyId: 0, peerId: 0x102, packetId: 1 }, fromHex(PING_PAYLOAD));
    assert.equal(toHex(sealed), packet);
  });
}

const sha1 = (direction: 'server' | 'client'): ControlWrap => tlsAuthWrap(STATIC_KEY, { digest: 'SHA1', direction });
const sha256 = tlsAuthWrap(STATIC_KEY, { digest: 'SHA256', direction: 'bidirectional' });
for (const { name, sender, receiver, packet, wire } of [
  {
    name: 'tls-crypt, client',
    sender: tlsCryptWrap(STATIC_KEY, 'client'),
    receiver: tlsCryptWrap(STATIC_KEY, 'server'),
    packet: CLIENT_RESET,
    wire: WRAPS.tlsCryptClientReset,
  },
  {
    name: 'tls-crypt, server',
    sender: tlsCryptWrap(STATIC_KEY, 'server'),
    receiver: tlsCryptWrap(STATIC_KEY, 'client'),
    packet: SERVER_RESET,
    wire: WRAPS.tlsCryptServerReset,
  },
  {
    name: 'tls-auth SHA1, client',
    sender: sha1('client'),
    receiver: sha1('server'),
    packet: CLIENT_RESET,
    wire: WRAPS.tlsAuthSha1ClientReset,
  },
  {
    name: 'tls-auth SHA1, server',
    sender: sha1('server'),
    receiver: sha1('client'),
    packet: SERVER_RESET,
    wire: WRAPS.tlsAuthSha1ServerReset,
  },
  {
    name: 'tls-auth SHA256, bidirectional',
    sender: sha256,
    receiver: sha256,
    packet: CLIENT_RESET,
    wire: WRAPS.tlsAuthSha256BidirectionalClientReset,
  },
]) {
  test(`[P39] wraps and unwraps the reset of ${name} (A.3)`, () => {
    assert.equal(toHex(sender.wrap(packet, new WrapPacketIds(0x60000000))), wire);
    const unwrapped = receiver.unwrap(fromHex(wire));
    assert.ok(unwrapped.ok);
    assert.deepEqual(unwrapped.packetId, { id: 1, time: 0x60000000 });
    assert.deepEqual(plain(unwrapped.packet), plain(packet));
  });
}

test('[P39] wraps and unwraps the client key of tls-crypt-v2 (A.3)', () => {
  const serverKey = { encryption: countingBytes(32, 0x80), authentication: countingBytes(32, 0xc0) };
  const wrapped = makeWrappedClientKey(serverKey, STATIC_KEY, timestampMetadata(0x60000000));
  assert.equal(wrapped.length, WRAPS.wrappedClientKey.length);
  assert.equal(toHex(wrapped.subarray(0, 48)), WRAPS.wrappedClientKey.first48);
  assert.equal(toHex(wrapped.subarray(-16)), WRAPS.wrappedClientKey.last16);
  assert.equal(createHash('sha256').update(wrapped).digest('hex'), WRAPS.wrappedClientKey.sha256);
  const unwrapped = unwrapClientKey(serverKey, wrapped);
  assert.ok(unwrapped.ok);
  assert.deepEqual([...unwrapped.clientKey], [...STATIC_KEY]);
  assert.deepEqual(unwrapped.metadata, { kind: 'timestamp', createdS: 0x60000000 });
});

test('[P63] derives epoch keys along the chain (A.4)', () => {
  const first = countingBytes(32);
  assert.equal(
    toHex(expandLabel(fromHex(EPOCH.expand.secret), EPOCH.expand.label, 16)),
    EPOCH.expand.output,
    'known answer of the 2.7 project',
  );
  assert.equal(toHex(epochKeyFrom(first, 'AES-256-GCM').key), EPOCH.k1);
  assert.equal(toHex(epochKeyFrom(first, 'AES-256-GCM').iv), EPOCH.iv1);
  const second = nextEpochSecret(first);
  assert.equal(toHex(second), EPOCH.e2);
  assert.equal(toHex(epochKeyFrom(second, 'AES-256-GCM').key), EPOCH.k2);
  assert.equal(toHex(epochKeyFrom(second, 'AES-256-GCM').iv), EPOCH.iv2);
});

test('[P63] seals and opens pings of two epochs (A.4)', () => {
  const direction = { cipher: 'AES-256-GCM', key: countingBytes(32), implicitIv: new Uint8Array(8) } as const;
  for (const [epoch, vector] of [
    [1, EPOCH.ping1],
    [2, EPOCH.ping2],
  ] as const) {
    const header = { format: 'epoch', keyId: 0, peerId: 0x102, packetId: 1, epoch } as const;
    assert.equal(toHex(sealDataPacket(direction, header, fromHex(PING_PAYLOAD))), vector.packet);
    assert.deepEqual(openDataPacket(direction, 'epoch', fromHex(vector.packet))?.header, header);
  }
});

test('[P55] reads the AWS-framed key method message (A.5)', () => {
  const step = new KeyMethodParser().push(fromHex(AWS_KEY_METHOD));
  assert.equal(step.kind, 'done');
  assert.ok(step.kind === 'done');
  assert.equal(step.message.framing, 'aws');
  assert.equal(step.message.options, 'V4,tls-client');
  assert.equal(step.message.username, 'N/A');
  assert.equal(step.message.password, 'ACS::35001');
  assert.equal(step.message.peerInfo, 'IV_PROTO=990\n');
  assert.equal(step.rest.length, 0);
});

/** Views and Buffers compare by class otherwise. */
function plain(packet: ControlPacket) {
  return {
    ...packet,
    sessionId: toHex(packet.sessionId),
    peerSessionId: packet.peerSessionId === null ? null : toHex(packet.peerSessionId),
    payload: toHex(packet.payload),
  };
}
