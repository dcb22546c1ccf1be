// Runs in a network namespace of its own: what is written to one TUN device the kernel forwards to another, from
// where it is read. Takes the job as JSON on standard input; packets are base64.
//
//   tunWrite → cvt-a (10.8.0.1/16) → forwarding → cvt-b (10.9.0.1/16) → tunRead → seal (which segments) → open
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { NativeBatch } from './native-batch.ts';

export interface ForwardingJob {
  /** Each batch is written with one call; then everything is read before the next. */
  readonly batches: readonly (readonly string[])[];
  /** Datagrams of this size sent in one run over a loopback whose MTU is 1,500. */
  readonly oversize?: { readonly count: number; readonly bytes: number };
}

export interface ForwardingResult {
  /** For each batch what came out, one entry per packet. */
  readonly batches: readonly (readonly string[])[];
  /** Packets and super-packets read for each batch. */
  readonly reads: readonly number[];
  readonly counters: Readonly<Record<string, number>>;
  readonly oversizeReceived: number;
  /** Whether TSO is on: near queue, the same as if inherited, far queue. */
  readonly offloads: readonly boolean[];
}

const addon = loadAddon();

function forward(job: ForwardingJob): ForwardingResult {
  const near = addon.tunOpen({ name: 'cvt-a', multiQueue: true });
  const inherited = addon.tunOffload(near.fd);
  const far = addon.tunOpen({ name: 'cvt-b', multiQueue: true });
  ip('addr add 10.8.0.1/16 dev cvt-a', 'addr add 10.9.0.1/16 dev cvt-b', 'link set lo mtu 1500 up');
  ip('link set cvt-a up', 'link set cvt-b up');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  // The cipher stands between, so that segments are made by what makes them in the tunnel.
  const spare = new Uint8Array(32).fill(1);
  const ivs = { encryptIv: new Uint8Array(8), decryptIv: new Uint8Array(8) };
  const cipher = { cipher: 'AES-128-GCM', epochFormat: false, ...ivs };
  const key = addon.keyInstall({ ...cipher, encryptKey: spare.subarray(0, 16), decryptKey: spare.subarray(0, 16) });
  const input = new NativeBatch(addon, { capacity: 512, bytes: 4 << 20, rows: 1 });
  const sealed = new NativeBatch(addon, { capacity: 2048, bytes: 4 << 20, rows: 1 });
  const poll = addon.pollCreate();
  addon.pollAdd(poll, far.fd, 1, false);
  const reads: number[] = [];
  const batches = job.batches.map((packets) => {
    addon.tunWrite(
      near.fd,
      input.handle,
      input.lay(packets.map((text) => Uint8Array.from(Buffer.from(text, 'base64')))),
      near.uso ? 1 : 0,
    );
    const out: string[] = [];
    let read = 0;
    while (out.length < packets.length && addon.pollWait(poll, 1000, new Int32Array(1), new Uint8Array(1)) > 0) {
      const count = addon.tunRead(far.fd, input.handle);
      const { verdict, key: keys, header, flags } = input.arrays;
      for (let slot = 0; slot < count; slot++) {
        // Router solicitations of the kernel's own are not part of the experiment.
        const isIpv4 = input.arrays.bytes[input.arrays.offset[slot]] >> 4 === 4;
        verdict[slot] = isIpv4 ? 2 : 0;
        read += isIpv4 ? 1 : 0;
        keys[slot] = key;
        header[slot] = 0x48000001;
        flags[slot] = 0;
      }
      for (let slot = 0; slot < count;) {
        slot = addon.seal(input.handle, slot, count, sealed.handle);
        addon.open(sealed.handle, sealed.arrays.count[0]);
        out.push(...sealed.packets(sealed.arrays.count[0]).map((packet) => Buffer.from(packet).toString('base64')));
      }
    }
    reads.push(read);
    return out;
  });
  return {
    batches,
    reads,
    offloads: [near, inherited, far].map(({ tso }) => tso),
    oversizeReceived: sendOversize(job),
    counters: addon.counters(),
  };
}

function sendOversize({ oversize }: ForwardingJob): number {
  if (oversize === undefined) return 0;
  const buffers = { receiveBufferBytes: 1 << 20, sendBufferBytes: 1 << 20 };
  const socket = addon.udpOpen({ address: '127.0.0.1', port: 0, gro: true, ...buffers });
  const sending = new NativeBatch(addon, { capacity: 64, bytes: 1 << 20, rows: 1 });
  const receiving = new NativeBatch(addon, { capacity: 4096, bytes: 4 << 20, rows: 64 });
  sending.arrays.remotes.set(addon.parseAddress('127.0.0.1', socket.port));
  const packets = Array.from({ length: oversize.count }, () => new Uint8Array(oversize.bytes));
  const count = sending.lay(packets);
  // Twice: the second time the size is known to be too large for a run.
  addon.udpSend(socket.fd, sending.handle, count);
  addon.udpSend(socket.fd, sending.handle, count);
  let received = 0;
  for (let got = 1; got > 0; received += got) got = addon.udpReceive(socket.fd, receiving.handle);
  return received;
}

function ip(...commands: readonly string[]): void {
  for (const command of commands) execFileSync('ip', command.split(' '));
}

if (import.meta.main) {
  const job = JSON.parse(readFileSync(0, 'utf8')) as ForwardingJob;
  process.stdout.write(JSON.stringify(forward(job)));
}
