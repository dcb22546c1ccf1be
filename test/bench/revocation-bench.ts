// How long a revocation list of the guide's full size takes to read, signature included, in each form that a Secret or
// ConfigMap may hold it: in a process that has just started, and again and again in one.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { mint, pem, revocationListDer } from '../support/certificates.ts';
import type { BenchContext } from './bench-context.ts';
import { Contention } from './machine.ts';
import { medianOf } from './report.ts';
import { timedReading } from './revocation-reading.ts';

export async function benchRevocation(context: BenchContext): Promise<void> {
  const { report, runs } = context;
  const contention = new Contention();
  const authority = await mint({ commonName: 'bench ca', authority: true });
  const der = revocationListDer({ authority, serials: serials(), withReasons: true });
  const text = Buffer.from(pem('X509 CRL', der));
  const forms = { PEM: text, DER: der, 'PEM, gzip': gzipSync(text), 'DER, gzip': gzipSync(der) };
  const folder = mkdtempSync(join(tmpdir(), `cvt-${process.pid}-bench-crl-`));
  try {
    const ca = join(folder, 'ca.pem');
    writeFileSync(ca, authority.certificatePem);
    const rows = Object.entries(forms).map(([name, bytes]) => {
      const list = join(folder, 'list');
      writeFileSync(list, bytes);
      const cold = Array.from({ length: runs }, () => readInNewProcess(list, ca));
      const warm = Array.from({ length: WARM_RUNS + runs }, () => timedReading(bytes, authority.certificatePem)).slice(
        WARM_RUNS,
      );
      report.keep(`revocation-${name}`, { bytes: bytes.length, cold, warm });
      const shown = [medianOf(cold), Math.max(...cold), medianOf(warm)].map((ms) => ms.toFixed(1));
      return [name, String(Math.round(bytes.length / 1024)), ...shown];
    });
    report.say(`A revocation list of ${ENTRIES} entries, parsed and verified, ${runs} runs`);
    report.table(['', 'KiB', 'ms, new process, median', 'slowest', 'ms, warm'], rows);
  } finally {
    rmSync(folder, { recursive: true });
  }
  context.sayContention(contention);
}

function readInNewProcess(list: string, ca: string): number {
  return Number(execFileSync(process.execPath, [PROGRAM, list, ca], { encoding: 'utf8' }));
}

/** 16 bytes each, spread and in no order, as most CAs number. */
function serials(): readonly string[] {
  return Array.from({ length: ENTRIES }, (_, index) =>
    (2n ** 126n + ((BigInt(index) * STRIDE) % 2n ** 125n)).toString(16),
  );
}

const PROGRAM = new URL('revocation-read-main.ts', import.meta.url).pathname;
const ENTRIES = 20_000;
const STRIDE = 0x1f3d_5b79_97b5_d3f1_1f3d_5b79n;
const WARM_RUNS = 10;
