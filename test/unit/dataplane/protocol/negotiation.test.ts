import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DEFAULT_CIPHERS,
  negotiate,
  negotiatedPushOptions,
  type Negotiated,
  type NegotiationPolicy,
  type NegotiationResult,
} from '../../../../dataplane/protocol/negotiation.ts';
import { parseClientOptions, serverOptionsText } from '../../../../dataplane/protocol/occ-options.ts';
import { parsePeerInfo } from '../../../../dataplane/protocol/peer-info.ts';

const POLICY: NegotiationPolicy = {
  ciphers: DEFAULT_CIPHERS,
  fallbackCipher: null,
  tunMtuBytes: 1500,
  allowEpoch: true,
};
const CIPHERS = 'IV_CIPHERS=AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305';

function resultFor(
  peerInfo: string,
  occ = 'V4,dev-type tun',
  policy: Partial<NegotiationPolicy> = {},
): NegotiationResult {
  return negotiate(parsePeerInfo(peerInfo), parseClientOptions(occ), { ...POLICY, ...policy });
}

function negotiatedFor(peerInfo: string, occ?: string, policy?: Partial<NegotiationPolicy>): Negotiated {
  const result = resultFor(peerInfo, occ, policy);
  assert.ok(result.ok);
  return result.negotiated;
}

const pushedTo = (peerInfo: string, occ?: string, policy?: Partial<NegotiationPolicy>): readonly string[] =>
  negotiatedPushOptions(negotiatedFor(peerInfo, occ, policy), 7);

test('[P60] IV_PROTO=2 gets the PRF and a peer id, no protocol flags', () => {
  assert.equal(negotiatedFor(`${CIPHERS}\nIV_PROTO=2`).keyDerivation, 'prf');
  assert.deepEqual(pushedTo(`${CIPHERS}\nIV_PROTO=2`), ['peer-id 7', 'cipher AES-256-GCM']);
});

test('[P61] IV_PROTO=990 gets exporter keys and the three flags', () => {
  const negotiated = negotiatedFor(`${CIPHERS}\nIV_PROTO=990\nIV_MTU=1600`);
  assert.equal(negotiated.keyDerivation, 'exporter');
  assert.deepEqual(negotiatedPushOptions(negotiated, 7), [
    'peer-id 7',
    'cipher AES-256-GCM',
    'protocol-flags cc-exit tls-ekm dyn-tls-crypt',
    'tun-mtu 1500',
  ]);
  assert.equal(negotiated.unsolicitedPush, true);
  assert.equal(negotiated.pendingKeywords, true);
  assert.equal(negotiated.pushUpdate, false);
});

test('[P62] bit 3 without bit 7 gets key-derivation', () => {
  assert.deepEqual(pushedTo(`${CIPHERS}\nIV_PROTO=10`), ['peer-id 7', 'cipher AES-256-GCM', 'key-derivation tls-ekm']);
});

test('[P63] epoch keys go to clients that know them and all they need, unless switched off', () => {
  assert.deepEqual(
    pushedTo(`${CIPHERS}\nIV_PROTO=8094`).at(-1),
    'protocol-flags cc-exit tls-ekm dyn-tls-crypt aead-epoch',
  );
  assert.equal(negotiatedFor(`${CIPHERS}\nIV_PROTO=8094`, undefined, { allowEpoch: false }).epochFormat, false);
  for (const missing of [2, 8, 128]) {
    assert.equal(negotiatedFor(`${CIPHERS}\nIV_PROTO=${8094 - missing}`).epochFormat, false);
  }
});

test('dynamic tls-crypt needs the exporter and protocol flags', () => {
  for (const bits of [512, 512 + 8, 512 + 128]) {
    assert.equal(negotiatedFor(`${CIPHERS}\nIV_PROTO=${bits}`).dynamicTlsCrypt, false);
  }
  assert.equal(negotiatedFor(`${CIPHERS}\nIV_PROTO=${512 + 128 + 8}`).dynamicTlsCrypt, true);
});

test('[P72] compression framing becomes a stub that the client knows', () => {
  const occ = 'V4,dev-type tun,comp-lzo';
  assert.deepEqual(pushedTo(`${CIPHERS}\nIV_COMP_STUBv2=1`, occ)[0], 'compress stub-v2');
  assert.deepEqual(pushedTo(`${CIPHERS}\nIV_LZO_STUB=1`, occ)[0], 'comp-lzo no');
  assert.deepEqual(pushedTo(`${CIPHERS}\nIV_LZO=1`, occ)[0], 'comp-lzo no');
  assert.equal(resultFor(CIPHERS, occ).ok, false);
  assert.equal(negotiatedFor(`${CIPHERS}\nIV_COMP_STUBv2=1`).framing, 'none');
});

