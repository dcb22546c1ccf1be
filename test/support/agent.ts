import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ServicePort, type AgentRequest, type FetchResult, type FlowState } from './agent-protocol.ts';
import { LabError, type Namespace } from './netns.ts';

/** Traffic to and from one namespace, through a process that lives in it. */
export class Agent {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #ended: LabError | undefined;

  constructor(namespace: Namespace) {
    this.#child = namespace.spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new LabError('The agent has no standard output');
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#settle(line));
    this.#child.on('exit', () => {
      this.#ended = new LabError(`The agent in ${namespace.name} ended`);
      for (const { reject } of this.#waiting.values()) reject(this.#ended);
    });
  }

  /** Serves HTTP on every address of the namespace, and UDP echo, sink and source on these. */
  async serve(addresses: readonly string[]): Promise<void> {
    await this.#ask({ kind: 'serve', addresses });
  }

  /** Fetches the page that names the address the target saw. */
  fetch(host: string, options: { readonly timeoutMs?: number } = {}): Promise<FetchResult> {
    return this.#ask({
      kind: 'fetch',
      host,
      port: ServicePort.http,
      timeoutMs: options.timeoutMs ?? 1500,
    }) as Promise<FetchResult>;
  }

  /** Whether the host's page can be fetched. */
  async reaches(host: string): Promise<boolean> {
    return (await this.fetch(host)).error === null;
  }

  async echo(host: string, bytes = 64): Promise<boolean> {
    return (await this.#ask({ kind: 'echo', host, port: ServicePort.echo, bytes, timeoutMs: 1500 })) as boolean;
  }

  /** An endless download, about this fast. */
  async download(host: string, bytesPerSecond = 3_000_000): Promise<Flow> {
    return this.#flow({ kind: 'download', host, port: ServicePort.http, bytesPerSecond });
  }

  async sendStream(host: string, perSecond: number): Promise<Flow> {
    return this.#flow({ kind: 'sendStream', host, port: ServicePort.sink, perSecond });
  }

  async receiveStream(host: string): Promise<Flow> {
    return this.#flow({ kind: 'receiveStream', host, port: ServicePort.source });
  }

  /** Packets that reached this namespace's sink, by source address. */
  async sunk(): Promise<Readonly<Record<string, number>>> {
    return (await this.#ask({ kind: 'sunk' })) as Record<string, number>;
  }

  [Symbol.dispose](): void {
    this.#child.stdin?.end();
    this.#child.kill('SIGKILL');
  }

  async #flow(request: AgentRequest): Promise<Flow> {
    const flow = (await this.#ask(request)) as number;
    return {
      state: () => this.#ask({ kind: 'flow', flow }) as Promise<FlowState>,
      stop: async () => void (await this.#ask({ kind: 'stopFlow', flow })),
    };
  }

  #ask(request: AgentRequest): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify({ id, request })}\n`);
    });
  }

  #settle(line: string): void {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiter?.resolve(result);
    else waiter?.reject(new LabError(error));
  }
}

/** A running transfer. */
export interface Flow {
  state(): Promise<FlowState>;
  stop(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('agent-main.ts', import.meta.url));
