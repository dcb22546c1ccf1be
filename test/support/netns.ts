import { execFileSync, spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LAB_PREFIX, removeFolder, removeNamespace, sweepLeftovers } from './sweep.ts';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One network namespace of a lab. */
export class Namespace {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** Runs a command inside to its end, whatever its status. */
  run(command: string, ...arguments_: readonly string[]): CommandResult {
    const result = spawnSync('ip', ['netns', 'exec', this.name, command, ...arguments_], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    if (result.error !== undefined) throw result.error;
    return { status: result.status ?? -1, stdout: result.stdout, stderr: result.stderr };
  }

  /** Runs a command that has to succeed. @returns its standard output. */
  must(command: string, ...arguments_: readonly string[]): string {
    const { status, stdout, stderr } = this.run(command, ...arguments_);
    if (status !== 0)
      throw new LabError(`${command} ${arguments_.join(' ')} in ${this.name}: status ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Sets parameters of the kernel, each as `net.ipv4.ip_forward=1`; sysctl(8) is not on every machine. */
  setKernel(...settings: readonly string[]): void {
    const writes = settings.map((setting) => {
      const [name = '', value = ''] = setting.split('=');
      return `echo ${value} >/proc/sys/${name.replaceAll('.', '/')}`;
    });
    this.must('sh', '-c', writes.join(' && '));
  }

  /** With mounts of its own, as `ip netns exec` gives it, which hides the control groups besides. */
  spawn(command: string, arguments_: readonly string[], options: SpawnOptions): ChildProcess {
    const unshare = ['unshare', '--mount', '--propagation', 'slave', '--'];
    return spawn('nsenter', [`--net=/run/netns/${this.name}`, '--', ...unshare, command, ...arguments_], options);
  }

  /** Runs the lines as one `ip -batch`. */
  ip(...lines: readonly string[]): void {
    const input = `${lines.join('\n')}\n`;
    const result = spawnSync('ip', ['-netns', this.name, '-batch', '-'], { input, encoding: 'utf8' });
    if (result.status !== 0) throw new LabError(`ip -batch in ${this.name}: ${result.stderr}`);
  }

  /** Whether one echo request of this payload size is answered within a second. */
  ping(address: string, options: { readonly payloadBytes?: number; readonly mayFragment?: boolean } = {}): boolean {
    const size = String(options.payloadBytes ?? 56);
    const fragment = options.mayFragment === false ? ['-M', 'do'] : [];
    return this.run('ping', '-n', '-c', '1', '-W', '1', '-s', size, ...fragment, address).status === 0;
  }
}

/** Something about the lab itself went wrong, not about what is tested. */
export class LabError extends Error {
  override readonly name = 'LabError';
}

/**
 * The world of the tests, cut off from the machine's network:
 *
 *   client 1 … n ──── bridge, wan, router ──── gateway ──── target
 *   10.99.0.11 …      .254         10.98.0.254   .1 | 10.60.0.1   .2 and the addresses of TARGETS
 *
 * The target has no route to the tunnel's addresses, so that an answer proves translation. Clients, wan and the target
 * also speak IPv6, so that a leak could be seen.
 */
export class Lab {
  readonly gateway: Namespace;
  readonly target: Namespace;
  readonly wan: Namespace;
  readonly clients: readonly Namespace[];
  /** Removed with the lab. */
  readonly folder: string;
  readonly #stack = new DisposableStack();

  constructor(options: { readonly clients: number }) {
    sweepLeftovers();
    const prefix = `${LAB_PREFIX}${process.pid}-${nextLab++}-`;
    process.once('exit', this.#disposeAtExit);
    this.folder = mkdtempSync(join(tmpdir(), prefix));
    this.#stack.defer(() => removeFolder(this.folder));
    this.wan = this.#add(`${prefix}wan`);
    this.gateway = this.#add(`${prefix}gateway`);
    this.target = this.#add(`${prefix}target`);
    this.clients = Array.from({ length: options.clients }, (_, index) => this.#add(`${prefix}client${index + 1}`));
    this.#connectWan();
    this.#connectTarget();
  }

  client(index = 0): Namespace {
    const client = this.clients[index];
    if (client === undefined)
      throw new LabError(`The lab has ${this.clients.length} clients; number ${index} was asked for`);
    return client;
  }

  [Symbol.dispose](): void {
    process.removeListener('exit', this.#disposeAtExit);
    this.#stack.dispose();
  }

  readonly #disposeAtExit = (): void => this.#stack.dispose();

  #add(name: string): Namespace {
    execFileSync('ip', ['netns', 'add', name]);
    this.#stack.defer(() => removeNamespace(name));
    const namespace = new Namespace(name);
    // Addresses can be used at once, and none appears later.
    namespace.setKernel('net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.default.addr_gen_mode=1');
    namespace.ip('link set lo up');
    return namespace;
  }

  #connectWan(): void {
    this.wan.setKernel('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    this.wan.ip(
      'link add br0 type bridge',
      'link set br0 up',
      'addr add 10.99.0.254/24 dev br0',
      'addr add fd99::fe/64 dev br0',
      `addr add ${INTERNET_IPV6}/128 dev lo`,
      `link add gate type veth peer name wan0 netns ${this.gateway.name}`,
      'link set gate up',
      'addr add 10.98.0.254/24 dev gate',
      'addr add fd97::fe/64 dev gate',
      // Who forwards asks for a neighbour from its own link-local address.
      'addr add fe80::fe/64 dev br0',
      'addr add fe80::fe/64 dev gate',
    );
    this.gateway.ip(
      'link set wan0 up',
      `addr add ${GATEWAY_ADDRESS}/24 dev wan0`,
      `addr add ${GATEWAY_IPV6}/64 dev wan0`,
      'route add 10.99.0.0/24 via 10.98.0.254',
      'route add fd99::/64 via fd97::fe',
    );
    for (const [index, client] of this.clients.entries()) {
      const last = 11 + index;
      this.wan.ip(
        `link add port${index} type veth peer name wan0 netns ${client.name}`,
        `link set port${index} master br0 up`,
      );
      client.ip(
        'link set wan0 up',
        `addr add 10.99.0.${last}/24 dev wan0`,
        `addr add fd99::${last}/64 dev wan0`,
        'route add default via 10.99.0.254',
        'route add default via fd99::fe',
      );
    }
  }

  #connectTarget(): void {
    this.gateway.ip(
      `link add lan0 type veth peer name lan0 netns ${this.target.name}`,
      'link set lan0 up',
      'addr add 10.60.0.1/24 dev lan0',
      'route add default via 10.60.0.2',
    );
    this.target.ip(
      'link set lan0 up',
      'addr add 10.60.0.2/24 dev lan0',
      ...Object.values(TARGETS).map((a) => `addr add ${a}/32 dev lan0`),
    );
  }
}

export const GATEWAY_ADDRESS = '10.98.0.1';
export const GATEWAY_IPV6 = 'fd97::1';
/** The source address the target sees of everybody behind the gateway. */
export const TRANSLATED_ADDRESS = '10.60.0.1';
/** Answers pings of clients over IPv6 unless the tunnel draws them in. */
export const INTERNET_IPV6 = 'fd98::1';

/** Addresses of the target machine; the networks are those of the guide's examples. */
export const TARGETS = {
  onPremises: '172.16.0.10',
  onPremisesUpper: '172.16.0.200',
  development: '10.0.1.10',
  developmentHost: '10.0.2.119',
  vpc: '192.168.0.10',
  network10_1: '10.1.0.10',
  network172_131: '172.131.0.10',
  internet: '198.18.0.10',
} as const;

let nextLab = 1;
