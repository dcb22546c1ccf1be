import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { mint, SERVER_AUTH } from '../../../support/certificates.ts';

const SERVER = join(import.meta.dirname, '..', '..', '..', 'support', 'tls-server-main.ts');

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: nothing of what a client said is left in memory once it is handed on`, async () => {
    const server = await mint({ commonName: 'vpn.example.com', usages: [SERVER_AUTH] });
    const env = { ...process.env, TLS_CREDENTIALS: JSON.stringify({ ...server, clientCaPem: null }) };
    const child = spawn(process.execPath, [SERVER], { stdio: 'pipe', env });
    const socket = Duplex.from({ readable: child.stdout, writable: child.stdin });
    const client = connect({ socket, minVersion: version, maxVersion: version, rejectUnauthorized: false });
    try {
      await once(client, 'secureConnect');
      const secret = randomBytes(2_000);
      client.write(secret);
      assert.equal(String((await once(child.stderr, 'data'))[0]), 'done');
      for (const at of [0, 500, 1_000, 1_984])
        assert.equal(isInMemory(child.pid ?? 0, secret.subarray(at, at + 16)), false, `byte ${at}`);
    } finally {
      client.on('error', () => undefined);
      child.kill('SIGKILL');
    }
  });
}

function isInMemory(pid: number, needle: Buffer): boolean {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8')
      .split('\n')
      .flatMap((line) => {
        const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
        return from === undefined || to === undefined ? [] : [[Number(`0x${from}`), Number(`0x${to}`)]];
      })
      .some(([from, to]) => piecesOf(memory, from, to).some((piece) => piece.includes(needle)));
  } finally {
    closeSync(memory);
  }
}

/** Whole regions where they are small; reserved ones of gigabytes cannot be read and are passed over. */
function piecesOf(memory: number, from: number, to: number): Buffer[] {
  if (to - from > 256 * 1024 * 1024) return [];
  const piece = Buffer.alloc(to - from);
  try {
    return [piece.subarray(0, readSync(memory, piece, 0, piece.length, from))];
  } catch {
    return [];
  }
}
