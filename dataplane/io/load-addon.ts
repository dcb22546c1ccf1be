import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InternalError, TerminalError } from '../../net/errors.ts';
import type { BatchArrays, BatchHandle, NativeAddon } from './native-addon.ts';
import { RECEIVE_REGION_BYTES, SlotVerdict } from './native-addon.ts';
import { formatAddress, parseAddress } from './socket-address.ts';

/**
 * Loads the native addon into the calling thread: `dataplane/native/build/Release/clientvpn.node` of the package this
 * file belongs to, whether it runs from source or from `dist/`. CLIENTVPN_ADDON_BUILD=Debug takes the sanitized build.
 *
 * @throws TerminalError when the addon is not built or does not load.
 */
export function loadAddon(): NativeAddon {
  const build = process.env['CLIENTVPN_ADDON_BUILD'] === 'Debug' ? 'Debug' : 'Release';
  const path = join(packageRoot(), 'dataplane', 'native', 'build', build, 'clientvpn.node');
  if (!existsSync(path)) throw new TerminalError(`The native addon ${path} is missing: run make build`);
  try {
    // The addon's own tests hold it to this type.
    return withColdCalls(createRequire(import.meta.url)(path) as NativeBinding);
  } catch (cause) {
    throw new TerminalError(`The native addon ${path} does not load: run make build again`, { cause });
  }
}

type Hot = Omit<NativeAddon, keyof ColdCalls>;
type ColdCalls = Pick<
  NativeAddon,
  | 'registerBatch'
  | 'udpOpen'
  | 'udpSendTo'
  | 'tunOpen'
  | 'tunOffload'
  | 'keyInstall'
  | 'tcpListen'
  | 'pollAdd'
  | 'pollModify'
  | 'pidNamespace'
  | 'keyForwardForTest'
  | 'counters'
  | 'counterNames'
  | 'monotonicMs'
  | 'formatAddress'
  | 'parseAddress'
>;

/** What module.cc exports: numbers and typed arrays only. `facts` are written as described there. */
interface NativeBinding extends Hot {
  registerBatch(arrays: BatchArrays, regionBytes: number): BatchHandle;
  udpOpen(local: Uint8Array, gro: number, receiveBufferBytes: number, sendBufferBytes: number, facts: Int32Array): void;
  tunOpen(name: string, multiQueue: number, facts: Int32Array): void;
  tunOffload(fd: number, facts: Int32Array): void;
  keyInstall(
    cipher: number,
    epochFormat: number,
    encryptKey: Uint8Array,
    encryptIv: Uint8Array,
    decryptKey: Uint8Array,
    decryptIv: Uint8Array,
  ): number;
  keyForwardForTest(handle: number, packetId: Float64Array, epoch: number): void;
  tcpListen(local: Uint8Array, facts: Int32Array): void;
  monotonicNs(): number;
  pollAdd(poll: number, fd: number, tag: number, write: number): void;
  pollModify(poll: number, fd: number, tag: number, write: number): void;
  pidNamespace(own: number, isNew: number): number;
}

