import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { TerminalError } from '../net/errors.ts';
import type { NativeAddon } from '../dataplane/io/native-addon.ts';

export interface ListenOptions {
  readonly transport: 'udp' | 'tcp';
  readonly port: number;
  readonly threads: number;
}

/** Numbers in this process. A data plane gets copies, and can do to them whatever holds for both. */
export interface OpenSockets {
  readonly udpTunnel: readonly number[];
  readonly udpControl: number | null;
  readonly tcp: readonly number[];
}

/** One tunnel thread up to two cores, else cores − 1 rounded down to a power of two, at most 4. */
export function tunnelThreads(cores: number): number {
  if (THREADS_FOR_TEST !== undefined) return 2 ** Math.floor(Math.log2(Math.max(1, THREADS_FOR_TEST)));
  return cores <= 2 ? 1 : Math.min(4, 2 ** Math.floor(Math.log2(cores - 1)));
}

/** Opens what the data plane listens on: all addresses, both families where the machine has IPv6. */
export async function openSockets(addon: NativeAddon, options: ListenOptions): Promise<OpenSockets> {
  const address = existsSync('/proc/net/if_inet6') ? '::' : '0.0.0.0';
  await refuseTakenPort(address, options);
  return options.transport === 'udp' ? openUdp(addon, address, options) : openTcp(addon, address, options);
}

export function closeSockets(addon: NativeAddon, sockets: OpenSockets): void {
  const control = sockets.udpControl === null ? [] : [sockets.udpControl];
  for (const fd of [...sockets.udpTunnel, ...control, ...sockets.tcp]) addon.close(fd);
}

/** Opens one TUN queue for each tunnel thread; the first makes the device, which lives until all are closed. */
export function openTunQueues(addon: NativeAddon, name: string, threads: number): readonly number[] {
  if (!existsSync(TUN_DEVICE)) throw new TerminalError(MISSING_TUN);
  if (existsSync(`/proc/sys/net/ipv4/conf/${name}`))
    throw new TerminalError(`There already is an interface ${name}. If no gateway uses it: ip link delete ${name}`);
  const queues: number[] = [];
  try {
    while (queues.length < threads) queues.push(addon.tunOpen({ name, multiQueue: true }).fd);
  } catch (cause) {
    for (const fd of queues) addon.close(fd);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TerminalError(`The TUN device ${name} could not be made (${why}). ${MISSING_TUN}`, { cause });
  }
  return queues;
}

function openUdp(addon: NativeAddon, address: string, { port, threads }: ListenOptions): OpenSockets {
  const opened: number[] = [];
  try {
    // The filter knows sockets by the order in which they were bound: tunnel threads first, control last.
    while (opened.length <= threads) {
      const buffers = { receiveBufferBytes: SOCKET_BUFFER_BYTES, sendBufferBytes: SOCKET_BUFFER_BYTES };
      opened.push(addon.udpOpen({ address, port, gro: opened.length < threads, ...buffers }).fd);
    }
    addon.udpSteer(opened[threads], threads);
  } catch (error) {
    for (const fd of opened) addon.close(fd);
    throw error;
  }
  return { udpTunnel: opened.slice(0, threads), udpControl: opened[threads], tcp: [] };
}

function openTcp(addon: NativeAddon, address: string, { port, threads }: ListenOptions): OpenSockets {
  const opened: number[] = [];
  try {
    while (opened.length < threads) opened.push(addon.tcpListen({ address, port }).fd);
  } catch (error) {
    for (const fd of opened) addon.close(fd);
    throw error;
  }
  return { udpTunnel: [], udpControl: null, tcp: opened };
}

/** Our sockets share their port; without this look, two gateways on one port would take each other's clients. */
async function refuseTakenPort(address: string, { transport, port }: ListenOptions): Promise<void> {
  try {
    if (transport === 'udp') {
      const probe = createSocket(address === '::' ? 'udp6' : 'udp4');
      try {
        probe.bind({ address, port, exclusive: true });
        await once(probe, 'listening');
      } finally {
        probe.close();
      }
    } else {
      const probe = createServer().listen({ host: address, port, exclusive: true });
      await once(probe, 'listening');
      probe.close();
      await once(probe, 'close');
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
    const find = `ss -${transport === 'udp' ? 'u' : 't'}lpn sport = :${port}`;
    throw new TerminalError(`Port ${port}/${transport} is taken by another program. To find it: ${find}`, { cause });
  }
}

function optionalNumber(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

const TUN_DEVICE = '/dev/net/tun';
const MISSING_TUN =
  `A gateway needs ${TUN_DEVICE}. On a machine of your own: modprobe tun. ` +
  'In a container: give it the device and the capability NET_ADMIN.';
/** Benches compare numbers of threads on one machine. */
const THREADS_FOR_TEST = optionalNumber(process.env['CLIENTVPN_THREADS_FOR_TEST']);
/** Asked for; the kernel grants at most rmem_max and wmem_max. Benches hold themselves to the default of those. */
const SOCKET_BUFFER_BYTES = Number(process.env['CLIENTVPN_SOCKET_BUFFER_FOR_TEST'] ?? 4 * 1024 * 1024);
