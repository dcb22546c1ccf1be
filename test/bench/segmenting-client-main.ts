// A client that segments, for `make bench`: logs in as any client, then moves packets with the addon, TSO on its TUN and
// GSO and GRO on its socket. The plan is JSON on standard input; one line on standard output says that it is ready.
import { execFileSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import type { DataKeyMaterial } from '../../dataplane/data-channel.ts';
import {
  GRO_SEGMENTS_MAX,
  RECEIVE_REGION_BYTES,
  SlotVerdict,
  TUN_READ_BYTES,
} from '../../dataplane/io/native-addon.ts';
import { PacketBatch } from '../../dataplane/tunnel/packet-batch.ts';
import { PING_PAYLOAD } from '../../dataplane/tunnel/sealer.ts';
import { ClientDriver } from '../support/client-driver.ts';
import type { PushedSettings } from '../support/client-push.ts';
import { LabError } from '../support/netns.ts';

export interface SegmentingClientPlan {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Destination of the route through the tunnel. */
  readonly network: string;
  readonly bufferBytes: number;
}

const TUN = 'seg0';
const OPCODE_DATA_V2 = 9;
const PING_EVERY_MS = 5_000;
/** For the server to hear of the new socket. */
const READY_MS = 500;

const plan = JSON.parse(await text(process.stdin)) as SegmentingClientPlan;
const { settings, key } = await logIn(plan);
const addon = loadAddon();
const handle = addon.keyInstall({
  cipher: key.cipher,
  epochFormat: key.epochFormat,
  encryptKey: key.decryptKey,
  encryptIv: key.decryptIv,
  decryptKey: key.encryptKey,
  decryptIv: key.encryptIv,
});
const header = ((((OPCODE_DATA_V2 << 3) | key.keyId) << 24) | (settings.data.peerId ?? 0)) >>> 0;
const tun = addon.tunOpen({ name: TUN, multiQueue: false });
ip(
  `addr add ${settings.tunnelAddress ?? ''}/22 dev ${TUN}`,
  `link set ${TUN} up`,
  `route add ${plan.network} dev ${TUN}`,
);
const udp = addon.udpOpen({
  address: '0.0.0.0',
  port: 0,
  gro: true,
  receiveBufferBytes: plan.bufferBytes,
  sendBufferBytes: plan.bufferBytes,
}).fd;
const received = new PacketBatch(addon, {
  slots: 32 * GRO_SEGMENTS_MAX,
  bytes: 32 * RECEIVE_REGION_BYTES.gro,
  regionBytes: RECEIVE_REGION_BYTES.gro,
});
const read = new PacketBatch(addon, { slots: 64, bytes: 16 * TUN_READ_BYTES });
const sealed = new PacketBatch(addon, {
  slots: 2048,
  bytes: 2 << 20,
  remotes: addon.parseAddress(plan.host, plan.port),
});
const poll = addon.pollCreate();
addon.pollAdd(poll, tun.fd, 0, false);
addon.pollAdd(poll, udp, 1, false);
// Tells the server where we are from now on: it follows the newest valid packet.
ping();
setTimeout(() => process.stdout.write('ready\n', run), READY_MS);

function run(): void {
  const tags = new Int32Array(2);
  const events = new Uint8Array(2);
  for (;;) {
    const ready = addon.pollWait(poll, PING_EVERY_MS, tags, events);
    if (ready === 0) ping();
    for (let i = 0; i < ready; i++) {
      if (tags[i] === 0) sealAndSend(addon.tunRead(tun.fd, read.handle));
      else receive();
    }
  }
}

function receive(): void {
  const count = addon.udpReceive(udp, received.handle);
  for (let slot = 0; slot < count; slot++) {
    received.key[slot] = received.bytes[received.offset[slot]] >>> 3 === OPCODE_DATA_V2 ? handle : -1;
  }
  addon.open(received.handle, count);
  for (let slot = 0; slot < count; slot++) {
    const isPacket = received.length[slot] > 20 && received.bytes[received.offset[slot]] >>> 4 === 4;
    if (received.verdict[slot] === SlotVerdict.Opened && isPacket) received.verdict[slot] = SlotVerdict.Send;
  }
  addon.tunWrite(tun.fd, received.handle, count, tun.uso ? 1 : 0);
}

function ping(): void {
  read.bytes.set(PING_PAYLOAD);
  read.setPlain(0, 0, PING_PAYLOAD.length);
  sealAndSend(1);
}

function sealAndSend(count: number): void {
  for (let slot = 0; slot < count; slot++) {
    read.key[slot] = handle;
    read.header[slot] = header;
    read.peer[slot] = 0;
    read.verdict[slot] = SlotVerdict.Send;
  }
  for (let from = 0; from < count;) {
    const next = addon.seal(read.handle, from, count, sealed.handle);
    addon.udpSend(udp, sealed.handle, sealed.count[0]);
    if (next <= from) return;
    from = next;
  }
}

async function logIn({ host, port, ca, certificate, key: keyPem }: SegmentingClientPlan): Promise<Login> {
  return new Promise((resolve, reject) => {
    let settings: PushedSettings | undefined;
    const driver = new ClientDriver({
      host,
      port,
      tls: { ca, cert: certificate, key: keyPem },
      config: { pushRequestMs: 100 },
      onOutput: (output) => {
        if (output.kind === 'connected') settings = output.settings;
        else if (output.kind === 'closed') reject(new LabError(`The login ended: ${output.reason}`));
        else if (output.kind === 'dataKey' && settings !== undefined) {
          const login = { settings, key: output.key };
          setImmediate(() => {
            // No goodbye: the session goes on from another socket.
            driver.close();
            resolve(login);
          });
        }
      },
    });
    driver.start();
  });
}

interface Login {
  readonly settings: PushedSettings;
  readonly key: DataKeyMaterial;
}

function ip(...commands: readonly string[]): void {
  for (const command of commands) execFileSync('ip', command.split(' '));
}