/** Options become positional numbers here, so that the native side parses no objects; hot calls go straight through. */
function withColdCalls(native: NativeBinding): NativeAddon {
  const names = COUNTER_NAMES;
  const registerBatch = (arrays: BatchArrays): BatchHandle =>
    native.registerBatch(arrays, arrays.regionBytes ?? RECEIVE_REGION_BYTES.gro);
  return {
    ...native,
    registerBatch,
    udpOpen: ({ address, port, gro, receiveBufferBytes, sendBufferBytes }) => {
      const facts = new Int32Array(6);
      native.udpOpen(parseAddress(address, port), gro ? 1 : 0, receiveBufferBytes, sendBufferBytes, facts);
      const [fd, hasGro, hasGso, boundPort, receiveGranted, sendGranted] = facts;
      const granted = { receiveBufferBytes: receiveGranted, sendBufferBytes: sendGranted };
      return { fd, gro: hasGro !== 0, gso: hasGso !== 0, port: boundPort, ...granted };
    },
    udpSendTo: singleSender(native, registerBatch),
    tunOpen: ({ name, multiQueue }) => {
      const facts = new Int32Array(3);
      native.tunOpen(name, multiQueue ? 1 : 0, facts);
      return { fd: facts[0], tso: facts[1] !== 0, uso: facts[2] !== 0 };
    },
    tunOffload: (fd) => {
      const facts = new Int32Array(3);
      native.tunOffload(fd, facts);
      return { tso: facts[1] !== 0, uso: facts[2] !== 0 };
    },
    keyInstall: ({ cipher, epochFormat, encryptKey, encryptIv, decryptKey, decryptIv }) =>
      native.keyInstall(CIPHERS.indexOf(cipher), epochFormat ? 1 : 0, encryptKey, encryptIv, decryptKey, decryptIv),
    keyForwardForTest: (handle, packetId, epoch) => native.keyForwardForTest(handle, Float64Array.of(packetId), epoch),
    tcpListen: ({ address, port }) => {
      const facts = new Int32Array(2);
      native.tcpListen(parseAddress(address, port), facts);
      return { fd: facts[0], port: facts[1] };
    },
    pollAdd: (poll, fd, tag, write) => native.pollAdd(poll, fd, tag, write ? 1 : 0),
    pidNamespace: (own, isNew) => native.pidNamespace(own, isNew ? 1 : 0),
    pollModify: (poll, fd, tag, write) => native.pollModify(poll, fd, tag, write ? 1 : 0),
    counters: () => {
      const values = new Float64Array(names.length);
      native.countersInto(values);
      return Object.fromEntries(names.map((name, index) => [name, values[index]]));
    },
    counterNames: () => names,
    monotonicMs: () => native.monotonicNs() / 1e6,
    formatAddress,
    parseAddress,
  };
}

/** A batch of one slot, made when it is first needed: control packets are few. */
function singleSender(native: NativeBinding, registerBatch: NativeAddon['registerBatch']): NativeAddon['udpSendTo'] {
  let single: { arrays: BatchArrays; handle: BatchHandle } | undefined;
  return (fd, bytes, remote) => {
    if (single === undefined) {
      const arrays = singleSlot();
      single = { arrays, handle: registerBatch(arrays) };
    }
    const { arrays, handle } = single;
    arrays.bytes.set(bytes);
    arrays.length[0] = bytes.length;
    if (remote.length < arrays.remotes.length) throw new InternalError('Expected the address of a remote');
    arrays.remotes.set(remote.subarray(0, arrays.remotes.length));
    const sent = native.udpSend(fd, handle, 1);
    return sent === 1 ? bytes.length : Math.min(sent, -NOT_TAKEN);
  };
}

function singleSlot(): BatchArrays {
  return {
    bytes: new Uint8Array(65_536),
    offset: new Uint32Array(1),
    length: new Uint32Array(1),
    verdict: Uint8Array.of(SlotVerdict.Send),
    key: Int32Array.of(-1),
    peer: new Int32Array(1),
    source: new Int32Array(1),
    packetId: new Float64Array(1),
    epoch: new Uint16Array(1),
    header: new Uint32Array(1),
    flags: new Uint8Array(1),
    segmentBytes: new Uint16Array(1),
    headerBytes: new Uint16Array(1),
    offload: new Uint8Array(1),
    checksumStart: new Uint16Array(1),
    checksumOffset: new Uint16Array(1),
    remotes: new Uint8Array(64),
    count: new Uint32Array(1),
  };
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** In the order of keyInstall in aead.cc. */
const CIPHERS: readonly string[] = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'];
/** In the order of Counters in addon.h. */
const COUNTER_NAMES: readonly string[] = [
  'receiveCalls',
  'receivedDatagrams',
  'receiveTruncated',
  'sendCalls',
  'sentDatagrams',
  'sendErrors',
  'gsoRuns',
  'gsoRefused',
  'tunReads',
  'tunReadPackets',
  'tunWrites',
  'tunWrittenPackets',
  'tunWriteErrors',
  'coalescedRuns',
  'openCalls',
  'opened',
  'openFailed',
  'sealCalls',
  'sealed',
  'sealFailed',
];
/** EAGAIN: what a caller that only asks "was it sent" needs to know. */
const NOT_TAKEN = 11;
