import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { extname, join, sep } from 'node:path';
import { once } from 'node:events';
import type { Duplex, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '../api/connection.ts';
import type { DataPlaneConfig } from '../api/data-plane-config.ts';
import type {
  DataPlaneDescriptors,
  DataPlaneMessage,
  DataPlaneStart,
  SupervisorMessage,
} from '../dataplane/process-messages.ts';
import { InternalError, ProtocolError, TransientError } from '../net/errors.ts';
import { readJsonLines } from '../dataplane/io/json-lines.ts';
import type { Enclosure } from './enclosure.ts';
import type { LentOutput } from './log-output.ts';
import { longestMessages, withMemory } from './message-bound.ts';
import { MessageBudget } from './message-budget.ts';
import { isDataPlaneMessage } from './message-shape.ts';
import { processIdentity, type ProcessIdentity } from './process-identity.ts';
import { DATA_PLANE_END_MS, GOODBYE_MS } from './stop-limits.ts';

export type DataPlaneNotice = Exclude<DataPlaneMessage, { kind: 'connections' } | { kind: 'terminated' }>;

export interface DataPlaneProcessOptions {
  readonly enclosure: Enclosure;
  /** Descriptors of this process. */
  readonly descriptors: DataPlaneDescriptors;
  /** Becomes its standard output and its standard error. */
  readonly output: LentOutput;
  readonly start: Omit<DataPlaneStart, 'descriptors'>;
  readonly onNotice: (notice: DataPlaneNotice) => void;
}

export interface DataPlaneExit {
  /** Why it could not even be started, or could not go on. */
  readonly error?: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One run of the data plane: user 65532, no capability, no way to gain one; what it starts ends with it. */
export class DataPlaneProcess {
  readonly identity: ProcessIdentity | undefined;
  readonly exited: Promise<DataPlaneExit>;
  readonly #child: ChildProcess;
  /** Undefined for a process that could not be started. */
  readonly #channel: Duplex | undefined;
  readonly #requests = new Map<number, (answer: DataPlaneMessage | undefined) => void>();
  readonly #budget: MessageBudget;
  #lastRequest = 0;
  #fault: string | undefined;

  constructor(options: DataPlaneProcessOptions) {
    const { stdio, descriptors } = passOn(options);
    const [command, ...rest] = dataPlaneCommand();
    // In a session of its own it has no terminal: into root's, whoever takes it over could type.
    const environment = { cwd: '/', env: childEnvironment(), detached: true };
    this.#child = options.enclosure.start(() => spawn(command, rest, { stdio, ...environment }));
    options.output.release();
    this.identity = identityOf(this.#child);
    const { config, memory } = options.start;
    this.#budget = new MessageBudget(() => performance.now(), withMemory(longestMessages(config), memory));
    const ended = new Promise<DataPlaneExit>((resolve) => {
      this.#child.once('error', (error) => resolve({ error: error.message, code: null, signal: null }));
      this.#child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.exited = ended.then((exit) => this.#hearOut(exit));
    // The fourth entry of stdio is always 'pipe', which Node makes a connected pair of sockets. Without a descriptor
    // left for it there is no stdio at all, whatever the types say, and 'error' follows.
    this.#channel = (this.#child.stdio as ChildProcess['stdio'] | undefined)?.[CHANNEL_FD] as Duplex | undefined;
    if (this.#channel === undefined) return;
    // What the system says of the pipe follows from the end of the process; a fault of ours is why the process ends.
    this.#channel.on('error', (error) => {
      if (error instanceof InternalError) this.#fault = error.message;
      // Nothing of ours sends that: whoever does will not say goodbye either.
      if (error instanceof ProtocolError) this.#killFor(error.message);
    });
    // Without its channel it obeys nobody any more. It ends by itself, or is ended.
    for (const event of ['end', 'close']) this.#channel.once(event, () => this.#killAfterGoodbye());
    readJsonLines(
      this.#channel,
      (head) => this.#budget.mostBytes(head),
      (value, bytes) => this.#onMessage(value, bytes, options.onNotice),
    );
    this.#send({ kind: 'start', start: { ...options.start, descriptors } });
  }

  apply(config: DataPlaneConfig): void {
    this.#budget.widen(longestMessages(config));
    this.#budget.expect('applied', 'rejected');
    this.#send({ kind: 'config', config });
  }

  manifestsJudged(areRefused: boolean): void {
    this.#send({ kind: 'manifestsJudged', areRefused });
  }

  codesKept(sequence: number): void {
    this.#budget.expect('codesUsed');
    this.#send({ kind: 'codesKept', sequence });
  }

  async connections(): Promise<readonly Connection[]> {
    this.#budget.expect('connections');
    const answer = await this.#request((requestId) => ({ kind: 'listConnections', requestId }));
    return answer.kind === 'connections' ? answer.connections : [];
  }

  /** @returns whether there was such an active connection. */
  async terminate(connectionId: string): Promise<boolean> {
    this.#budget.expect('terminated');
    const answer = await this.#request((requestId) => ({ kind: 'terminate', requestId, connectionId }));
    return answer.kind === 'terminated' && answer.found;
  }

  /** Says goodbye to the clients and ends; a process that does not is killed. */
  async shutdown(): Promise<void> {
    this.#send({ kind: 'shutdown', limitMs: GOODBYE_MS });
    this.#killAfterGoodbye();
    await this.exited;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #killAfterGoodbye(): void {
    const timer = setTimeout(() => this.kill(), GOODBYE_MS + DATA_PLANE_END_MS);
    void this.exited.then(() => clearTimeout(timer));
  }

  #killFor(fault: string): void {
    this.#fault ??= fault;
    this.kill();
    this.#channel?.destroy();
  }

  /** What it said last is heard. The other end of its channel may have got to somebody who goes on. */
  async #hearOut(exit: DataPlaneExit): Promise<DataPlaneExit> {
    const channel = this.#channel;
    if (channel?.closed === false) {
      // What is wrong with it is told elsewhere.
      const closed = once(channel, 'close').catch(() => undefined);
      await Promise.race([closed, delay(LAST_WORDS_MS, undefined, { ref: false })]);
    }
    channel?.destroy();
    this.#settleAll();
    return this.#fault === undefined ? exit : { ...exit, error: this.#fault };
  }

  async #request(message: (requestId: number) => SupervisorMessage): Promise<DataPlaneMessage> {
    const requestId = ++this.#lastRequest;
    const answered = new Promise<DataPlaneMessage | undefined>((resolve) => this.#requests.set(requestId, resolve));
    const timer = setTimeout(() => this.#settle(requestId, undefined), ANSWER_LIMIT_MS);
    this.#send(message(requestId));
    const answer = await answered;
    clearTimeout(timer);
    if (answer === undefined) throw new TransientError('The data plane does not answer');
    return answer;
  }

  #onMessage(message: unknown, bytes: number, onNotice: (notice: DataPlaneNotice) => void): void {
    // It is being killed: what is left in the pipe is worth no more than what it was killed for.
    if (this.#fault !== undefined) return;
    if (!isDataPlaneMessage(message)) return this.#killFor('it says what has no meaning');
    const objection = this.#budget.objection(message.kind, bytes);
    if (objection !== null) this.#killFor(objection);
    else if (message.kind === 'connections' || message.kind === 'terminated') this.#settle(message.requestId, message);
    else onNotice(message);
  }

  #settle(requestId: number, answer: DataPlaneMessage | undefined): void {
    this.#requests.get(requestId)?.(answer);
    this.#requests.delete(requestId);
  }

  #settleAll(): void {
    for (const requestId of this.#requests.keys()) this.#settle(requestId, undefined);
  }

  #send(message: SupervisorMessage): void {
    if (this.#channel?.destroyed !== false) return;
    // It may ask for answers without end.
    if (this.#channel.writableLength > UNREAD_BYTES_MOST) this.#killFor('it does not read what it is told');
    else this.#channel.write(`${JSON.stringify(message)}\n`);
  }
}

/** Undefined also where there is no descriptor to look with: the process ends with its channel in any case. */
function identityOf({ pid }: ChildProcess): ProcessIdentity | undefined {
  try {
    return pid === undefined ? undefined : processIdentity(pid);
  } catch {
    return undefined;
  }
}

/** Descriptors in the child are 0–2, the channel, then ours in order. */
function passOn({ descriptors: ours, output }: DataPlaneProcessOptions): {
  stdio: StdioOptions;
  descriptors: DataPlaneDescriptors;
} {
  const stdio: (number | Writable | 'ignore' | 'inherit' | 'pipe')[] = ['ignore', output.stdio, output.stdio, 'pipe'];
  const pass = (fd: number): number => stdio.push(fd) - 1;
  const descriptors = {
    udpTunnel: ours.udpTunnel.map(pass),
    udpControl: ours.udpControl === null ? null : pass(ours.udpControl),
    tcp: ours.tcp.map(pass),
    tun: ours.tun.map(pass),
  };
  return { stdio, descriptors };
}

function dataPlaneCommand(): readonly [string, ...string[]] {
  const root = join(import.meta.dirname, '..');
  const program = join(root, 'dataplane', `main${extname(import.meta.filename)}`);
  const run = [process.execPath, YOUNG_GENERATION, NO_DEBUGGER, program, '--channel-fd', String(CHANNEL_FD)];
  if (isReadable(process.execPath) && isReadable(program)) return ['setpriv', ...UNPRIVILEGED, '--', ...run];
  // A checkout below a private home folder: a view of it that only this child's mount namespace has.
  const checkout = installationRoot();
  const moved = run.map((part) => (part.startsWith(checkout + sep) ? join(VIEW, part.slice(checkout.length)) : part));
  const script = `mount --rbind "$1" ${VIEW} && shift && exec setpriv "$@"`;
  return ['unshare', '--mount', '--', 'sh', '-c', script, 'sh', checkout, ...UNPRIVILEGED, '--', ...moved];
}

/** The folder that holds node_modules: the parent of dist/ for a compiled run. */
function installationRoot(): string {
  const root = join(import.meta.dirname, '..');
  return root.endsWith(`${sep}dist`) ? join(root, '..') : root;
}

function isReadable(path: string): boolean {
  const { status } = spawnSync('setpriv', [...UNPRIVILEGED, '--', 'test', '-r', path], { stdio: 'ignore' });
  return status === 0;
}

/** Nothing of the environment that might be secret; what starts with CLIENTVPN_ is meant for us. */
function childEnvironment(): NodeJS.ProcessEnv {
  const wanted = Object.entries(process.env).filter(
    ([name]) => ENVIRONMENT.includes(name) || name.startsWith('CLIENTVPN_'),
  );
  return Object.fromEntries(wanted);
}

const CHANNEL_FD = 3;
/**
 * Node's young generation may grow to 32 MiB a half, and stays what it was in the last storm of logins: 45 KB for each of
 * 2,000 clients. Measured, a login costs the same with this. It goes for every thread: tunnel threads have it anyway.
 */
const YOUNG_GENERATION = '--max-semi-space-size=2';
/** Who runs as its user could open a debugger in it, and with that everybody on the machine. */
const NO_DEBUGGER = '--disable-sigusr1';
const UNPRIVILEGED = [
  '--reuid=65532',
  '--regid=65532',
  '--clear-groups',
  '--inh-caps=-all',
  '--bounding-set=-all',
  '--no-new-privs',
];
/** Exists on every machine and is of no use to the data plane. */
const VIEW = '/mnt';
const ENVIRONMENT = ['PATH', 'LANG', 'TZ', 'NODE_OPTIONS'];
const ANSWER_LIMIT_MS = 5_000;
/** What it wrote before it ended has arrived by then. */
const LAST_WORDS_MS = 500;
/** Twice the longest message that it takes: it may stand still for a while, and large edits go on. */
const UNREAD_BYTES_MOST = 128 * 1024 * 1024;
