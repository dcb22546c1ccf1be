import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { LogLines } from './log-lines.ts';
import { LabError, type Namespace } from './netns.ts';
import { waitFor } from './wait.ts';

export interface Credentials {
  readonly username: string;
  /** A function is asked anew for each login. */
  readonly password: string | (() => string);
  /** The answer to the static challenge; asked anew for each login. */
  readonly code?: () => string;
}

export interface StockClientOptions {
  readonly namespace: Namespace;
  /** For the profile and the management socket. */
  readonly folder: string;
  readonly name: string;
  /** The text of an .ovpn file. */
  readonly profile: string;
  /** Further options of the command line. */
  readonly options?: readonly string[];
  readonly credentials?: Credentials;
}

export interface ClientRoute {
  readonly dst: string;
  readonly dev: string;
  readonly gateway?: string;
}

/** The real `openvpn` of the machine, as a client in a namespace. What it knows is read from its log. */
export class StockClient {
  readonly log = new LogLines();
  /** What it says to its user interface, where it has credentials. */
  readonly management = new LogLines();
  readonly namespace: Namespace;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #management: Socket | undefined;

  constructor(options: StockClientOptions) {
    this.namespace = options.namespace;
    const profile = join(options.folder, `${options.name}.ovpn`);
    writeFileSync(profile, options.profile, { mode: 0o600 });
    const arguments_ = ['--config', profile, '--verb', '4', '--suppress-timestamps', ...(options.options ?? [])];
    const socket = join(options.folder, `${options.name}-${nextSocket++}.sock`);
    if (options.credentials !== undefined)
      arguments_.push('--management', socket, 'unix', '--management-query-passwords');
    this.#child = this.namespace.spawn('openvpn', arguments_, { stdio: ['ignore', 'pipe', 'pipe'] });
    if (this.#child.stdout === null || this.#child.stderr === null) throw new LabError('openvpn has no output');
    this.log.add(this.#child.stdout);
    this.log.add(this.#child.stderr);
    this.#exited = new Promise((resolve) => this.#child.on('exit', resolve));
    if (options.credentials !== undefined) void this.#answerQuestions(socket, options.credentials);
  }

  /** Waits until the tunnel stands; `from` skips what an earlier connection logged. */
  async connected(options: { readonly from?: number; readonly timeoutMs?: number } = {}): Promise<this> {
    await this.log.waitFor(/Initialization Sequence Completed/, options);
    return this;
  }

  /** Waits for a refused login. @returns the line with the server's words. */
  refused(): Promise<string> {
    return this.log.waitFor(/AUTH: Received control message: AUTH_FAILED/);
  }

  tunnelAddress(): string {
    const text = this.namespace.must('ip', '-j', '-4', 'addr', 'show', 'dev', 'tun0');
    const [device] = JSON.parse(text) as { addr_info: { local: string }[] }[];
    const address = device?.addr_info[0]?.local;
    if (address === undefined) throw new LabError(`tun0 in ${this.namespace.name} has no address`);
    return address;
  }

  routes(): readonly ClientRoute[] {
    return JSON.parse(this.namespace.must('ip', '-j', '-4', 'route', 'show')) as ClientRoute[];
  }

  /** The device by which packets to this address leave. */
  deviceTo(address: string): string {
    const [route] = JSON.parse(this.namespace.must('ip', '-j', 'route', 'get', address)) as { dev: string }[];
    return route?.dev ?? '';
  }

  /** How often the data channel got keys: 1 after the login, one more for each renewal. */
  keyExchanges(from = 0): number {
    return this.log.lines.slice(from).filter((line) => /Outgoing (?:Data Channel: Cipher|Epoch Data key 1:)/.test(line))
      .length;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Says something as its user interface. */
  tell(command: string): void {
    this.#management?.write(`${command}\n`);
  }

  /** Waits for the process to end by itself. */
  async exited(timeoutMs = 10_000): Promise<void> {
    const hasExited = (): boolean => this.#child.exitCode !== null || this.#child.signalCode !== null;
    await waitFor('openvpn to end', () => hasExited() && this.log.ended, timeoutMs);
  }

  /** Ends the client as a person does, with its exit message. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exited;
    this.#management?.destroy();
  }

  [Symbol.dispose](): void {
    this.#management?.destroy();
    this.#child.kill('SIGKILL');
  }

  async #answerQuestions(path: string, credentials: Credentials): Promise<void> {
    await waitFor('the management socket', () => existsSync(path) || this.#child.exitCode !== null);
    // The file is there before anybody listens.
    while (this.#child.exitCode === null && this.#child.signalCode === null) {
      const socket = connect(path);
      const connected = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      if (!connected) continue;
      this.#management = socket;
      this.management.add(socket);
      const lines = createInterface({ input: socket });
      // An interface passes its input's errors on.
      for (const source of [socket, lines]) source.on('error', () => undefined);
      lines.on('line', (line) => {
        if (line.startsWith(">PASSWORD:Need 'Auth'")) socket.write(answerFor(line, credentials));
      });
      return;
    }
  }
}

function answerFor(question: string, { username, password, code }: Credentials): string {
  const asksCode = / SC:[01],/.test(question);
  const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
  const typed = typeof password === 'string' ? password : password();
  const secret = asksCode ? `SCRV1:${base64(typed)}:${base64(code?.() ?? '')}` : typed;
  return `username "Auth" ${quote(username)}\npassword "Auth" ${quote(secret)}\n`;
}

function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&')}"`;
}

let nextSocket = 1;
