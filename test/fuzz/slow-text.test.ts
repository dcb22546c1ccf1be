import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { matchTotp } from '../../dataplane/auth/totp.ts';
import { parseStaticChallengeAnswer } from '../../dataplane/auth/static-challenge.ts';
import { checkToken } from '../../dataplane/protocol/auth-token.ts';
import { parsePasswordField } from '../../dataplane/protocol/challenge.ts';
import { parseClientMessage } from '../../dataplane/protocol/control-message.ts';
import { KeyMethodParser } from '../../dataplane/protocol/key-method.ts';
import { negotiate } from '../../dataplane/protocol/negotiation.ts';
import { parseClientOptions } from '../../dataplane/protocol/occ-options.ts';
import { parsePeerInfo } from '../../dataplane/protocol/peer-info.ts';
import { encodeClientKeyMethod } from '../support/client-key-method.ts';

/** As much as a client can say at once. */
const LENGTH = 65_000;
/** What patterns repeat over: white space, line ends, separators, digits, letters of base64 and base32, padding. */
const UNITS = [
  '\n',
  '\r\n',
  ' ',
  '\t',
  ',',
  '=',
  'A=',
  ':',
  '%',
  '0',
  'a',
  'A',
  '-',
  '\\',
  '"',
  '[',
  '\u00e9',
  '\u0085',
];
const LIMITS = { lifetimeS: 1, renewalS: 1, nowS: 0 };
const POLICY = { ciphers: ['AES-256-GCM'], fallbackCipher: null, tunMtuBytes: 1500, allowEpoch: true } as const;

/** Everything that reads a text which a client may send before it has proven who it is. */
function readAll(text: string): void {
  parseClientMessage(Buffer.from(text, 'utf8'));
  parseClientMessage(Buffer.from(`CR_RESPONSE,${text}`, 'utf8'));
  negotiate(parsePeerInfo(text), parseClientOptions(text), POLICY);
  negotiate(parsePeerInfo(`IV_CIPHERS=${text}\n`), parseClientOptions(`V4,${text}`), POLICY);
  parsePasswordField(text);
  parsePasswordField(`CRV1::${text}::${text}`);
  parseStaticChallengeAnswer(`SCRV1:${text}:${text}`);
  matchTotp(new Uint8Array(20), text, 0, -1);
  checkToken(new Uint8Array(32), text, `SESS_ID_AT_${text}`, LIMITS);
  const source = { preMaster: new Uint8Array(48), random1: new Uint8Array(32), random2: new Uint8Array(32) };
  const said = { options: text, username: text, password: text, peerInfo: text };
  new KeyMethodParser().push(encodeClientKeyMethod({ framing: 'aws', source, ...said }));
}

if (process.argv[2] === 'read') {
  for (const unit of UNITS) for (const end of ['', 'x', '\n', '\0']) readAll(unit.repeat(LENGTH / unit.length) + end);
  process.exit(0);
}

test('no text of a client stalls the thread that reads it', () => {
  // A pattern that goes back and forth over 65,000 characters takes many seconds; all of this together takes one or two.
  const run = spawnSync(process.execPath, [import.meta.filename, 'read'], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(run.error, undefined);
  assert.equal(run.status, 0, run.stderr);
});
