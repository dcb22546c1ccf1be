import { spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from '../../api/connection.ts';
import type { GatewayStatus } from '../../standalone/gateway-status.ts';
import { LogLines } from './log-lines.ts';
import { ENDPOINT } from './manifests.ts';
import { GATEWAY_ADDRESS, LabError, type CommandResult, type Lab } from './netns.ts';
import { ROOT } from './source-tree.ts';
import { waitFor } from './wait.ts';

export interface GatewayOptions {
  readonly lab: Pick<Lab, 'folder' | 'gateway'>;
  /** Text by file name. */
  readonly manifests: Readonly<Record<string, string>>;
  /** Further options of `clientvpn standalone`. */
  readonly options?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A program with arguments that becomes it. */
  readonly through?: readonly string[];
  /** Its own folders inside the lab's; two gateways need two names. */
  readonly name?: string;
}

/** `clientvpn standalone` in the lab's gateway namespace, driven by its files and its command line only. */
export class Gateway {
  readonly log = new LogLines();
  readonly manifests: string;
  readonly stateDir: string;
  readonly #options: GatewayOptions;
  #child: ChildProcess | undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const folder = join(options.lab.folder, options.name ?? 'gateway');
    this.manifests = join(folder, 'manifests');
    this.stateDir = join(folder, 'state');
    mkdirSync(this.manifests, { recursive: true });
    for (const [name, text] of Object.entries(options.manifests)) this.write(name, text);
  }

  static async start(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    await gateway.start();
    return gateway;
  }

  /** Starts the process and waits until clients can connect. */
  async start(): Promise<void> {
    const from = this.log.mark();
    this.spawn();
    await this.log.waitFor(/"msg":"Ready"/, { from, timeoutMs: 60_000 });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The program and its arguments, for tests that start it themselves. */
  commandLine(): readonly string[] {
    const folders = ['--manifests', this.manifests, '--state-dir', this.stateDir];
    return [
      ...(this.#options.through ?? []),
      CLI,
      'standalone',
      ...folders,
      '--auto-pki',
      ...(this.#options.options ?? []),
    ];
  }

  /** Starts the process without waiting. */
  spawn(): void {
    const [program = CLI, ...arguments_] = this.commandLine();
    this.#child = this.#options.lab.gateway.spawn(program, arguments_, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#options.environment },
      cwd: '/',
    });
    if (this.#child.stdout === null || this.#child.stderr === null) throw new LabError('The gateway has no output');
    this.log.add(this.#child.stdout);
    this.log.add(this.#child.stderr);
  }

  /** Writes or replaces a manifest as editors do: a new file is renamed over the old one. */
  write(name: string, text: string): void {
    const path = join(this.manifests, name);
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  }

  remove(name: string): void {
    rmSync(join(this.manifests, name));
  }

  /** The text of a client's file. */
  clientConfig(options: { readonly client?: string; readonly endpoint?: string } = {}): string {
    const client = options.client === undefined ? [] : ['--client', options.client];
    const endpoint = options.endpoint ?? ENDPOINT;
    return this.must(
      'client-config',
      '--state-dir',
      this.stateDir,
      '--endpoint',
      endpoint,
      '--remote',
      GATEWAY_ADDRESS,
      ...client,
    );
  }

  connections(): readonly Connection[] {
    return JSON.parse(this.must('connections', '--state-dir', this.stateDir, '--output', 'json')) as Connection[];
  }

  status(): GatewayStatus {
    return JSON.parse(this.must('status', '--state-dir', this.stateDir, '--output', 'json')) as GatewayStatus;
  }

  /** The version every tunnel thread enforces; −1 while there is none. */
  enforcedVersion(): number {
    return this.status().snapshot?.version ?? -1;
  }

  /** Replaces a manifest and waits until the change is enforced. */
  async apply(name: string, text: string): Promise<void> {
    const from = this.log.mark();
    this.write(name, text);
    await this.log.waitFor(/"msg":"Applied"/, { from });
  }

  terminate(connectionId: string): CommandResult {
    return clientvpn('terminate', '--state-dir', this.stateDir, connectionId);
  }

  must(...arguments_: readonly string[]): string {
    const { status, stdout, stderr } = clientvpn(...arguments_);
    if (status !== 0) throw new LabError(`clientvpn ${arguments_.join(' ')}: status ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** @returns the exit status once the process has ended. */
  async exited(timeoutMs = 30_000): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) throw new LabError('The gateway was not started');
    await waitFor('the gateway to end', () => child.exitCode !== null || child.signalCode !== null, timeoutMs);
    return child.exitCode;
  }

  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    return this.exited();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await this.stop();
  }
}

/** Runs the command line to its end. */
export function clientvpn(...arguments_: readonly string[]): CommandResult {
  const result = spawnSync(CLI, arguments_, { encoding: 'utf8', timeout: 30_000, cwd: '/' });
  if (result.error !== undefined) throw result.error;
  return { status: result.status ?? -1, stdout: result.stdout, stderr: result.stderr };
}

const CLI = join(ROOT, 'bin', 'clientvpn');