test('[P75] without a shared cipher the client gets the stock text', () => {
  assert.deepEqual(resultFor('IV_CIPHERS=BF-CBC:AES-256-CBC'), {
    ok: false,
    reason: 'no-shared-cipher',
    message: 'Data channel cipher negotiation failed (no shared cipher)',
  });
  assert.equal(resultFor('', 'V4,dev-type tun').ok, false);
});

test('[P75] IV_NCP=2 alone means AES-256-GCM, pushed', () => {
  assert.deepEqual(pushedTo('IV_NCP=2\nIV_PROTO=2', 'V4,cipher BF-CBC'), ['peer-id 7', 'cipher AES-256-GCM']);
});

test('[P75] a cipher of the options string alone is used, not pushed, with V1 data', () => {
  const negotiated = negotiatedFor('', 'V4,dev-type tun,cipher AES-128-GCM');
  assert.equal(negotiated.cipher, 'AES-128-GCM');
  assert.equal(negotiated.format, 'V1');
  assert.deepEqual(negotiatedPushOptions(negotiated, 7), []);
});

test('a client that names no cipher gets the fallback, if there is one', () => {
  const negotiated = negotiatedFor('', 'V4,cipher [null-cipher]', { fallbackCipher: 'AES-256-GCM' });
  assert.equal(negotiated.cipher, 'AES-256-GCM');
  assert.equal(negotiated.pushCipher, false);
});

test('our order of ciphers decides; names compare without case', () => {
  assert.equal(negotiatedFor('IV_CIPHERS=chacha20-poly1305:aes-128-gcm').cipher, 'AES-128-GCM');
});

test('[P80] tun-mtu is pushed only with IV_MTU and never above it', () => {
  const mtu = (peerInfo: string, tunMtuBytes: number): string | undefined =>
    pushedTo(`${CIPHERS}\n${peerInfo}`, undefined, { tunMtuBytes }).find((option) => option.startsWith('tun-mtu'));
  assert.equal(mtu('', 1400), undefined);
  assert.equal(mtu('IV_MTU=1600', 1400), 'tun-mtu 1400');
  assert.equal(mtu('IV_MTU=1600', 9000), 'tun-mtu 1600');
  assert.equal(mtu('IV_MTU=100', 1500), undefined);
  assert.equal(mtu('IV_MTU=many', 1500), undefined);
  assert.equal(negotiatedFor(CIPHERS, undefined, { tunMtuBytes: 1400 }).tunMtuBytes, 1500);
});

test('tap and fragment are refused with a text', () => {
  for (const occ of ['V4,dev-type tap', 'V4,dev-type tun,mtu-dynamic']) {
    const result = resultFor(CIPHERS, occ);
    assert.ok(!result.ok);
    assert.match(result.message, /^[ -~]{1,200}$/);
  }
});

test('peer info: first occurrence wins, odd lines are skipped, garbage numbers count as absent', () => {
  const info = parsePeerInfo(
    [
      'IV_PROTO=2',
      'IV_PROTO=990',
      'X=1',
      'iv_lower=1',
      'UV_SITE=b=c',
      'noequals',
      '=x',
      `IV_LONG=${'v'.repeat(513)}`,
      'IV_BAD=a\tb',
      `IV_${'K'.repeat(30)}=1`,
      'IV_NCP=-2',
    ].join('\n'),
  );
  assert.deepEqual(
    [...info.values],
    [
      ['IV_PROTO', '2'],
      ['UV_SITE', 'b=c'],
      ['IV_NCP', '-2'],
    ],
  );
  assert.equal(info.ncpVersion, 0);
  assert.equal(parsePeerInfo('IV_PROTO=99999999999999').protocolBits, 0);
  assert.equal(parsePeerInfo(Array.from({ length: 1000 }, (_, at) => `IV_K${at}=1`).join('\n')).values.size, 128);
});

test('our options string mirrors the stock one', () => {
  assert.equal(
    serverOptionsText({ transport: 'udp', cipher: 'AES-256-GCM', tlsAuth: false, tunMtuBytes: 1500 }),
    'V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher AES-256-GCM,auth [null-digest],keysize 256,key-method 2,tls-server',
  );
  assert.equal(
    serverOptionsText({ transport: 'tcp', cipher: 'AES-128-GCM', tlsAuth: true, tunMtuBytes: 1500 }),
    'V4,dev-type tun,link-mtu 1551,tun-mtu 1500,proto TCPv4_SERVER,cipher AES-128-GCM,auth [null-digest],keysize 128,tls-auth,key-method 2,tls-server',
  );
});
